"""Part of License Central: container."""

"""Part of License Central: transfer."""

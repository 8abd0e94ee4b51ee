"""Part of License Central: item."""

"""Part of License Central: license."""

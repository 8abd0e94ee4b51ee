"""Part of License Central: order."""

"""Bringing the platform and all instances to the newest schema, a few at a time, while they work."""

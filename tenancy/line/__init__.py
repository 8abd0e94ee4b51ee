"""Which lines an instance has, and how they take requests."""

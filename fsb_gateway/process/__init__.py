"""A box in a process of its own: what is said over its socket, and by whom."""

"""A box at work: its order, its keys, its journal; in this process or in one of its own."""

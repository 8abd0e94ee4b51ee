"""The ledger: one row for every step of every counted effect."""

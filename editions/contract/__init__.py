"""Contract rows: dated, never overwritten."""

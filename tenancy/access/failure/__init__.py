"""Callers who are refused: slowed down, and shown to the customer."""

"""Kernel: errors, clock, ids, databases, outbox, logging. Imports nothing of wops above itself."""

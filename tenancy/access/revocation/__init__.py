"""Certificates that their authorities have taken back: the lists that customers bring, and what the front says."""

"""Probes: what is promised, tried again and again while everything runs."""

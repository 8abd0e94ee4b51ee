"""Firm Security Boxes as staff want them: pools, loans, keys in boxes, and what the gateway says of them."""

"""What a customer is told of his keys: noted with the change, written into his own chain when his database is there."""

"""Self-healing: what is seen of the fleet, what is to be done about it and why, and doing it within rails."""

"""API clients: their secrets, their certificates, how fast they may call."""

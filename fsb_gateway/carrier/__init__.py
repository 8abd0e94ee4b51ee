"""How requests reach the gateway: in process, by Unix socket, by mutual TLS."""

"""The gateway: where each job is, which box gets it, what becomes of it, and whose keys boxes hold."""

"""Routing rules of instances: versions, who made them, and what would become of a request."""

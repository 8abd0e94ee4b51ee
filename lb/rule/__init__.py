"""Routing rules of an instance: decided here, and compiled for HAProxy, with the same answer."""

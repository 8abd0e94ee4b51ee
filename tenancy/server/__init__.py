"""Servers that instances are placed on: registered by staff, taken and given back by transactions."""

"""Contracts of instances: dated rows, brought into the instance's own database."""

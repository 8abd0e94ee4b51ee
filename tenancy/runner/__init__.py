"""Who runs lines: a port, and the driver for processes on this machine."""

"""A process that dies, without a process."""

from __future__ import annotations


class Killed(BaseException):
    """Stands for kill -9: nothing between here and the process's end catches it."""

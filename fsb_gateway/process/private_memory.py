"""The memory of a process that holds keys: not in core dumps, and closed to other processes of the same user."""

from __future__ import annotations

import ctypes
import resource
from typing import Final

# **Source:** linux/prctl.h.
_PR_SET_DUMPABLE: Final = 4


def keep_memory_private() -> None:
    """Keep keys out of core dumps, and other processes of the same user out of this one's memory.

    Processes that this one starts have no core dumps either, and are otherwise as open as any.

    Raises:
        OSError: the system does not allow it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if prctl(_PR_SET_DUMPABLE, 0):
        raise OSError(ctypes.get_errno(), "this process cannot be closed to debuggers")


def prctl(option: int, value: int) -> int:
    """Do an operation with one argument; see the system call of this name."""
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0))

"""A data directory: for its owner's eyes only, and served by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o700
"""Databases hold customers' data, and `control.sock` makes whoever opens it staff."""
PRIVATE_UMASK: Final = 0o077
"""What a process that works in a data directory keeps others from, in every file it makes."""


def make_private(directory: Path) -> None:
    """Make the directory if it is not there, and close it to everybody but its owner.

    Raises:
        OSError: it names a file, belongs to somebody else, or is there for everybody (`/tmp`).
    """
    directory.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
    if directory.stat().st_mode & stat.S_ISVTX:
        raise PermissionError(
            errno.EPERM, "Everybody uses this directory; choose one of its own", str(directory)
        )
    directory.chmod(PRIVATE)


def take_lock(directory: Path) -> int:
    """Keep other processes away until the returned descriptor is closed, or the process ends, however it ends.

    Raises:
        BlockingIOError: another process has the directory.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory for a while.

    Raises:
        BlockingIOError: another process has the directory.
    """
    descriptor = take_lock(directory)
    try:
        yield
    finally:
        os.close(descriptor)

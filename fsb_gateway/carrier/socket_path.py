"""Unix sockets in directories whose names are long."""

from __future__ import annotations

import os
from pathlib import Path

_PATH_MAX = 107
"""Bytes of a socket's path. **Source:** unix(7): `sun_path` has 108, with the terminating zero."""
_directories: dict[Path, int] = {}


def short_path(path: Path) -> str:
    """A path of the same socket that fits into an address, in this process.

    The directory of a path that is too long is opened, once, and stays open until the process ends.

    Raises:
        OSError: the directory is not there.
    """
    if len(os.fsencode(path)) <= _PATH_MAX:
        return str(path)
    directory = path.parent
    if directory not in _directories:
        _directories[directory] = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{_directories[directory]}/{path.name}"

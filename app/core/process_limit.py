"""What this process may use at most, set by itself."""

from __future__ import annotations

import logging
import resource
import threading
from typing import Final

_log = logging.getLogger(__name__)

_MB: Final = 1024 * 1024
_STACK_BYTES: Final = 1 * _MB
"""Of every thread from now on. The usual 8 MB of each count as data (`RLIMIT_DATA`), touched or not, and a line has
many; Python's own calls need none of it. **Source:** getrlimit(2); measured."""


def limit_process(*, memory_mb: int, open_files: int) -> None:
    """Set the limits; beyond them requests fail instead of the machine. Before the first thread is started.

    Raises:
        ValueError: the process uses more already.
    """
    threading.stack_size(_STACK_BYTES)
    _limit(resource.RLIMIT_DATA, memory_mb * _MB)
    _limit(resource.RLIMIT_NOFILE, open_files)


def _limit(kind: int, wanted: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most < wanted:
        _log.warning("limit_lower_than_wanted", extra={"wanted": wanted, "allowed": most})
    resource.setrlimit(kind, (most, most))

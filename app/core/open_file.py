"""How many files and connections a process may have open."""

from __future__ import annotations

import resource
from typing import Final

_WANTED: Final = 65_536
"""Far above what one process needs; the usual limit of 1,024 is soon reached by callers who wait."""


def raise_open_files() -> None:
    """Raise this process's limit, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

"""Denied networks as a process knows them that answers requests.

    control   events of the platform database ─► PlatformDenials ─► DeniedBook ◄── every request
                                                                        └─► lines/denied.json
    line      lines/denied.json ───────────────► ToldDenials ─────► DeniedBook ◄── every request

Kept in memory, so that they go on being denied when the database or control is away.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from app.core.clock import Clock
from tenancy.access.policy import Address
from tenancy.front.denied import Denial, DeniedNetworks
from tenancy.front.denied_file import DENIED_FILE, read_denials, write_denials

_ANYWAY_EVERY: Final = timedelta(seconds=10)
"""Whatever events say: what no event was written for is noticed as well. Our own decision."""

FindDenials = Callable[[], tuple[Denial, ...] | None]
"""The denials in force; None: the same as before. Blocks."""


class DeniedBook:
    """Thread-safe; `look` for one thread at a time.

    Args:
        lines: the directory of lines in processes of their own, which are told; None: there are none.
    """

    def __init__(self, find: FindDenials, *, clock: Clock, lines: Path | None = None) -> None:
        self._find = find
        self._lines = lines
        self._clock = clock
        self._denied = DeniedNetworks()
        self._untold: tuple[Denial, ...] | None = None

    def look(self) -> None:
        """Take over what has changed; a loop calls it. Blocks.

        Raises:
            DomainError: nobody can say at the moment; what was denied stays so, until its end.
            OSError: lines cannot be told; that is tried again with the next look.
        """
        found = self._find()
        if found is not None:
            # First: what is denied here needs no disk.
            self._denied = DeniedNetworks(found)
            self._untold = found
        if self._lines is not None and self._untold is not None:
            write_denials(self._lines, self._untold)
            self._untold = None

    def refuse(self, address: Address) -> None:
        """Refuse whoever calls from a denied network. Never blocks.

        Raises:
            CallerDenied: he does.
        """
        self._denied.refuse(address, now=self._clock.now())


class PlatformDenials:
    """Follows the events of the platform database. For one thread at a time.

    Args:
        last_change: grows with everything that is changed there; blocks.
        list_denials: those in force; blocks.
    """

    def __init__(
        self,
        last_change: Callable[[], int],
        list_denials: Callable[[], tuple[Denial, ...]],
        *,
        clock: Clock,
    ) -> None:
        self._last_change = last_change
        self._list = list_denials
        self._clock = clock
        self._change: int | None = None
        self._looked_at = float("-inf")

    def __call__(self) -> tuple[Denial, ...] | None:
        """A small read while nothing has changed.

        Raises:
            DatabaseUnavailable: the database is away.
        """
        now = self._clock.monotonic()
        # First: what changes while the networks are read is read again.
        change = self._last_change()
        if change == self._change and now - self._looked_at < _ANYWAY_EVERY.total_seconds():
            return None
        found = self._list()
        self._change, self._looked_at = change, now
        return found


class ToldDenials:
    """Follows the file that control writes for lines. For one thread at a time.

    Args:
        lines: the directory of the lines' directories.
    """

    def __init__(self, lines: Path) -> None:
        self._lines = lines
        self._seen: tuple[int, ...] | None = None

    def __call__(self) -> tuple[Denial, ...] | None:
        """Read it if it has been replaced; a file that has gone changes nothing.

        Raises:
            LineFileDamaged: it is not what control writes.
        """
        try:
            status = (self._lines / DENIED_FILE).stat()
        except FileNotFoundError:
            return None
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return None
        found = read_denials(self._lines)
        self._seen = seen
        return found

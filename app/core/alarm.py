"""One timer of an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# A timer may fire a little before the moment that it was set for; whoever looks then and finds nothing due sets it
# again.
_SHORTEST_SECONDS = 0.001


class Alarm:
    """Calls something once, at the earliest of the moments it was set for. On the event loop's thread.

    It remembers that moment itself: loops hand out timers without one, uvloop if it comes at once.
    """

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._due = 0.0
        self._handle: asyncio.Handle | None = None

    @property
    def is_set(self) -> bool:
        """Whether it is going to ring."""
        return self._handle is not None

    def ring_in(self, seconds: float) -> None:
        """Ring in so many seconds at the latest."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(seconds, _SHORTEST_SECONDS)
        if self._handle is not None and self._due <= due:
            return
        self.stop()
        self._due = due
        self._handle = loop.call_at(due, self._fire)

    def stop(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._ring()

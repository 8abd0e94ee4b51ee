"""What goes wrong again and again is told when it is new, and from then on once a minute. Pure."""

from __future__ import annotations

from typing import Final

from app.core.clock import Clock, SystemClock

AGAIN_SECONDS: Final = 60.0
"""Often enough to be found beside what it causes, seldom enough to be read. Our own decision."""
_MOST_KINDS: Final = 100
_SYSTEM_CLOCK: Final = SystemClock()


class Complaints:
    """Counts what is not told. For one thread, or one event loop."""

    def __init__(self, *, clock: Clock = _SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._told_at: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def note(self, what: str) -> int | None:
        """It has happened once more: how often since it was last told; None if it is not to be told now."""
        count = self._untold.pop(what, 0) + 1
        now = self._clock.monotonic()
        told_at = self._told_at.get(what)
        if told_at is not None and now - told_at < AGAIN_SECONDS:
            self._untold[what] = count
            return None
        if len(self._told_at) >= _MOST_KINDS:
            # Words that are new each time: what was counted of others is given up before memory is.
            self.end()
        self._told_at[what] = now
        return count

    def end(self) -> bool:
        """It goes well again: the same would be new. Tells whether anything had gone wrong."""
        had_any = bool(self._told_at)
        self._told_at.clear()
        self._untold.clear()
        return had_any

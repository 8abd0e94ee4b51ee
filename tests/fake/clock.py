"""A clock that tests set."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
"""A Tuesday, 10:00 in Berlin; the clocks change on the 29th."""


class FakeClock:
    """The time of day stands still until a test moves it; seconds go on by themselves, and jump when it does.

    Real seconds keep deadlines and pauses between retries meaningful when threads compete for a real
    database. Safe to read from many threads; one of them moves it.
    """

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._jumped = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return time.monotonic() + self._jumped

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def advance(self, by: timedelta) -> datetime:
        """Move on by a duration; returns the new time.

        Raises:
            ValueError: the duration is negative; `set` goes back, as an operator who sets the clock does.
        """
        if by < timedelta(0):
            raise ValueError("time advances; use set() to go back")
        self._now += by
        self._jumped += by.total_seconds()
        return self._now

    def set(self, moment: datetime) -> None:
        """Set the time of day, forwards or backwards; `monotonic` does not notice.

        Raises:
            ValueError: the datetime has no time zone.
        """
        if moment.tzinfo is None:
            raise ValueError("a clock needs a time zone")
        self._now = moment.astimezone(UTC)

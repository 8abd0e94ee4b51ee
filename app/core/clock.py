"""Time: the only module that asks the operating system for it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """What everything that needs the time takes as an argument."""

    def now(self) -> datetime:
        """The time of day, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump; only differences mean anything."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let this thread pause; for back-off only, never instead of a condition."""
        ...


class SystemClock:
    """The operating system's clock."""

    def now(self) -> datetime:
        """The time of day, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never jump; only differences mean anything."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let this thread pause; for back-off only, never instead of a condition."""
        time.sleep(seconds)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, the form in which times are stored.

    Raises:
        ValueError: the datetime has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a stored time needs a time zone")
    return (moment - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The aware UTC datetime of a stored time; exact, no floating point on the way."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_text(moment: datetime) -> str:
    """RFC 3339 with microseconds and `Z`, as it appears in answers and files."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

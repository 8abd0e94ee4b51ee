"""Quota months: calendar months of Europe/Berlin as exact UTC instants. Pure.

A month is 27 days 23 h to 31 days 1 h long in its extremes, because the clocks change within March and
October.

**Source:** "Decisions" in the domain reference (quota month: calendar months, Europe/Berlin).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from app.core.errors import InputInvalid

_BERLIN = ZoneInfo("Europe/Berlin")
_TEXT = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])", re.ASCII)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """One quota month.

    Attributes:
        year: 2000–2099.
        number: 1–12.
    """

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read `YYYY-MM`.

        Raises:
            InputInvalid: the text is something else.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InputInvalid("A month is written as YYYY-MM, for example 2026-03.", field="month")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    @property
    def start(self) -> datetime:
        """The first instant, UTC."""
        return _start(self.year, self.number)

    @property
    def end(self) -> datetime:
        """The first instant after the month, UTC: when its quota resets."""
        return _end(self.year, self.number)

    def next(self) -> Month:
        """The month after this one."""
        return Month(self.year + 1, 1) if self.number == 12 else Month(self.year, self.number + 1)

    def previous(self) -> Month:
        """The month before this one."""
        return Month(self.year - 1, 12) if self.number == 1 else Month(self.year, self.number - 1)

    def length(self) -> timedelta:
        """How long the month really is, clock changes included."""
        return self.end - self.start

    def clamp(self, moment: datetime) -> datetime:
        """The instant of this month nearest to a moment; decides which contract a late count falls under."""
        return min(max(moment, self.start), self.end - _MICROSECOND)

    def seconds_to_end(self, now: datetime) -> int:
        """Whole seconds until the month is over, rounded up; 0 when it is."""
        return max(0, -((now - self.end) // _SECOND))


def month_of(now: datetime) -> Month:
    """The quota month an instant belongs to.

    Raises:
        ValueError: the datetime has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    local = now.astimezone(_BERLIN)
    return Month(local.year, local.month)


@lru_cache(maxsize=64)
def _start(year: int, number: int) -> datetime:
    return datetime(year, number, 1, tzinfo=_BERLIN).astimezone(UTC)


@lru_cache(maxsize=64)
def _end(year: int, number: int) -> datetime:
    return Month(year, number).next().start

"""Months against an oracle that knows the rule of the clock changes and nothing of time-zone databases."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InputInvalid
from editions.period import Month, month_of

_HOUR = timedelta(hours=1)
_MICROSECOND = timedelta(microseconds=1)
_FIRST, _AFTER = datetime(2024, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)


def _clock_change(year: int, month: int) -> datetime:
    """01:00 UTC on the last Sunday of the month: Directive 2000/84/EC, articles 2 and 3."""
    last = calendar.monthrange(year, month)[1]
    weekday = calendar.weekday(year, month, last)
    return datetime(year, month, last - (weekday + 1) % 7, 1, tzinfo=UTC)


def _berlin(moment: datetime) -> datetime:
    is_summer = _clock_change(moment.year, 3) <= moment < _clock_change(moment.year, 10)
    return moment.astimezone(timezone(timedelta(hours=2 if is_summer else 1)))


def test_every_hour_of_2024_to_2030_belongs_to_the_month_of_the_oracle() -> None:
    moment = _FIRST
    while moment < _AFTER:
        local = _berlin(moment)
        month = month_of(moment)
        assert (month.year, month.number) == (local.year, local.month), moment
        moment += _HOUR


@pytest.mark.parametrize("year", range(2024, 2031))
@pytest.mark.parametrize("number", range(1, 13))
def test_boundaries_are_exact_to_the_microsecond(year: int, number: int) -> None:
    month = Month(year, number)
    assert (_berlin(month.start).day, _berlin(month.start).hour, month.start.minute) == (1, 0, 0)
    assert month_of(month.start) == month_of(month.end - _MICROSECOND) == month
    assert month_of(month.start - _MICROSECOND) == month.previous()
    assert month_of(month.end) == month.next()
    days = calendar.monthrange(year, number)[1]
    change = {3: -_HOUR, 10: _HOUR}.get(number, timedelta(0))
    assert month.length() == timedelta(days=days) + change


@given(st.datetimes(_FIRST.replace(tzinfo=None), _AFTER.replace(tzinfo=None), timezones=st.just(UTC)))
def test_any_instant_lies_in_its_month_and_counts_down_to_its_end(moment: datetime) -> None:
    month = month_of(moment)
    assert month.start <= moment < month.end
    left = month.seconds_to_end(moment)
    assert timedelta(seconds=left - 1) < month.end - moment <= timedelta(seconds=left)
    assert month.clamp(moment) == moment
    assert month.previous().clamp(moment) == month.start - _MICROSECOND
    assert month.next().clamp(moment) == month.end
    assert Month.parse(str(month)) == month


def test_seconds_to_end_of_a_month_that_is_over_are_zero() -> None:
    month = Month(2026, 3)
    assert month.seconds_to_end(month.end) == 0 == month.seconds_to_end(month.end + _HOUR)


@pytest.mark.parametrize(
    "text",
    ["2026-13", "2026-00", "2026-3", "1999-01", "2026-03 ", "\uff12\uff10\uff12\uff16-03", "", "2026-03-01"],
)
def test_malformed_month_is_refused(text: str) -> None:
    with pytest.raises(InputInvalid):
        Month.parse(text)


def test_instant_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        month_of(datetime(2026, 3, 1))  # noqa: DTZ001 - the point of the test

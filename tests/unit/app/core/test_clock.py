"""Stored times are exact."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.clock import SystemClock, from_us, to_text, to_us

# A day less at both ends: a moment near the ends of Python's calendar has no form in other time zones.
moments = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - Hypothesis adds the zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.just(UTC) | st.timezones(),
)


@given(moments)
def test_any_moment_survives_storing(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment.astimezone(UTC)


@given(st.integers(to_us(datetime(1, 1, 1, tzinfo=UTC)), to_us(datetime.max.replace(tzinfo=UTC))))
def test_any_stored_time_survives_reading(microseconds: int) -> None:
    assert to_us(from_us(microseconds)) == microseconds


@given(moments, moments)
def test_stored_times_sort_as_the_moments_do(one: datetime, other: datetime) -> None:
    one, other = one.astimezone(UTC), other.astimezone(UTC)
    assert (to_us(one) < to_us(other)) == (one < other)


@given(moments)
def test_text_is_utc_with_microseconds_and_reads_back(moment: datetime) -> None:
    text = to_text(moment)
    assert len(text) == len("2026-03-10T09:00:00.000000Z")
    assert datetime.fromisoformat(text) == moment.astimezone(UTC)


def test_same_moment_in_another_zone_is_stored_alike() -> None:
    berlin = datetime(2026, 3, 10, 10, 0, 0, 1, tzinfo=timezone(timedelta(hours=1)))
    assert to_us(berlin) == to_us(datetime(2026, 3, 10, 9, 0, 0, 1, tzinfo=UTC)) == 1_773_133_200_000_001


def test_time_without_zone_is_not_stored() -> None:
    with pytest.raises(ValueError, match="time zone"):
        to_us(datetime(2026, 3, 10))  # noqa: DTZ001 - this is the mistake


def test_system_clock_is_aware_and_its_seconds_never_go_back() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    first = clock.monotonic()
    clock.sleep(0)
    assert clock.monotonic() >= first

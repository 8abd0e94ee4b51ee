"""Lines as values: which there are, which may go, and in which time a temporary one can be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import CustomerId, InstanceId, LineId
from tenancy.errors import LinesTooMany
from tenancy.line.errors import LineLast, LineNotFound, LinePeriodUnfit
from tenancy.line.record import (
    LineRecord,
    check_not_last,
    check_period,
    find_line,
    lines_of,
    next_number,
    put_back,
    serve,
    take_out,
)
from tenancy.record import Instance

NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
OWNER = InstanceId("ins_1")


def instance(edition: str = "high_availability", lines: int = 2) -> Instance:
    return Instance(
        instance_id=OWNER,
        customer_id=CustomerId("cus_1"),
        name="acme",
        edition=edition,
        lines=lines,
        country="DE",
        firm_code=6_000_100,
        pool="acme",
        state="ready",
        health="ok",
        database_url=None,
        config_version=1,
        applied_version=1,
        created_at=NOW,
    )


def line(number: int, **more: object) -> LineRecord:
    made = LineRecord(line_id=LineId(f"acme-{number}"), instance_id=OWNER, number=number)
    return replace(made, **more)  # type: ignore[arg-type]


def temporary(number: int, **more: object) -> LineRecord:
    return line(number, ends_at=NOW + timedelta(days=1), starts_at=NOW, **more)


def test_what_is_stored_of_a_permanent_line_counts_and_what_is_left_of_one_that_is_no_more_does_not() -> None:
    stored = {2: line(2, weight=7), 3: line(3, weight=9), 5: temporary(5)}
    found = lines_of(instance(), stored)
    assert [(each.number, each.weight) for each in found] == [(1, 100), (2, 7), (5, 100)]


def test_shared_instance_has_the_shared_line_whatever_is_stored() -> None:
    (found,) = lines_of(instance("datacenter", 1), {1: line(1, weight=7), 2: temporary(2)})
    assert (found.line_id, found.weight) == ("shared-1", 100)
    assert serve(instance("datacenter", 1), (found,)).line_set == "shared"


@pytest.mark.parametrize(
    ("phase", "is_shown", "in_service"),
    [
        ("planned", False, False),
        ("joining", True, False),
        ("active", True, True),
        ("leaving", True, False),
        ("ended", False, False),
    ],
)
def test_front_knows_a_temporary_line_before_and_after_it_takes_requests(
    phase: str, is_shown: bool, in_service: bool
) -> None:
    shown = serve(instance(), (temporary(3, phase=phase),)).lines
    assert [each.in_service for each in shown] == ([in_service] if is_shown else [])


def test_line_that_is_taken_out_again_has_been_out_since_the_first_time() -> None:
    out = take_out(line(1), by="reconciler", reason="sick", now=NOW)
    again = take_out(out, by="staff", reason="repair", now=NOW + timedelta(hours=1))
    assert (again.out_by, again.out_reason, again.out_since) == ("staff", "repair", NOW)
    assert put_back(again) == line(1)


@given(
    weights=st.lists(st.integers(0, 2), min_size=1, max_size=5),
    outs=st.lists(st.booleans(), min_size=5, max_size=5),
    chosen=st.integers(0, 4),
)
def test_whoever_may_go_leaves_somebody_or_took_nothing_himself(
    weights: list[int], outs: list[bool], chosen: int
) -> None:
    lines = [
        line(number, weight=weight, out_by="staff" if outs[number - 1] else None)
        for number, weight in enumerate(weights, start=1)
    ]
    without = lines[chosen % len(lines)]
    left = [each for each in lines if each is not without and each.out_by is None and each.weight]
    served_by_it = without.out_by is None and without.weight > 0
    if served_by_it and not left:
        with pytest.raises(LineLast):
            check_not_last(lines, without)
    else:
        check_not_last(lines, without)


def test_number_is_the_smallest_free_one_above_the_permanent_ones() -> None:
    lines = lines_of(instance(), {3: temporary(3), 5: temporary(5)})
    assert next_number(instance(), lines) == 4
    full = lines_of(instance(), {number: temporary(number) for number in range(3, 33)})
    with pytest.raises(LinesTooMany):
        next_number(instance(), full)


def test_line_is_found_by_its_id_only() -> None:
    lines = lines_of(instance(), {})
    assert find_line(lines, LineId("acme-2")).number == 2
    with pytest.raises(LineNotFound):
        find_line(lines, LineId("acme-02"))


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "field"),
    [
        (NOW.replace(tzinfo=None), NOW + timedelta(days=1), "starts_at"),
        (None, (NOW + timedelta(days=1)).replace(tzinfo=None), "ends_at"),
        (NOW - timedelta(minutes=5, microseconds=1), NOW + timedelta(days=1), "starts_at"),
        (None, NOW, "ends_at"),
        (NOW - timedelta(minutes=4), NOW - timedelta(minutes=3), "ends_at"),
        (NOW + timedelta(days=2), NOW + timedelta(days=2), "ends_at"),
        (NOW, NOW + timedelta(days=366, microseconds=1), "ends_at"),
    ],
)
def test_time_that_no_line_can_have_is_refused_with_the_field(
    starts_at: datetime | None, ends_at: datetime, field: str
) -> None:
    with pytest.raises(LinePeriodUnfit) as refused:
        check_period(starts_at, ends_at, now=NOW)
    assert refused.value.detail["field"] == field


def test_shortest_and_longest_time_are_taken() -> None:
    check_period(None, NOW + timedelta(microseconds=1), now=NOW)
    check_period(NOW - timedelta(minutes=5), NOW + timedelta(days=366), now=NOW)

"""Calls of read routes: leased rights, flushes, kills, limits. On both engines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.core.db import Database
from app.core.errors import DatabaseUnavailable
from editions import (
    WEB_SERVICE_CALLS,
    CallMeter,
    EditionFeatureUnavailable,
    LineSuperseded,
    NoContractInForce,
    QuotaExceeded,
    list_ledger,
)
from tests.fake.clock import FakeClock
from tests.integration.editions.material import (
    MONTH,
    call,
    check,
    contract,
    meter_for,
    notices,
    put,
    serve,
    state,
)
from tests.service.crowd import at_once

_LOOK = timedelta(milliseconds=250)


def _calls_in_ledger(db: Database) -> int:
    rows = db.read(lambda reader: list_ledger(reader, MONTH, meter=WEB_SERVICE_CALLS, limit=1_000))
    return len(rows)


def _serve_until_refused(meter: CallMeter, db: Database) -> int:
    served = 0
    while True:
        try:
            serve(meter, db)
        except QuotaExceeded:
            return served
        served += 1


def test_calls_wait_in_memory_until_the_flush(instance_db: Database) -> None:
    put(instance_db, contract())
    meter = meter_for(instance_db)
    assert meter.due_in() is None
    serve(meter, instance_db, 3)
    assert state(instance_db, WEB_SERVICE_CALLS).used == 0
    due = meter.due_in()
    assert due is not None
    assert 0 < due <= 0.5
    known = meter.state
    assert known is not None
    assert known.used == 3
    assert meter.flush() == 3
    assert state(instance_db, WEB_SERVICE_CALLS).used == 3 == _calls_in_ledger(instance_db)
    assert meter.due_in() is None
    check(instance_db)


def test_flush_is_due_half_a_second_after_the_oldest_call(instance_db: Database, clock: FakeClock) -> None:
    put(instance_db, contract())
    meter = meter_for(instance_db)
    serve(meter, instance_db)
    clock.advance(timedelta(seconds=0.5))
    assert meter.due_in() == 0.0


def test_nobody_gets_in_while_an_older_call_is_overdue(instance_db: Database, clock: FakeClock) -> None:
    put(instance_db, contract())
    meter = meter_for(instance_db)
    serve(meter, instance_db)
    clock.advance(timedelta(seconds=0.9))
    assert meter.try_begin() is None
    meter.begin()
    assert state(instance_db, WEB_SERVICE_CALLS).used == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_own_failures_are_given_back(instance_db: Database, status: int) -> None:
    put(instance_db, contract(calls=1))
    meter = meter_for(instance_db)
    for _ in range(3):
        assert not meter.begin().count(call(instance_db.clock.now(), status=status))
    assert meter.begin().count(call(instance_db.clock.now(), status=404))
    meter.flush()
    assert state(instance_db, WEB_SERVICE_CALLS).used == 1
    check(instance_db)


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_permit_ends_once(instance_db: Database) -> None:
    put(instance_db, contract())
    permit = meter_for(instance_db).begin()
    permit.give_back()
    with pytest.raises(RuntimeError):
        permit.count(call(instance_db.clock.now()))
    with pytest.raises(RuntimeError):
        permit.give_back()


@pytest.mark.parametrize(("overage", "refusal"), [("block", 90), ("grace", 108)])
def test_policy_decides_which_call_is_the_last(instance_db: Database, overage: str, refusal: int) -> None:
    put(instance_db, contract(calls=90, overage="grace" if overage == "grace" else "block"))
    meter = meter_for(instance_db)
    assert _serve_until_refused(meter, instance_db) == refusal
    meter.flush()
    assert state(instance_db, WEB_SERVICE_CALLS).used == refusal
    expected = [(WEB_SERVICE_CALLS, each, 90) for each in (50, 80, 100, 120) if each <= refusal / 90 * 100]
    assert notices(instance_db) == expected
    check(instance_db)


def test_raised_contract_lets_the_next_look_in(instance_db: Database, clock: FakeClock) -> None:
    put(instance_db, contract(calls=3))
    meter = meter_for(instance_db)
    _serve_until_refused(meter, instance_db)
    put(instance_db, contract(calls=10, start=clock.now()))
    clock.advance(_LOOK)
    assert _serve_until_refused(meter, instance_db) == 7
    meter.flush()
    check(instance_db)


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_line_over_its_quota_looks_once_in_a_while(
    instance_db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(instance_db, contract(calls=1))
    meter = meter_for(instance_db)
    _serve_until_refused(meter, instance_db)
    meter.flush()
    clock.advance(_LOOK)
    looks = _count_connections(instance_db, monkeypatch)
    for _ in range(100):
        with pytest.raises(QuotaExceeded):
            meter.begin()
    assert 0 < looks() <= 6


def _count_connections(db: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    raw = db.engine.raw_connection
    number = 0

    def counting() -> object:
        nonlocal number
        number += 1
        return raw()

    monkeypatch.setattr(db.engine, "raw_connection", counting)
    return lambda: number


def test_datacenter_line_is_refused_without_writing_anything(instance_db: Database) -> None:
    put(instance_db, contract("datacenter"))
    meter = meter_for(instance_db)
    with pytest.raises(EditionFeatureUnavailable):
        meter.begin()
    check(instance_db)


def test_line_without_contract_is_refused(instance_db: Database) -> None:
    with pytest.raises(NoContractInForce):
        meter_for(instance_db).begin()


def test_contract_without_web_services_ends_the_stock_when_it_begins(
    instance_db: Database, clock: FakeClock
) -> None:
    put(instance_db, contract(), contract("datacenter", start=clock.now() + timedelta(hours=1)))
    meter = meter_for(instance_db)
    serve(meter, instance_db, 2)
    clock.advance(timedelta(hours=1))
    with pytest.raises(EditionFeatureUnavailable):
        meter.begin()
    meter.flush()
    assert (state(instance_db, WEB_SERVICE_CALLS).used, state(instance_db, WEB_SERVICE_CALLS).taken) == (2, 2)
    check(instance_db)


def test_stock_of_an_idle_line_ends_with_its_contract_and_with_its_month(
    instance_db: Database, clock: FakeClock
) -> None:
    put(instance_db, contract(), contract("datacenter", start=clock.now() + timedelta(hours=1)))
    put(instance_db, contract(start=clock.now() + timedelta(hours=2)))
    meter = meter_for(instance_db)
    meter.begin().give_back()
    clock.advance(timedelta(hours=1))
    with pytest.raises(EditionFeatureUnavailable):
        meter.begin()
    clock.advance(timedelta(hours=1))
    permit = meter.begin()
    assert permit.month == MONTH
    permit.give_back()
    clock.set(MONTH.end)
    assert meter.begin().month == MONTH.next()
    check(instance_db)


def test_lowered_contract_takes_the_stock_back_at_the_next_flush(instance_db: Database) -> None:
    put(instance_db, contract())
    meter = meter_for(instance_db)
    serve(meter, instance_db, 5)
    put(instance_db, contract(calls=6, start=instance_db.clock.now()))
    meter.flush()
    assert state(instance_db, WEB_SERVICE_CALLS).taken == 6
    assert _serve_until_refused(meter, instance_db) == 1
    meter.flush()
    assert state(instance_db, WEB_SERVICE_CALLS).used == 6
    check(instance_db)


def test_killed_line_finds_its_rights_again(instance_db: Database) -> None:
    put(instance_db, contract(calls=300))
    meter = meter_for(instance_db)
    serve(meter, instance_db, 5)
    meter.flush()
    serve(meter, instance_db, 3)
    before = state(instance_db, WEB_SERVICE_CALLS)
    del meter
    again = meter_for(instance_db)
    served = _serve_until_refused(again, instance_db)
    again.flush()
    assert before.used == 5
    assert served == 295
    assert state(instance_db, WEB_SERVICE_CALLS).used == 300
    check(instance_db)


def test_restarted_line_uses_the_last_rights_that_lie_in_its_own_lease(instance_db: Database) -> None:
    put(instance_db, contract(calls=1))
    meter_for(instance_db).begin()
    assert state(instance_db, WEB_SERVICE_CALLS).taken == 1
    again = meter_for(instance_db)
    serve(again, instance_db)
    again.flush()
    assert state(instance_db, WEB_SERVICE_CALLS).used == 1
    check(instance_db)


def test_killed_line_costs_the_others_at_most_one_block(instance_db: Database) -> None:
    put(instance_db, contract(calls=5_000))
    meter_for(instance_db, "line_1").begin()
    other = meter_for(instance_db, "line_2")
    served = _serve_until_refused(other, instance_db)
    assert 5_000 - 64 <= served < 5_000
    other.flush()
    check(instance_db)


def test_restarted_line_has_no_more_than_one_block_in_stock(instance_db: Database) -> None:
    put(instance_db, contract())
    for _ in range(3):
        meter = meter_for(instance_db)
        serve(meter, instance_db, 5)
        meter.flush()
        after = state(instance_db, WEB_SERVICE_CALLS)
        assert 0 < after.taken - after.used <= 64


@pytest.mark.parametrize("end", [CallMeter.flush, CallMeter.close])
def test_superseded_line_stops_and_what_it_served_is_counted(
    instance_db: Database, end: Callable[[CallMeter], object]
) -> None:
    put(instance_db, contract())
    old = meter_for(instance_db)
    serve(old, instance_db, 2)
    new = meter_for(instance_db)
    serve(new, instance_db, 3)
    new.flush()
    end(old)
    with pytest.raises(LineSuperseded):
        old.begin()
    serve(new, instance_db, 1)
    new.flush()
    assert state(instance_db, WEB_SERVICE_CALLS).used == 6
    check(instance_db)


def test_closed_line_leaves_nothing_in_stock(instance_db: Database) -> None:
    put(instance_db, contract())
    meter = meter_for(instance_db)
    serve(meter, instance_db, 2)
    meter.close()
    after = state(instance_db, WEB_SERVICE_CALLS)
    assert (after.used, after.taken) == (2, 2)
    serve(meter, instance_db, 1)
    meter.close()
    assert state(instance_db, WEB_SERVICE_CALLS).taken == 3
    check(instance_db)


def test_call_answered_after_midnight_counts_in_the_new_month(
    instance_db: Database, clock: FakeClock
) -> None:
    put(instance_db, contract())
    meter = meter_for(instance_db)
    serve(meter, instance_db, 1)
    permit = meter.begin()
    clock.set(MONTH.end)
    permit.count(call(clock.now()))
    serve(meter, instance_db, 1)
    meter.flush()
    assert state(instance_db, WEB_SERVICE_CALLS, MONTH.start).used == 1
    assert state(instance_db, WEB_SERVICE_CALLS).used == 2
    check(instance_db)


def test_call_answered_in_a_month_without_web_services_counts_where_its_right_is(
    instance_db: Database, clock: FakeClock
) -> None:
    put(instance_db, contract(), contract("datacenter", start=MONTH.end))
    meter = meter_for(instance_db)
    permit = meter.begin()
    clock.set(MONTH.end)
    permit.count(call(clock.now()))
    meter.flush()
    assert state(instance_db, WEB_SERVICE_CALLS, MONTH.start).used == 1
    assert state(instance_db, WEB_SERVICE_CALLS).used == 0
    check(instance_db)


def test_call_answered_two_months_later_without_room_counts_where_its_right_is(
    instance_db: Database, clock: FakeClock
) -> None:
    put(instance_db, contract(calls=1, overage="block"))
    meter, other = meter_for(instance_db, "line_1"), meter_for(instance_db, "line_2")
    permit = meter.begin()
    clock.set(MONTH.next().end)
    serve(other, instance_db, 1)
    with pytest.raises(QuotaExceeded):
        meter.begin()
    permit.count(call(clock.now()))
    meter.flush()
    then = state(instance_db, WEB_SERVICE_CALLS, MONTH.start)
    assert (then.used, then.taken) == (1, 1)
    check(instance_db)


def test_two_lines_with_sixteen_threads_serve_exactly_the_quota(instance_db: Database) -> None:
    put(instance_db, contract(calls=500, overage="grace"))
    meters = [meter_for(instance_db, "line_1"), meter_for(instance_db, "line_2")]
    results = at_once(16, lambda place: _serve_until_refused(meters[place % 2], instance_db))
    for meter in meters:
        meter.flush()
    assert sum(each for each in results if isinstance(each, int)) == 600
    assert state(instance_db, WEB_SERVICE_CALLS).used == 600 == _calls_in_ledger(instance_db)
    assert notices(instance_db) == [(WEB_SERVICE_CALLS, each, 500) for each in (50, 80, 100, 120)]
    check(instance_db)


class _LosesAnswer:
    """A driver connection whose next COMMIT arrives and whose answer does not."""

    def __init__(self, connection: Any, lost: list[bool]) -> None:
        self._connection = connection
        self._lost = lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def commit(self) -> None:
        self._connection.commit()
        if self._lost:
            self._lost.pop()
            raise ConnectionResetError("the answer to COMMIT was lost")


@pytest.mark.parametrize("end", [CallMeter.flush, CallMeter.close])
def test_flush_whose_commit_outcome_is_unknown_counts_once(
    instance_db: Database, monkeypatch: pytest.MonkeyPatch, end: Callable[[CallMeter], object]
) -> None:
    put(instance_db, contract())
    impatient = Database(
        instance_db.engine.url.render_as_string(hide_password=False),
        clock=instance_db.clock,
        deadline=timedelta(0),
    )
    meter = meter_for(impatient)
    serve(meter, impatient, 4)
    raw = impatient.engine.raw_connection
    lost = [True]
    monkeypatch.setattr(impatient.engine, "raw_connection", lambda: _LosesAnswer(raw(), lost))
    with pytest.raises(DatabaseUnavailable) as refused:
        meter.flush()
    assert refused.value.code == "database_unavailable"
    serve(meter, impatient, 2)
    end(meter)
    assert state(impatient, WEB_SERVICE_CALLS).used == 6 == _calls_in_ledger(impatient)
    assert state(impatient, WEB_SERVICE_CALLS).taken == 6 or end is CallMeter.flush
    check(impatient)
    impatient.close()


def test_database_that_does_not_answer_stops_new_calls_when_old_ones_are_overdue(
    instance_db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(instance_db, contract())
    impatient = Database(
        instance_db.engine.url.render_as_string(hide_password=False), clock=clock, deadline=timedelta(0)
    )
    meter = meter_for(impatient)
    serve(meter, impatient, 1)
    clock.advance(timedelta(seconds=0.9))

    attempts = 0

    def refuse() -> None:
        nonlocal attempts
        attempts += 1
        raise ConnectionRefusedError("nobody listens")

    with monkeypatch.context() as broken:
        broken.setattr(impatient.engine, "raw_connection", refuse)
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                meter.begin()
    assert attempts == 1
    clock.advance(_LOOK)
    serve(meter, impatient, 1)
    assert state(impatient, WEB_SERVICE_CALLS).used == 1
    meter.flush()
    check(impatient)
    impatient.close()

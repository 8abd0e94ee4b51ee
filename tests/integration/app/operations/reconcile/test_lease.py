"""One healer acts, whoever else is there; on SQLite and MariaDB."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.core.command import Command
from app.core.db import Database, Tx
from app.core.json import JsonObject
from app.operations.reconcile import repository
from app.operations.reconcile.errors import LeaseLost
from app.operations.reconcile.lease import LEASE, HealerLease
from tenancy.line.errors import LineLast
from tests.fake.clock import FakeClock
from tests.integration.tenancy.line.test_line_service import FIRST, SECOND
from tests.integration.tenancy.line.track import Track
from tests.service.crowd import at_once

THIRD = LEASE / 3


def leases(db: Database, number: int = 2) -> list[HealerLease]:
    return [HealerLease(db) for _ in range(number)]


def acts(lease: HealerLease) -> bool:
    return lease.may_act


def test_first_one_has_it_and_the_other_when_it_has_run_out(platform_db: Database, clock: FakeClock) -> None:
    one, two = leases(platform_db)
    assert (one.keep(), two.keep()) == (1, None)
    assert (one.may_act, two.may_act) == (True, False)
    clock.advance(LEASE + timedelta(seconds=1))
    assert two.keep() == 2
    assert not one.may_act
    assert one.keep() is None
    found = platform_db.read(repository.find_lease)
    assert found is not None
    assert (found.holder, found.token) == (two.holder, 2)


def test_renewed_it_stays_with_its_token(platform_db: Database, clock: FakeClock) -> None:
    one, two = leases(platform_db)
    assert one.keep() == 1
    for _ in range(10):
        clock.advance(THIRD)
        assert (one.keep(), two.keep()) == (1, None)
        assert one.may_act


def test_two_thirds_of_it_without_renewal_end_acting_before_anybody_else_begins(
    platform_db: Database, clock: FakeClock
) -> None:
    one, two = leases(platform_db)
    one.keep()
    clock.advance(LEASE * 2 / 3 - timedelta(seconds=2))
    assert acts(one)
    clock.advance(timedelta(seconds=2))
    assert not acts(one)
    assert two.keep() is None, "it has not run out"
    with pytest.raises(LeaseLost):
        one.check()


def test_clock_that_is_set_back_does_not_make_it_last_longer(platform_db: Database, clock: FakeClock) -> None:
    one, _ = leases(platform_db)
    one.keep()
    clock.advance(LEASE)
    clock.set(clock.now() - timedelta(hours=1))
    assert not one.may_act


def test_given_up_it_is_free_at_once(platform_db: Database) -> None:
    one, two = leases(platform_db)
    one.keep()
    one.give_up()
    assert two.keep() == 2
    with pytest.raises(LeaseLost):
        one.check()


def test_of_many_at_once_one_gets_it(platform_db: Database, clock: FakeClock) -> None:
    for token in (1, 2, 3):
        crowd = leases(platform_db, 8)
        answers = at_once(len(crowd), lambda place, crowd=crowd: crowd[place].keep())  # type: ignore[misc]
        assert sorted(each for each in answers if isinstance(each, int)) == [token]
        assert sum(each.may_act for each in crowd) == 1
        clock.advance(LEASE + timedelta(seconds=1))


def test_old_token_is_refused_although_its_owner_thinks_otherwise(
    platform_db: Database, clock: FakeClock
) -> None:
    """Frozen for long by a clock that stood still with it: only the database knows."""
    one, two = leases(platform_db)
    one.keep()
    clock.advance(LEASE)
    assert two.keep() == 2
    one._held_since = clock.monotonic()
    assert one.may_act
    with pytest.raises(LeaseLost):
        one.check()
    ran = []

    def body(tx: Tx) -> JsonObject:
        one.guard(tx)
        ran.append(tx)
        return {}

    with pytest.raises(LeaseLost):
        platform_db.run_tx("op_1", body)
    assert ran == []


def test_line_is_changed_in_the_transaction_that_checks_the_token(track: Track) -> None:
    acme, db = track.instance(), track.world.platform
    one, two = leases(db)
    one.keep()
    track.lines.drain_line(
        acme.instance_id, FIRST, by="reconciler", reason="sick", command=Command(charge=one.guard)
    )
    assert track.front(acme)[FIRST].in_service is False
    track.world.clock.advance(LEASE + timedelta(seconds=1))
    two.keep()
    one._held_since = track.world.clock.monotonic()
    with pytest.raises(LeaseLost):
        track.lines.restore_line(acme.instance_id, FIRST, command=Command(charge=one.guard))
    assert track.front(acme)[FIRST].in_service is False
    with pytest.raises(LineLast):
        track.lines.drain_line(
            acme.instance_id, SECOND, by="reconciler", reason="sick", command=Command(charge=two.guard)
        )


def test_two_healers_at_once_never_both_act(track: Track) -> None:
    """Each believes that it holds the lease; the row lets one of them through."""
    acme, db = track.instance(), track.world.platform
    one, two = leases(db)
    one.keep()
    track.world.clock.advance(LEASE + timedelta(seconds=1))
    two.keep()
    one._held_since = track.world.clock.monotonic()
    healers = (one, two)

    def act(place: int) -> str:
        line = (FIRST, SECOND)[place]
        command = Command(charge=healers[place].guard)
        track.lines.drain_line(acme.instance_id, line, by="reconciler", reason="sick", command=command)
        return line

    first, second = at_once(2, act)
    assert isinstance(first, LeaseLost)
    assert second == SECOND
    assert [each.in_service for each in track.front(acme).values()] == [True, False]

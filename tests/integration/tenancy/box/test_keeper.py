"""The gateway and the platform database are of one mind about boxes, and what is out of order is told once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from app.core.db import Tx
from app.core.json import JsonObject
from fsb_gateway.box_driver import BoxSpec, Faults, TokenSpec
from fsb_gateway.error import BoxFailed, BoxSpecInvalid, FsbUnavailable
from tenancy import BoxCare
from tenancy.box import repository
from tenancy.box.errors import BoxStateUnfit, BoxTokenFixed, BoxVersionConflict
from tenancy.box.record import BoxChange
from tests.integration.tenancy.box.rack import Rack
from tests.integration.tenancy.staff_material import as_staff

FULL = BoxSpec(
    name="full-1",
    pool="shared",
    driver="pkcs11",
    operation_time=timedelta(milliseconds=20),
    jitter=0.125,
    token=TokenSpec(module="/usr/lib/softhsm.so", label="firm", pin_file="/etc/wops/pin"),
    drained=True,
    transactions="pay_per_use",
    transactions_loaded=2**31,
)
FAULTY = BoxSpec(name="faulty-1", pool="shared", faults=Faults(busy=0.25, lost_power=0.5))


def put(rack: Rack, *specs: BoxSpec) -> None:
    """Order boxes."""

    def body(tx: Tx) -> JsonObject:
        return {"added": [repository.add_box(tx, spec) for spec in specs]}

    rack.world.platform.run_tx("put", body)


def test_everything_about_a_box_is_stored_as_it_is(rack: Rack) -> None:
    put(rack, FULL, FAULTY)
    assert [record.spec for record in rack.service.list_boxes()] == [FAULTY, FULL]
    rack.look()
    assert rack.fsb.specs == {each.name: replace(each, version=1) for each in (FULL, FAULTY)}


def test_gateway_is_told_what_it_lacks_and_nothing_twice(rack: Rack) -> None:
    put(rack, FULL, FAULTY)
    assert anyio.run(rack.care.keeper.reconcile) == 2
    assert anyio.run(rack.care.keeper.reconcile) == 0
    assert anyio.run(rack.care.keeper.plan).put == ()
    del rack.fsb.rack[FULL.name]
    assert anyio.run(rack.care.keeper.reconcile) == 1
    assert {box.puts for box in rack.fsb.rack.values()} == {1}


def test_box_that_the_gateway_refuses_is_told_again_later_and_later(rack: Rack) -> None:
    put(rack, FULL, FAULTY)
    rack.fsb.failures_of[FULL.name] = BoxFailed("the token refuses")
    tries = 0
    for _ in range(60):
        anyio.run(rack.care.keeper.reconcile)
        rack.world.clock.advance(timedelta(seconds=1))
    tries = rack.fsb.refused[FULL.name]
    assert 3 <= tries <= 7, "no retry storm: it might lock a token"
    assert FAULTY.name in rack.fsb.rack
    del rack.fsb.failures_of[FULL.name]
    anyio.run(rack.care.keeper.retry, FULL.name)
    assert FULL.name in rack.fsb.rack


def test_gateway_that_is_away_is_told_when_it_is_back(rack: Rack) -> None:
    put(rack, FAULTY)
    rack.fsb.failures = [FsbUnavailable("away")]
    with pytest.raises(FsbUnavailable):
        rack.look()
    rack.look()
    assert rack.fsb.specs == {FAULTY.name: replace(FAULTY, version=1)}


def test_box_removed_while_it_is_being_told_does_not_come_back(rack: Rack) -> None:
    put(rack, FAULTY)

    async def removed_meanwhile(spec: BoxSpec) -> object:
        rack.world.platform.run_tx("removed", lambda tx: {"removed": repository.remove_box(tx, spec.name)})
        return await ensure(spec)

    ensure = rack.fsb.ensure_box
    rack.fsb.ensure_box = removed_meanwhile  # type: ignore[method-assign]
    rack.look()
    assert rack.fsb.rack == {}


def test_what_a_process_that_was_held_up_tells_late_does_not_stay(rack: Rack) -> None:
    put(rack, FAULTY)
    other = BoxCare(rack.world.platform, rack.world.databases, rack.fsb).keeper
    for keeper in (rack.care.keeper, other):
        anyio.run(keeper.reconcile)
    rack.service.change_box(FAULTY.name, BoxChange(jitter=0.5), version=1)

    async def held_up(spec: BoxSpec) -> object:
        rack.fsb.ensure_box = ensure  # type: ignore[method-assign]
        rack.service.drain_box(FAULTY.name, version=2)
        await other.reconcile()
        return await ensure(spec)

    ensure = rack.fsb.ensure_box
    rack.fsb.ensure_box = held_up  # type: ignore[method-assign]
    anyio.run(rack.care.keeper.reconcile)
    assert not rack.is_drained(FAULTY.name), "and the process that told this is dead"
    assert anyio.run(other.reconcile) == 1
    assert rack.is_drained(FAULTY.name)
    assert anyio.run(other.reconcile) == 0


def test_box_that_nobody_ordered_is_shown_and_left_alone(rack: Rack) -> None:
    anyio.run(rack.fsb.ensure_box, FAULTY)
    rack.look(2)
    assert FAULTY.name in rack.fsb.rack
    (view,) = anyio.run(rack.care.control.list_boxes)
    assert (view.name, view.record) == (FAULTY.name, None)


def test_what_is_out_of_order_is_told_once_and_only_if_it_lasts(rack: Rack) -> None:
    put(rack, FAULTY)
    rack.look()
    rack.fsb.rack[FAULTY.name].condition = "out"
    rack.look()
    rack.fsb.rack[FAULTY.name].condition = "ready"
    rack.look(2)
    assert rack.told("box.condition_changed") == rack.told("pool.without_box") == []
    rack.fsb.rack[FAULTY.name].condition = "journal_damaged"
    rack.fsb.rack[FAULTY.name].transactions_low = True
    rack.look(5)
    (event,) = rack.told("box.condition_changed")
    assert (event.subject, event.data["condition"]) == (FAULTY.name, "journal_damaged")
    assert len(rack.told("box.transactions_low")) == len(rack.told("pool.without_box")) == 1
    (view,) = anyio.run(rack.care.control.list_boxes)
    assert view.seen is not None
    (pool,) = anyio.run(rack.care.control.list_pools)
    assert pool.without_box_since is not None
    rack.fsb.rack[FAULTY.name].condition = "ready"
    rack.look(2)
    assert [event.data["condition"] for event in rack.told("box.condition_changed")] == [
        "journal_damaged",
        "ready",
    ]
    assert len(rack.told("pool.working")) == 1


def test_change_is_a_compare_and_set_and_says_how_it_was(rack: Rack) -> None:
    put(rack, FAULTY)
    change = BoxChange(jitter=0.5)
    done = rack.service.change_box(FAULTY.name, change, version=1, command=as_staff(rack.mona))
    assert (done.value.spec.jitter, done.value.version) == (0.5, 2)
    with pytest.raises(BoxVersionConflict):
        rack.service.change_box(FAULTY.name, change, version=1)
    with pytest.raises(BoxSpecInvalid):
        rack.service.change_box(FAULTY.name, BoxChange(token=FULL.token), version=2)
    same = rack.service.change_box(FAULTY.name, change, version=2)
    assert same.value.version == 2
    assert len(rack.told("box.changed")) == 1


def test_transactions_loaded_twice_under_one_key_count_once(rack: Rack) -> None:
    put(rack, FULL)
    command = as_staff(rack.mona)
    for _ in range(2):
        loaded = rack.service.load_transactions(FULL.name, 100, command=command)
    assert loaded.replayed
    assert rack.service.get_box(FULL.name).spec.transactions_loaded == 2**31 + 100
    assert len(rack.told("box.transactions_loaded")) == 1


def test_box_that_is_joining_or_leaving_is_not_drained_by_hand(rack: Rack) -> None:
    put(rack, FAULTY)
    with rack.world.platform.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE box SET state = 'leaving'")
    for change in (rack.service.drain_box, rack.service.resume_box):
        with pytest.raises(BoxStateUnfit):
            change(FAULTY.name, version=1)


def test_box_keeps_its_token_and_its_pin_may_lie_elsewhere(rack: Rack) -> None:
    put(rack, FULL)
    assert FULL.token is not None
    for state in ("active", "joining"):
        with rack.world.platform.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE box SET state = '{state}'")
        for other in (replace(FULL.token, module="/usr/lib/other.so"), replace(FULL.token, label="other")):
            with pytest.raises(BoxTokenFixed):
                rack.service.change_box(FULL.name, BoxChange(token=other), version=1)
    elsewhere = replace(FULL.token, pin_file="/etc/wops/other-pin")
    changed = rack.service.change_box(FULL.name, BoxChange(token=elsewhere), version=1)
    assert changed.value.spec.token == elsewhere

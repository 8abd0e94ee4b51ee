"""Activations: reserve, count, release; contracts and notices. On both engines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.db import Database, Tx
from app.core.errors import InputInvalid
from app.core.ids import new_id
from app.core.json import JsonObject
from editions import (
    ACTIVATIONS,
    WEB_SERVICE_CALLS,
    ContractAltered,
    ContractInvalid,
    EditionFeatureUnavailable,
    EffectAlreadyRecorded,
    EffectNotReserved,
    NoContractInForce,
    QuotaExceeded,
    QuotaState,
    count_call,
    list_contracts,
    list_ledger,
    reserve,
    usage,
)
from tests.fake.clock import FakeClock
from tests.integration.editions.material import (
    DAY,
    MONTH,
    call,
    check,
    contract,
    do_count,
    do_release,
    do_reserve,
    effects,
    notices,
    put,
    state,
)
from tests.service.crowd import at_once


def test_reserved_effects_are_taken_and_counted_ones_stay_taken(instance_db: Database) -> None:
    put(instance_db, contract(activations=10))
    what = effects(3, deactivations=1)
    reserved = do_reserve(instance_db, what)
    assert (reserved.taken, reserved.used) == (4, 0)
    counted = do_count(instance_db, what)
    assert (counted.taken, counted.used) == (4, 4)
    check(instance_db)


def test_released_effects_are_free_again(instance_db: Database) -> None:
    put(instance_db, contract(activations=2))
    what = effects(2)
    do_reserve(instance_db, what)
    assert do_release(instance_db, what).taken == 0
    assert do_reserve(instance_db, effects(2)).taken == 2
    check(instance_db)


@pytest.mark.parametrize(("overage", "refusal"), [("block", 10), ("grace", 12)])
def test_policy_decides_which_activation_is_the_last(
    instance_db: Database, overage: str, refusal: int
) -> None:
    put(instance_db, contract(activations=10, overage="grace" if overage == "grace" else "block"))
    do_reserve(instance_db, effects(refusal - 1))
    with pytest.raises(QuotaExceeded) as refused:
        do_reserve(instance_db, effects(2))
    assert refused.value.detail["refusal_limit"] == refusal
    assert refused.value.detail["taken"] == refusal - 1
    assert state(instance_db, ACTIVATIONS).taken == refusal - 1
    do_reserve(instance_db, effects(1))
    check(instance_db)


def test_deactivations_are_counted_beyond_the_limit_and_never_refused(instance_db: Database) -> None:
    put(instance_db, contract(activations=1))
    do_reserve(instance_db, effects(1))
    returned = effects(0, deactivations=3)
    do_reserve(instance_db, returned)
    assert do_count(instance_db, returned).used == 3
    with pytest.raises(QuotaExceeded):
        do_reserve(instance_db, effects(1))
    check(instance_db)


def test_without_contract_only_deactivations_pass(instance_db: Database) -> None:
    with pytest.raises(NoContractInForce):
        do_reserve(instance_db, effects(1))
    returned = effects(0, deactivations=1)
    assert not do_reserve(instance_db, returned).included
    assert do_count(instance_db, returned).used == 1
    check(instance_db)


def test_effect_is_reserved_once_and_ends_once(instance_db: Database) -> None:
    put(instance_db, contract())
    what = effects(2)
    do_reserve(instance_db, what)
    with pytest.raises(EffectAlreadyRecorded):
        do_reserve(instance_db, what)
    do_count(instance_db, what)
    for again in (do_count, do_release):
        with pytest.raises(EffectAlreadyRecorded):
            again(instance_db, what)
    assert (state(instance_db, ACTIVATIONS).taken, state(instance_db, ACTIVATIONS).used) == (2, 2)
    check(instance_db)


def test_effect_that_was_not_reserved_in_that_month_does_not_end(instance_db: Database) -> None:
    put(instance_db, contract())
    what = effects(2)
    do_reserve(instance_db, what[:1])
    for end in (do_count, do_release):
        with pytest.raises(EffectNotReserved):
            end(instance_db, what)
        with pytest.raises(EffectNotReserved):
            end(instance_db, what[:1], MONTH.next())
    check(instance_db)


def test_update_issued_after_midnight_counts_in_the_month_of_its_reservation(
    instance_db: Database, clock: FakeClock
) -> None:
    put(instance_db, contract(activations=2))
    what = effects(1)
    do_reserve(instance_db, what)
    clock.set(MONTH.end)
    assert do_count(instance_db, what).used == 1
    assert state(instance_db, ACTIVATIONS, MONTH.start).used == 1
    assert state(instance_db, ACTIVATIONS).used == 0
    assert notices(instance_db) == [(ACTIVATIONS, 50, 2)]
    check(instance_db)


def test_new_month_starts_at_zero(instance_db: Database, clock: FakeClock) -> None:
    put(instance_db, contract(activations=1))
    do_reserve(instance_db, effects(1))
    clock.set(MONTH.end)
    assert do_reserve(instance_db, effects(1), MONTH.next()).taken == 1
    check(instance_db)


def test_raised_contract_lifts_a_refusal_in_the_same_transaction(instance_db: Database) -> None:
    put(instance_db, contract(activations=1))
    do_reserve(instance_db, effects(1))
    with pytest.raises(QuotaExceeded):
        do_reserve(instance_db, effects(1))
    put(instance_db, contract("high_performance", start=instance_db.clock.now()))
    assert do_reserve(instance_db, effects(1)).contractual == 25_000
    check(instance_db)


def test_contract_that_is_over_limits_nothing_any_more(instance_db: Database, clock: FakeClock) -> None:
    first = contract(activations=1)
    put(instance_db, first, contract(activations=5, start=clock.now() + DAY))
    do_reserve(instance_db, effects(1))
    clock.advance(DAY)
    do_reserve(instance_db, effects(4))
    with pytest.raises(QuotaExceeded):
        do_reserve(instance_db, effects(1))
    check(instance_db)


def test_contract_rows_are_inserted_or_ended_and_never_overwritten(instance_db: Database) -> None:
    row = contract("high_performance", activations=7)
    put(instance_db, row)
    put(instance_db, row)
    ended = replace(row, effective_until=instance_db.clock.now() + DAY)
    put(instance_db, ended)
    put(instance_db, ended)
    assert instance_db.read(list_contracts) == (ended,)
    for other in (
        row,
        replace(ended, overage="grace"),
        replace(ended, limits=None),
        replace(ended, effective_until=instance_db.clock.now() + 2 * DAY),
    ):
        with pytest.raises(ContractAltered):
            put(instance_db, other)
    assert instance_db.read(list_contracts) == (ended,)


def test_one_unfit_row_keeps_all_rows_out(instance_db: Database) -> None:
    with pytest.raises(ContractInvalid):
        put(instance_db, contract(), replace(contract("high_availability"), lines=1))
    assert instance_db.read(list_contracts) == ()


def test_each_threshold_is_noted_once_for_each_limit(instance_db: Database) -> None:
    put(instance_db, contract(activations=10, overage="grace"))
    expected: list[tuple[object, object, object]] = []
    for used in range(1, 13):
        what = effects(1)
        do_reserve(instance_db, what)
        do_count(instance_db, what)
        expected += (
            [(ACTIVATIONS, {5: 50, 8: 80, 10: 100, 12: 120}[used], 10)] if used in (5, 8, 10, 12) else []
        )
        assert notices(instance_db) == expected
    put(instance_db, contract(activations=20, start=instance_db.clock.now()))
    assert notices(instance_db)[4:] == [(ACTIVATIONS, 50, 20)]
    put(instance_db, contract(activations=10, start=instance_db.clock.now()))
    assert len(notices(instance_db)) == 5
    check(instance_db)


def test_lowered_contract_is_noted_at_once(instance_db: Database) -> None:
    put(instance_db, contract(activations=100))
    what = effects(9)
    do_reserve(instance_db, what)
    do_count(instance_db, what)
    put(instance_db, contract(activations=10, start=instance_db.clock.now()))
    assert notices(instance_db) == [(ACTIVATIONS, 50, 10), (ACTIVATIONS, 80, 10)]


def test_one_effect_may_cross_several_thresholds(instance_db: Database) -> None:
    put(instance_db, contract(activations=1))
    what = effects(1)
    do_reserve(instance_db, what)
    do_count(instance_db, what)
    assert [threshold for _, threshold, _ in notices(instance_db)] == [50, 80, 100]


def test_sixteen_clients_on_the_last_unit_make_one_winner(instance_db: Database) -> None:
    put(instance_db, contract(activations=5))
    do_reserve(instance_db, effects(4))
    results = at_once(16, lambda _: do_reserve(instance_db, effects(1)))
    assert sum(isinstance(each, QuotaState) for each in results) == 1
    assert sum(isinstance(each, QuotaExceeded) for each in results) == 15
    assert state(instance_db, ACTIVATIONS).taken == 5
    check(instance_db)


def test_sixteen_clients_in_a_fresh_month_take_exactly_the_quota(instance_db: Database) -> None:
    put(instance_db, contract(activations=20, overage="grace"))

    def work(_: int) -> int:
        won = 0
        for _attempt in range(3):
            what = effects(1)
            try:
                do_reserve(instance_db, what, MONTH)
            except QuotaExceeded:
                continue
            do_count(instance_db, what)
            won += 1
        return won

    results = at_once(16, work)
    assert sum(each for each in results if isinstance(each, int)) == 24
    assert state(instance_db, ACTIVATIONS).used == 24
    assert notices(instance_db) == [(ACTIVATIONS, each, 20) for each in (50, 80, 100, 120)]
    check(instance_db)


def test_written_call_counts_with_its_effect_or_not_at_all(instance_db: Database) -> None:
    put(instance_db, contract(calls=2))

    def do_call() -> QuotaState:
        one = call(instance_db.clock.now())
        return QuotaState.from_json(
            instance_db.run_tx(new_id("op"), lambda tx: count_call(tx, one).to_json()).value
        )

    assert do_call().used == 1
    assert do_call().used == 2
    with pytest.raises(QuotaExceeded):
        do_call()
    assert state(instance_db, WEB_SERVICE_CALLS).used == 2
    check(instance_db)


def test_repeated_operation_counts_its_call_once(instance_db: Database) -> None:
    put(instance_db, contract(calls=5))
    one = call(instance_db.clock.now())
    for _ in range(3):
        instance_db.run_tx("op_same", lambda tx: count_call(tx, one).to_json())
    with pytest.raises(EffectAlreadyRecorded):
        instance_db.run_tx("op_other", lambda tx: count_call(tx, one).to_json())
    assert state(instance_db, WEB_SERVICE_CALLS).used == 1


def test_datacenter_has_no_calls_and_names_the_editions_that_have(instance_db: Database) -> None:
    put(instance_db, contract("datacenter"))
    with pytest.raises(EditionFeatureUnavailable) as refused:
        instance_db.run_tx("op_1", lambda tx: count_call(tx, call(instance_db.clock.now())).to_json())
    assert refused.value.detail["editions"] == ["dedicated", "high_performance", "high_availability"]
    check(instance_db)


def test_failed_effect_takes_its_reservation_back(instance_db: Database) -> None:
    put(instance_db, contract(activations=1))

    def body(tx: Tx) -> JsonObject:
        reserve(tx, effects(1), month=MONTH)
        raise InputInvalid("The licence was taken a moment ago.")

    with pytest.raises(InputInvalid):
        instance_db.run_tx("op_1", body)
    assert do_reserve(instance_db, effects(1)).taken == 1


def test_usage_reports_both_meters_and_the_contracts_of_the_month(instance_db: Database) -> None:
    old = replace(contract(), effective_until=MONTH.start)
    row = contract(activations=4, start=MONTH.start)
    put(instance_db, replace(old, effective_from=MONTH.previous().start), row)
    what = effects(3)
    do_reserve(instance_db, what)
    do_count(instance_db, what[:2])
    report = instance_db.read(lambda reader: usage(reader, MONTH))
    first, second = report.meters
    assert (first.used, first.open, first.contractual, first.refusal) == (2, 1, 4, 4)
    assert (first.thresholds, first.edition, first.overage) == ((50,), "dedicated", "block")
    assert (second.meter, second.used, second.contractual) == (WEB_SERVICE_CALLS, 0, 250_000)
    assert report.contracts == (row,)
    assert report.resets_at == MONTH.end


def test_usage_of_a_past_month_keeps_its_limits(instance_db: Database, clock: FakeClock) -> None:
    put(instance_db, contract(activations=4))
    clock.set(MONTH.end + DAY)
    put(instance_db, contract("high_performance", start=clock.now()))
    report = instance_db.read(lambda reader: usage(reader, MONTH))
    assert report.meters[0].contractual == 4


def test_ledger_is_read_page_by_page_in_order(instance_db: Database, clock: FakeClock) -> None:
    put(instance_db, contract())
    for _ in range(3):
        what = effects(2)
        do_reserve(instance_db, what)
        do_count(instance_db, what)
        clock.advance(DAY / 24)
    seen: list[tuple[str, str]] = []
    after = ""
    while True:
        page = instance_db.read(
            lambda reader, after=after: list_ledger(reader, MONTH, meter=ACTIVATIONS, after=after, limit=5)  # type: ignore[misc]
        )
        if not page:
            break
        seen += [(each.effect_id, each.phase) for each in page]
        after = page[-1].position
    assert len(seen) == len(set(seen)) == 12
    assert [phase for _, phase in seen].count("counted") == 6


@pytest.mark.parametrize("after", ["x", "1:3:e", "1:0:", "-1:0:e", "9" * 40 + ":0:e"])
@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_foreign_ledger_position_is_refused(instance_db: Database, after: str) -> None:
    with pytest.raises(InputInvalid):
        instance_db.read(lambda reader: list_ledger(reader, MONTH, meter=ACTIVATIONS, after=after))

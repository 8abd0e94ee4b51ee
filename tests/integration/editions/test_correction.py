from __future__ import annotations

import pytest

from app.core.db import Database
from app.core.errors import InputInvalid
from app.core.ids import new_id
from editions import (
    ACTIVATIONS,
    WEB_SERVICE_CALLS,
    EditionsError,
    EffectAlreadyVoided,
    EffectNotCounted,
    EffectNotFound,
    EffectNotVoidable,
    Meter,
    QuotaExceeded,
    check_voidable,
    count_call,
    list_ledger,
    usage,
)
from tests.fake.clock import FakeClock
from tests.integration.editions.material import (
    MONTH,
    call,
    check,
    contract,
    do_count,
    do_release,
    do_reserve,
    do_void,
    effects,
    put,
    state,
)
from tests.service.crowd import at_once


def counted(db: Database, number: int, *, deactivations: int = 0) -> list[str]:
    what = effects(number, deactivations=deactivations)
    do_reserve(db, what)
    do_count(db, what)
    return [each.effect_id for each in what]


def one_call(db: Database) -> str:
    one = call(db.clock.now())
    db.run_tx(new_id("op"), lambda tx: count_call(tx, one).to_json())
    return one.effect_id


def look(db: Database, effect_ids: list[str]) -> dict[Meter, int]:
    return db.read(lambda reader: check_voidable(reader, effect_ids, month=MONTH))


def test_voided_counts_make_room_and_stay_in_the_ledger(instance_db: Database) -> None:
    put(instance_db, contract(activations=3))
    ids = counted(instance_db, 3)
    with pytest.raises(QuotaExceeded):
        do_reserve(instance_db, effects(1))
    assert do_void(instance_db, ids[:2], reference="opn_7") == {ACTIVATIONS: 2}
    found = state(instance_db, ACTIVATIONS)
    assert (found.used, found.taken) == (1, 1)
    rows = instance_db.read(lambda reader: list_ledger(reader, MONTH, meter=ACTIVATIONS))
    assert sorted(each.phase for each in rows) == ["counted"] * 3 + ["reserved"] * 3 + ["voided"] * 2
    assert {(each.effect_id, each.reference) for each in rows if each.phase == "voided"} == {
        (effect_id, "opn_7") for effect_id in ids[:2]
    }
    meters = {each.meter: each for each in instance_db.read(lambda reader: usage(reader, MONTH)).meters}
    assert (meters[ACTIVATIONS].voided, meters[WEB_SERVICE_CALLS].voided) == (2, 0)
    counted(instance_db, 2)
    check(instance_db)


def test_both_meters_in_one_correction_and_the_same_again_changes_nothing(instance_db: Database) -> None:
    put(instance_db, contract(activations=5, calls=5))
    ids = [*counted(instance_db, 1), one_call(instance_db)]
    assert do_void(instance_db, ids) == {ACTIVATIONS: 1, WEB_SERVICE_CALLS: 1}
    assert do_void(instance_db, ids) == {}
    assert {meter: state(instance_db, meter).used for meter in (ACTIVATIONS, WEB_SERVICE_CALLS)} == {
        ACTIVATIONS: 0,
        WEB_SERVICE_CALLS: 0,
    }
    check(instance_db)


def test_each_refusal_names_its_reason_and_changes_nothing(instance_db: Database) -> None:
    put(instance_db, contract(activations=20, calls=5))
    activation, deactivation = counted(instance_db, 1, deactivations=1)
    reserved, released = effects(1), effects(1)
    do_reserve(instance_db, [*reserved, *released])
    do_release(instance_db, released)
    (voided,) = counted(instance_db, 1)
    do_void(instance_db, [voided], reference="opn_1")
    before = state(instance_db, ACTIVATIONS)
    refused: list[tuple[str, type[EditionsError], str]] = [
        ("eff_0", EffectNotFound, "effect_not_found"),
        (deactivation, EffectNotVoidable, "effect_not_voidable"),
        (reserved[0].effect_id, EffectNotCounted, "effect_not_counted"),
        (released[0].effect_id, EffectNotCounted, "effect_not_counted"),
        (voided, EffectAlreadyVoided, "effect_already_voided"),
    ]
    for effect_id, error, code in refused:
        with pytest.raises(error) as raised:
            do_void(instance_db, [activation, effect_id], reference="opn_2")
        assert (raised.value.code, raised.value.detail["effect_id"]) == (code, effect_id)
        with pytest.raises(error):
            look(instance_db, [effect_id])
    with pytest.raises(EffectNotFound):
        do_void(instance_db, [activation], MONTH.next())
    for unfit in ([], [activation, activation], [f"eff_{n}" for n in range(501)]):
        with pytest.raises(InputInvalid):
            do_void(instance_db, unfit)
    assert state(instance_db, ACTIVATIONS) == before
    check(instance_db)


def test_a_look_says_what_would_be_taken_back_and_changes_nothing(instance_db: Database) -> None:
    put(instance_db, contract(activations=5, calls=5))
    ids = [*counted(instance_db, 2), one_call(instance_db)]
    assert look(instance_db, ids) == {ACTIVATIONS: 2, WEB_SERVICE_CALLS: 1}
    assert state(instance_db, ACTIVATIONS).used == 2


def test_a_month_that_is_over_can_be_corrected(instance_db: Database, clock: FakeClock) -> None:
    put(instance_db, contract(activations=5))
    (effect_id,) = counted(instance_db, 1)
    clock.set(MONTH.end)
    do_void(instance_db, [effect_id])
    assert state(instance_db, ACTIVATIONS, MONTH.start).used == 0
    check(instance_db)


def test_two_corrections_of_the_same_count_at_once_take_it_back_once(instance_db: Database) -> None:
    put(instance_db, contract(activations=20))
    ids = counted(instance_db, 8)
    results = at_once(8, lambda place: do_void(instance_db, ids, reference=f"opn_{place}"))
    done = [each for each in results if isinstance(each, dict)]
    assert (len(done), done[0]) == (1, {ACTIVATIONS: 8})
    assert {type(each) for each in results if not isinstance(each, dict)} == {EffectAlreadyVoided}
    assert state(instance_db, ACTIVATIONS).used == 0
    check(instance_db)


def test_audit_finds_a_void_row_without_a_count(instance_db: Database) -> None:
    put(instance_db, contract(activations=5))
    (effect_id,) = counted(instance_db, 1)
    do_void(instance_db, [effect_id])
    with instance_db.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM ledger_entry WHERE step = 1")
    with pytest.raises(AssertionError):
        check(instance_db)

"""What may be said about boxes, and where their keys belong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fsb_gateway.box_driver import BoxSpec, Faults, TokenSpec
from fsb_gateway.error import (
    BoxLast,
    BoxSpecInvalid,
    FirmKeyMissing,
    FsbError,
    PoolForeign,
    PoolUnknown,
    TokenTaken,
)
from fsb_gateway.report import BoxCondition
from tenancy.box.errors import BoxStateUnfit, LoanUnfit, PlanOutdated
from tenancy.box.key_plan import (
    check_destination,
    check_held_elsewhere,
    check_same_boxes,
    check_source,
    keys_foreign,
    keys_lacking,
)
from tenancy.box.record import (
    BoxChange,
    check_loan,
    check_new,
    check_not_last,
    check_token_free,
    load,
    owner_of_pool,
)
from tenancy.box.spec_json import changed_fields, describe_spec, read_spec
from tests.unit.tenancy.box.material import NOW, box, home, key, lent, report

TOKEN = TokenSpec(module="/usr/lib/softhsm/libsofthsm2.so", label="firm", pin_file="/etc/wops/pin")


@pytest.mark.parametrize(
    "spec",
    [
        BoxSpec(name="x", pool="shared"),
        BoxSpec(name="Shared-Box", pool="shared"),
        BoxSpec(name="b" * 61, pool="shared"),
        BoxSpec(name="box-1", pool="shared", jitter=1.5),
        BoxSpec(name="box-1", pool="shared", operation_time=timedelta(minutes=2)),
        BoxSpec(name="box-1", pool="shared", driver="pkcs11"),
        BoxSpec(name="box-1", pool="shared", token=TOKEN),
        BoxSpec(name="box-1", pool="shared", driver="pkcs11", token=TOKEN, faults=Faults(busy=0.1)),
        BoxSpec(
            name="box-1",
            pool="shared",
            driver="pkcs11",
            token=TokenSpec(module="libsofthsm2.so", label="firm", pin_file="/etc/pin"),
        ),
        BoxSpec(
            name="box-1",
            pool="shared",
            driver="pkcs11",
            token=TokenSpec(module="/usr/lib/x.so", label="firm", pin_file="/etc/a pin"),
        ),
    ],
)
def test_box_that_cannot_be_is_refused(spec: BoxSpec) -> None:
    with pytest.raises(FsbError):
        check_new(spec)


def test_described_box_is_read_as_it_was() -> None:
    spec = BoxSpec(
        name="box-1",
        pool="acme",
        owner="ins_1",
        driver="pkcs11",
        operation_time=timedelta(milliseconds=20),
        jitter=0.25,
        token=TOKEN,
        drained=True,
        transactions="standard",
        transactions_loaded=500,
    )
    assert read_spec("box-1", describe_spec(spec)) == spec
    faulty = BoxSpec(name="box-2", pool="shared", faults=Faults(busy=0.5, lost_power=0.25))
    assert read_spec("box-2", describe_spec(faulty)) == faulty


def test_change_tells_what_is_otherwise_and_how_it_was() -> None:
    before = box().spec
    after = BoxChange(jitter=0.5, operation_time=timedelta(milliseconds=20)).of(before)
    assert changed_fields(before, after) == (
        {"operation_time_seconds": 0.02, "jitter": 0.5},
        {"operation_time_seconds": 0.0, "jitter": 0.0},
    )
    assert BoxChange().of(before) == before


def test_loaded_transactions_add_up_and_are_never_forgotten() -> None:
    spec = BoxChange(transactions="standard").of(box().spec)
    assert load(load(spec, 100), 50).transactions_loaded == 150
    with pytest.raises(BoxSpecInvalid):
        load(box().spec, 100)
    with pytest.raises(BoxSpecInvalid):
        load(spec, 0)
    with pytest.raises(BoxSpecInvalid):
        BoxChange(transactions="unlimited").of(load(spec, 100))


def test_whose_a_box_is_follows_from_its_pool() -> None:
    homes = [home(1), home(2, "acme")]
    assert owner_of_pool("shared", homes) is None
    assert owner_of_pool("acme", homes) == "ins_2"
    with pytest.raises(PoolUnknown):
        owner_of_pool("nobodys", homes)


@pytest.mark.parametrize(
    ("to", "hours", "refusal"),
    [
        ("shared", 1, LoanUnfit),
        ("acme", 0, LoanUnfit),
        ("acme", 721, LoanUnfit),
        ("acme", 720, None),
        ("acme", 1, None),
    ],
)
def test_loan_has_another_pool_and_a_time_of_thirty_days_at_most(
    to: str, hours: int, refusal: type[Exception] | None
) -> None:
    if refusal is None:
        assert check_loan(box(), to=to, hours=hours) == timedelta(hours=hours)
    else:
        with pytest.raises(refusal):
            check_loan(box(), to=to, hours=hours)


def test_box_that_is_joining_leaving_or_lent_is_not_lent() -> None:
    for record in (box(state="joining"), box(state="leaving"), lent(box(), "beta", NOW - timedelta(hours=1))):
        with pytest.raises(BoxStateUnfit):
            check_loan(record, to="acme", hours=1)


def test_only_working_box_of_a_pool_is_not_taken_away() -> None:
    one = box("one", "acme")
    useless = [
        box("two", "acme", drained=True),
        box("three", "acme", state="joining"),
        lent(box("four", "acme"), "beta", NOW + timedelta(hours=1)),
        box("five", "beta"),
    ]
    with pytest.raises(BoxLast):
        check_not_last(one, [one, *useless], now=NOW)
    check_not_last(one, [one, box("six", "acme")], now=NOW)
    check_not_last(one, [one, *useless], now=NOW + timedelta(hours=1))


def test_box_lacks_the_active_keys_of_its_pool() -> None:
    homes = [home(3), home(1), home(2, "acme"), home(4)]
    keys = [key(1, "old"), key(2, "acme-box-1"), key(3, "old", "new"), key(4, state="retired"), key(9, "old")]
    assert keys_lacking("new", pool="shared", keys=keys, homes=homes) == [1]


def test_keys_of_other_pools_are_foreign_and_those_of_nobody_are_left_alone() -> None:
    keys = [key(1, "one"), key(2, "one"), key(3, "two"), key(9, "one")]
    homes = [home(1), home(2, "acme"), home(3, "acme")]
    assert keys_foreign(box("one"), keys, homes) == [2]


def test_key_that_is_else_in_a_lent_box_alone_does_not_leave() -> None:
    own, lender = box("acme-box-1", "acme"), lent(box("one"), "acme", NOW + timedelta(hours=1))
    keys, homes = [key(2, "acme-box-1", "one")], [home(2, "acme")]
    found = [report(each) for each in ("acme-box-1", "acme-box-2", "one")]
    with pytest.raises(BoxLast) as refused:
        check_held_elsewhere(own.name, [2], keys=keys, homes=homes, boxes=[own, lender], found=found)
    assert refused.value.detail["firm_code"] == 2
    second = box("acme-box-2", "acme")
    keys = [key(2, "acme-box-1", "acme-box-2")]
    check_held_elsewhere(own.name, [2], keys=keys, homes=homes, boxes=[own, lender, second], found=found)
    leaving = box("acme-box-2", "acme", state="leaving")
    with pytest.raises(BoxLast):
        check_held_elsewhere(own.name, [2], keys=keys, homes=homes, boxes=[own, lender, leaving], found=found)


@pytest.mark.parametrize(
    ("condition", "counts"),
    [
        ("ready", True),
        ("drained", True),
        ("transactions_exhausted", True),
        ("out", False),
        ("disconnected", False),
        ("token_absent", False),
        ("token_pin_wrong", False),
        ("journal_damaged", False),
    ],
)
def test_box_that_cannot_sign_holds_no_key_to_rely_on(condition: BoxCondition, counts: bool) -> None:
    boxes = [box("one"), box("two")]
    keys, homes = [key(1, "one", "two")], [home(1)]
    found = [report("one"), report("two", condition=condition)]
    try:
        check_held_elsewhere("one", [1], keys=keys, homes=homes, boxes=boxes, found=found)
    except BoxLast:
        assert not counts
    else:
        assert counts
    with pytest.raises(BoxLast):
        check_held_elsewhere("one", [1], keys=keys, homes=homes, boxes=boxes, found=[report("one")])


@pytest.mark.parametrize(
    ("change", "is_taken"),
    [
        ({}, True),
        ({"pin_file": "/etc/wops/other"}, True),
        ({"module": "/usr//lib/./softhsm/../softhsm/libsofthsm2.so"}, True),
        ({"label": "other"}, False),
        ({"module": "/usr/lib/other.so"}, False),
    ],
)
def test_token_of_another_box_is_not_free_however_it_is_written(
    change: dict[str, str], is_taken: bool
) -> None:
    boxes = [box("one"), box("two", driver="pkcs11", token=TOKEN)]
    asked = BoxSpec(name="three", pool="shared", driver="pkcs11", token=replace(TOKEN, **change))
    if is_taken:
        with pytest.raises(TokenTaken) as refused:
            check_token_free(asked, boxes)
        assert refused.value.detail == {"box": "three", "holder": "two"}
    else:
        check_token_free(asked, boxes)
    check_token_free(replace(asked, name="two"), boxes)
    check_token_free(BoxSpec(name="three", pool="shared"), boxes)


def test_key_that_is_in_other_boxes_than_approved_is_left_alone() -> None:
    check_same_boxes(key(1, "one", "two"), ["two", "one"])
    for approved in (["one"], ["one", "two", "three"], []):
        with pytest.raises(PlanOutdated) as refused:
            check_same_boxes(key(1, "one", "two"), approved)
        assert refused.value.detail == {
            "firm_code": 1,
            "approved": sorted(approved),
            "found": ["one", "two"],
        }


def test_key_goes_only_into_boxes_that_work_for_its_pool() -> None:
    check_destination(box("acme-box-2", "acme"), home(2, "acme"), now=NOW)
    lender = lent(box("one"), "acme", NOW + timedelta(hours=1))
    check_destination(lender, home(2, "acme"), now=NOW)
    check_destination(lender, home(1), now=NOW)
    with pytest.raises(PoolForeign):
        check_destination(box("one"), home(2, "acme"), now=NOW)
    with pytest.raises(PoolForeign):
        check_destination(lender, home(2, "acme"), now=NOW + timedelta(hours=1))
    check_source("one", key(1, "one"))
    with pytest.raises(FirmKeyMissing):
        check_source("two", key(1, "one"))

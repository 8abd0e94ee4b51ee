"""Limits in force, also against an oracle that walks through the month hour by hour."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editions.catalog import ACTIVATIONS, EDITIONS, METERS, WEB_SERVICE_CALLS, EditionKey, Meter, Overage
from editions.errors import ContractInvalid, NoContractInForce
from editions.limit import Contract, ContractKind, check_contract, find_limit, limit_in_force
from editions.period import Month

_MONTH = Month(2026, 3)
_STEP = timedelta(hours=1)
_STEPS = _MONTH.length() // _STEP


def _at(step: int) -> datetime:
    return _MONTH.start + step * _STEP


def _base(edition: EditionKey = "dedicated", **changes: object) -> Contract:
    row = Contract(contract_id="con_1", edition=edition, effective_from=_at(-100))
    return replace(row, **changes)  # type: ignore[arg-type]


@st.composite
def _rows(draw: st.DrawFn) -> Contract:
    kind: ContractKind = draw(st.sampled_from(["base", "base", "temporary_lines"]))
    edition: EditionKey = "high_availability"
    if kind == "base":
        edition = draw(st.sampled_from(["datacenter", "dedicated", "high_availability", "high_availability"]))
    first = draw(st.integers(-200, _STEPS + 50))
    length = draw(st.integers(1, 600))
    is_open = kind == "base" and draw(st.booleans())
    limits: dict[Meter, int] | None = draw(
        st.sampled_from([None, None, {ACTIVATIONS: 77}, {WEB_SERVICE_CALLS: 5}])
    )
    overage: Overage = draw(st.sampled_from(["grace", "block"]))
    return Contract(
        contract_id=f"con_{draw(st.integers(0, 10**6)):07d}",
        kind=kind,
        edition=edition,
        lines=draw(st.integers(2, 6)) if edition == "high_availability" else 1,
        overage=overage,
        effective_from=_at(first),
        effective_until=None if is_open else _at(first + length),
        limits=limits if kind == "base" else None,
    )


def _oracle_base(rows: list[Contract], at: datetime) -> Contract | None:
    found = None
    for row in sorted(rows, key=lambda each: (each.effective_from, each.contract_id)):
        is_over = row.effective_until is not None and row.effective_until <= at
        if row.kind == "base" and row.effective_from <= at and not is_over:
            found = row
    return found


def _oracle_lines(rows: list[Contract]) -> int:
    most = 0
    for step in range(_STEPS):
        at = _at(step)
        base = _oracle_base(rows, at)
        if base is not None and base.edition == "high_availability":
            lines = base.lines
            for row in rows:
                if row.kind == "temporary_lines" and row.effective_until is not None:
                    lines += row.lines if row.effective_from <= at < row.effective_until else 0
            most = max(most, lines)
    return most


@given(
    st.lists(_rows(), max_size=6, unique_by=lambda row: row.contract_id),
    st.integers(0, _STEPS - 1),
    st.sampled_from(METERS),
)
def test_limit_is_that_of_the_oracle(rows: list[Contract], step: int, meter: Meter) -> None:
    limit = find_limit(rows, meter, _at(step))
    base = _oracle_base(rows, _at(step))
    if base is None:
        assert limit is None
        return
    assert limit is not None
    assert (limit.contract_id, limit.edition, limit.overage) == (base.contract_id, base.edition, base.overage)
    amount = EDITIONS[base.edition].amount(meter)
    if amount is None:
        assert (limit.included, limit.contractual, limit.refusal) == (False, 0, 0)
        return
    expected = amount * (_oracle_lines(rows) if base.edition == "high_availability" else 1)
    if base.limits is not None:
        expected = base.limits.get(meter, expected)
    assert limit.included
    assert limit.contractual == expected
    assert limit.refusal == (int(expected * 6 / 5) if base.overage == "grace" else expected)


@given(st.lists(_rows(), max_size=6, unique_by=lambda row: row.contract_id), st.integers(0, _STEPS - 1))
def test_limit_does_not_change_before_it_says(rows: list[Contract], step: int) -> None:
    limit = find_limit(rows, ACTIVATIONS, _at(step))
    if limit is None:
        return
    assert _at(step) < limit.holds_until <= _MONTH.end
    later = step
    while _at(later) < limit.holds_until:
        assert find_limit(rows, ACTIVATIONS, _at(later)) == limit
        later += 1


def test_grace_cuts_fractions_off() -> None:
    limit = limit_in_force([_base(limits={ACTIVATIONS: 7})], ACTIVATIONS, _at(0))
    assert (limit.contractual, limit.refusal) == (7, 8)


def test_block_refuses_at_the_contractual_amount() -> None:
    limit = limit_in_force([_base(overage="block")], WEB_SERVICE_CALLS, _at(0))
    assert (limit.contractual, limit.refusal) == (250_000, 250_000)


def test_negotiated_calls_do_not_bring_web_services_into_datacenter() -> None:
    row = _base("datacenter", limits={WEB_SERVICE_CALLS: 1_000})
    assert not limit_in_force([row], WEB_SERVICE_CALLS, _at(0)).included


def test_temporary_line_of_a_day_raises_the_whole_month() -> None:
    base = _base("high_availability", lines=2)
    extra = Contract(
        contract_id="con_2",
        kind="temporary_lines",
        edition="high_availability",
        lines=1,
        effective_from=_at(500),
        effective_until=_at(524),
    )
    for step in (0, 510, _STEPS - 1):
        assert limit_in_force([base, extra], ACTIVATIONS, _at(step)).contractual == 75_000
    assert limit_in_force([base, extra], ACTIVATIONS, _MONTH.end).contractual == 50_000


def test_temporary_lines_that_follow_each_other_do_not_add_up() -> None:
    base = _base("high_availability", lines=2)
    first = Contract(
        contract_id="con_2",
        kind="temporary_lines",
        edition="high_availability",
        effective_from=_at(10),
        effective_until=_at(20),
    )
    second = replace(first, contract_id="con_3", effective_from=_at(20), effective_until=_at(30))
    assert limit_in_force([base, first, second], ACTIVATIONS, _at(5)).lines == 3


def test_without_contract_there_is_a_refusal() -> None:
    with pytest.raises(NoContractInForce) as refused:
        limit_in_force([_base(effective_until=_at(0))], ACTIVATIONS, _at(0))
    assert refused.value.code == "no_contract_in_force"


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (_base("high_availability"), "lines"),
        (_base(lines=2), "lines"),
        (_base("high_availability", lines=10**9), "lines"),
        (_base("platinum"), "edition"),  # type: ignore[arg-type]
        (_base(overage="unlimited"), "overage"),
        (_base(kind="temporary_lines", effective_until=_at(1)), "edition"),
        (_base("high_availability", kind="temporary_lines"), "effective_until"),
        (_base("high_availability", kind="temporary_lines", lines=0, effective_until=_at(1)), "lines"),
        (_base(kind="bonus"), "kind"),
        (_base(effective_until=_at(-100)), "effective_until"),
        (_base(effective_from=datetime(2026, 1, 1)), "effective_from"),  # noqa: DTZ001 - the point of the test
        (_base(limits={"boxes": 1}), "limits"),
        (_base(limits={ACTIVATIONS: -1}), "limits"),
    ],
)
def test_contract_row_that_cannot_be_is_refused_naming_the_field(row: Contract, field: str) -> None:
    with pytest.raises(ContractInvalid) as refused:
        check_contract(row)
    assert refused.value.detail["field"] == field

"""Thresholds, what counts, and what a refusal says."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import DomainError
from editions.catalog import ACTIVATIONS, EDITIONS, METERS, WEB_SERVICE_CALLS, EditionKey, Meter, Overage
from editions.errors import EditionFeatureUnavailable, NoContractInForce, QuotaExceeded
from editions.lease import block_size
from editions.limit import Contract, Limit, find_limit, limit_in_force
from editions.period import Month
from editions.quota import QuotaState, is_counted, refusal_of, state_of, threshold_reached, what_lifts

_MONTH = Month(2026, 3)


def _limit(edition: EditionKey, meter: Meter, overage: Overage = "block", amount: int | None = None) -> Limit:
    row = Contract(
        contract_id="con_1",
        edition=edition,
        lines=EDITIONS[edition].min_lines,
        overage=overage,
        effective_from=_MONTH.start,
        limits=None if amount is None else {meter: amount},
    )
    return limit_in_force([row], meter, _MONTH.start + timedelta(days=1))


@given(st.integers(0, 400), st.integers(0, 300))
def test_threshold_is_reached_at_the_rounded_up_share(used: int, contractual: int) -> None:
    reached = [
        each for each in (50, 80, 100, 120) if used > 0 and used >= math.ceil(each * contractual / 100)
    ]
    assert threshold_reached(used, contractual) == max(reached, default=0)


@pytest.mark.parametrize(
    ("status", "counts"),
    [
        (200, True),
        (202, True),
        (304, True),
        (404, True),
        (409, True),
        (422, True),
        (429, False),
        (500, False),
        (503, False),
    ],
)
def test_own_failures_and_throttling_do_not_count(status: int, counts: bool) -> None:
    assert is_counted(status) == counts


@given(
    meter=st.sampled_from(METERS),
    contractual=st.integers(0, 10**6),
    used=st.integers(0, 10**6),
    included=st.booleans(),
)
def test_state_survives_a_stored_answer(meter: Meter, contractual: int, used: int, included: bool) -> None:
    state = QuotaState(
        meter=meter,
        month=_MONTH,
        contractual=contractual,
        refusal=contractual,
        used=used,
        taken=used + 1,
        included=included,
    )
    assert QuotaState.from_json(state.to_json()) == state
    assert state.remaining == max(0, contractual - used)


def test_last_unit_is_granted_and_the_next_refused() -> None:
    limit = _limit("dedicated", ACTIVATIONS, amount=10)
    before = state_of(limit, ACTIVATIONS, _MONTH, used=3, taken=9)
    assert refusal_of(limit, before, 1) is None
    refusal = refusal_of(limit, before, 2)
    assert isinstance(refusal, QuotaExceeded)
    assert refusal.state == before
    assert {key: refusal.detail[key] for key in ("meter", "limit", "refusal_limit", "used", "requested")} == {
        "meter": "activations",
        "limit": 10,
        "refusal_limit": 10,
        "used": 3,
        "requested": 2,
    }
    assert refusal.detail["resets_at"] == "2026-03-31T22:00:00.000000Z"


def test_missing_web_services_name_the_editions_that_have_them() -> None:
    limit = _limit("datacenter", WEB_SERVICE_CALLS)
    refusal = refusal_of(limit, state_of(limit, WEB_SERVICE_CALLS, _MONTH, used=0, taken=0))
    assert isinstance(refusal, EditionFeatureUnavailable)
    assert refusal.detail["editions"] == ["dedicated", "high_performance", "high_availability"]


def test_no_contract_is_a_refusal_of_its_own() -> None:
    refusal: DomainError | None = refusal_of(None, state_of(None, ACTIVATIONS, _MONTH, used=0, taken=0))
    assert isinstance(refusal, NoContractInForce)


@given(
    edition=st.sampled_from(list(EDITIONS)),
    overage=st.sampled_from(["grace", "block"]),
    excess=st.integers(1, 400_000),
)
def test_everything_said_to_lift_a_refusal_does_and_with_the_fewest_lines(
    edition: EditionKey, overage: Overage, excess: int
) -> None:
    limit = _limit(edition, ACTIVATIONS, overage)
    needed = limit.refusal + excess
    lifted = what_lifts(limit, needed)
    named = lifted["editions"]
    assert isinstance(named, list)
    said = {each["edition"]: each["lines"] for each in named}
    for key, each in EDITIONS.items():
        lines = each.min_lines
        while each.per_line and _refusal(key, lines, overage) < needed:
            lines += 1
        assert said.get(key) == (lines if _refusal(key, lines, overage) >= needed else None)
    assert (lifted.get("overage") == "grace") == (
        overage == "block" and math.floor(limit.contractual * 1.2 + 1e-9) >= needed
    )


def _refusal(edition: EditionKey | str, lines: int, overage: Overage) -> int:
    key: EditionKey = EDITIONS[edition].key
    row = Contract(
        contract_id="con_1", edition=key, lines=lines, overage=overage, effective_from=_MONTH.start
    )
    limit = find_limit([row], ACTIVATIONS, _MONTH.start)
    assert limit is not None
    return limit.refusal


@given(st.integers(-5, 5_000))
def test_block_shrinks_as_the_limit_comes_near_and_never_exceeds_what_is_left(room: int) -> None:
    size = block_size(room, (64, 16, 4, 1))
    assert size in (64, 16, 4, 1)
    assert size == 1 or size * 16 <= room
    assert block_size(room + 1, (64, 16, 4, 1)) >= size

"""What a healer that begins to act reads from the journal."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.operations.reconcile.journal import read_history
from app.operations.reconcile.past import Action, Outcome
from app.operations.reconcile.record import Entry, EntryId
from tests.unit.app.operations.reconcile.scene import NOW, evidence

PART = "line:acme-1"


def entry(number: int, action: Action, outcome: Outcome) -> Entry:
    return Entry(
        entry_id=EntryId(f"rcn_{number}"),
        part=PART,
        group="acme",
        action=action,
        wanted=action,
        reason="sick",
        verdict="bad",
        evidence=evidence("bad", "bad"),
        token=1,
        decided_at=NOW + timedelta(seconds=number),
        outcome=outcome,
    )


@pytest.mark.parametrize(
    ("last", "is_out"),
    [
        (("put_back", "open"), False),
        (("put_back", "met"), False),
        (("put_back", "not_met"), False),
        (("put_back", "failed"), True),
        (("restart", "not_met"), True),
    ],
)
def test_part_that_was_put_back_is_in_service_whether_it_was_well_in_time_or_not(
    last: tuple[Action, Outcome], is_out: bool
) -> None:
    history = read_history([entry(1, "take_out", "met"), entry(2, *last)], now=NOW + timedelta(minutes=1))
    assert (PART in history.out) is is_out


@pytest.mark.parametrize(
    ("outcome", "is_out"), [("open", True), ("met", True), ("not_met", False), ("failed", False)]
)
def test_part_is_out_unless_taking_it_out_came_to_nothing(outcome: Outcome, is_out: bool) -> None:
    history = read_history([entry(1, "take_out", outcome)], now=NOW + timedelta(minutes=1))
    assert (PART in history.out) is is_out

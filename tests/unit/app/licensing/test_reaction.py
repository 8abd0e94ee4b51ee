"""What a line does with every error that a gateway may answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fsb_gateway.error
from app.licensing.transfer.reaction import REACTIONS, WAIT, reaction_to
from fsb_gateway import FsbError, FsbProtocolError, FsbRejected, FsbUnavailable

# (given up when new, given up when sent again, told to the caller as it is)
WAITS = (False, False, False)
ENDS = (True, True, False)
DECIDED = {
    "fsb_error": WAITS,
    "fsb_unavailable": WAITS,
    "fsb_protocol_error": WAITS,
    "pool_without_box": WAITS,
    "box_disconnected": WAITS,
    "box_journal_damaged": WAITS,
    "box_journal_unwritable": WAITS,
    "box_failed": WAITS,
    "box_occupied": WAITS,
    "box_timed_out": WAITS,
    "box_answer_wrong": WAITS,
    "box_power_lost": WAITS,
    "token_absent": WAITS,
    "token_library_unusable": WAITS,
    "token_pin_wrong": WAITS,
    "token_pin_unreadable": WAITS,
    "token_pin_exposed": WAITS,
    "token_key_lost": WAITS,
    "transactions_exhausted": WAITS,
    "pool_unknown": WAITS,
    "job_unknown": WAITS,
    "job_cancelled": WAITS,
    "job_running": WAITS,
    "box_queue_full": (True, False, True),
    "pool_drained": (True, False, False),
    "fsb_rejected": ENDS,
    "firm_code_not_owned": ENDS,
    "firm_key_missing": ENDS,
    "pool_foreign": ENDS,
    "job_malformed": ENDS,
    "update_too_large": ENDS,
    "job_id_reused": ENDS,
    "job_deadline_passed": ENDS,
    "box_unknown": ENDS,
    "box_spec_invalid": ENDS,
    "box_busy": ENDS,
    "box_last": ENDS,
    "token_taken": ENDS,
    "firm_key_conflict": ENDS,
    "firm_key_unfit": ENDS,
}
TRAVELS = (FsbUnavailable, FsbRejected, FsbProtocolError)
"""What a client raises for a call; files and key directories have their own errors, which never come from there."""


def kinds(root: type[FsbError] = FsbError) -> Iterator[type[FsbError]]:
    """Every error of the gateway's package, the root first."""
    if root.__module__ == fsb_gateway.error.__name__:
        yield root
    for child in root.__subclasses__():
        yield from kinds(child)


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.code)
def test_every_error_is_decided(kind: type[FsbError]) -> None:
    reaction = reaction_to(kind("whatever"))
    shape = (reaction.gives_up, reaction.gives_up_later, reaction.tells)
    assert shape == DECIDED.get(kind.code, WAITS)
    if issubclass(kind, TRAVELS):
        assert kind.code in REACTIONS


def test_table_holds_nothing_else() -> None:
    assert set(REACTIONS) == set(DECIDED)
    assert set(REACTIONS) <= {kind.code for kind in kinds()}


def test_kind_that_is_not_known_is_treated_as_its_ancestor() -> None:
    error = FsbRejected("no")
    error.__class__ = type("Orphan", (FsbRejected,), {"code": "orphan", "__module__": "tests.orphan"})
    assert reaction_to(error) is REACTIONS["fsb_rejected"]
    assert reaction_to(FsbError("?")) is WAIT


def test_nothing_that_waits_is_told_and_nothing_is_given_up_only_later() -> None:
    for reaction in REACTIONS.values():
        assert reaction.gives_up or not (reaction.gives_up_later or reaction.tells)


def test_deadline_has_one_name_in_the_books_whoever_sees_it_first() -> None:
    reasons = {code: each.reason for code, each in REACTIONS.items() if each.reason is not None}
    assert reasons == {"job_deadline_passed": "deadline_passed"}

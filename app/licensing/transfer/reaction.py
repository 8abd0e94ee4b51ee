"""What a line does when the gateway does not take a job, or a box does not do it. Pure.

    wait      nothing is decided: the transfer stays reserved, and the same job is sent again until its deadline
    give up   it is rolled back at once, with the error's code as its reason; nothing is counted

A transfer whose caller has got a 202 is not given up for what may be over before its deadline (`again`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fsb_gateway import FsbError

DEADLINE_PASSED: Final = "deadline_passed"
"""Reason of a transfer that nobody programmed in time, whoever saw it first: its line or the gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What follows from one kind of error.

    Attributes:
        gives_up: whether a transfer is rolled back whose job is sent for the first time.
        gives_up_later: the same for a job that is sent again.
        tells: whether the caller gets the error itself, and not that his transfer was rolled back.
        reason: what stands in the books instead of the error's code.
    """

    gives_up: bool = False
    gives_up_later: bool = False
    tells: bool = False
    reason: str | None = None


WAIT: Final = Reaction()
GIVE_UP: Final = Reaction(gives_up=True, gives_up_later=True)

REACTIONS: Final[Mapping[str, Reaction]] = MappingProxyType(
    {
        # Nobody knows whether it was served, or a box is to be had later.
        "fsb_unavailable": WAIT,
        "fsb_protocol_error": WAIT,
        "pool_without_box": WAIT,
        "box_disconnected": WAIT,
        "box_journal_damaged": WAIT,
        "box_journal_unwritable": WAIT,
        "box_failed": WAIT,
        "box_occupied": WAIT,
        "box_timed_out": WAIT,
        "box_answer_wrong": WAIT,
        "box_power_lost": WAIT,
        "token_absent": WAIT,
        "token_library_unusable": WAIT,
        "token_pin_wrong": WAIT,
        "token_pin_unreadable": WAIT,
        "token_pin_exposed": WAIT,
        "token_key_lost": WAIT,
        "transactions_exhausted": WAIT,
        # A gateway that has just started does not know its pools yet, and an old one not all jobs.
        "pool_unknown": WAIT,
        "job_unknown": WAIT,
        # Whoever cancelled it rolls it back under his own name; should he have died, it is sent again.
        "job_cancelled": WAIT,
        "job_running": WAIT,
        # A queue that was full and a pool that staff have drained refuse what is new.
        "box_queue_full": Reaction(gives_up=True, tells=True),
        "pool_drained": Reaction(gives_up=True),
        # The job will be refused however often it is sent.
        "fsb_rejected": GIVE_UP,
        "firm_code_not_owned": GIVE_UP,
        "firm_key_missing": GIVE_UP,
        "pool_foreign": GIVE_UP,
        "job_malformed": GIVE_UP,
        "update_too_large": GIVE_UP,
        "job_id_reused": GIVE_UP,
        "job_deadline_passed": Reaction(gives_up=True, gives_up_later=True, reason=DEADLINE_PASSED),
        # No answers to a job: they refuse what control asks for.
        "box_unknown": GIVE_UP,
        "box_spec_invalid": GIVE_UP,
        "box_busy": GIVE_UP,
        "box_last": GIVE_UP,
        "token_taken": GIVE_UP,
        "firm_key_conflict": GIVE_UP,
        "firm_key_unfit": GIVE_UP,
        # What a gateway never says of a job: a defect, which decides nothing.
        "fsb_error": WAIT,
    }
)
"""By code of the error; a kind without a row is treated as its nearest ancestor."""


def reaction_to(error: FsbError) -> Reaction:
    """What follows from an error."""
    codes = (getattr(ancestor, "code", "") for ancestor in type(error).__mro__)
    return next(REACTIONS[code] for code in codes if code in REACTIONS)

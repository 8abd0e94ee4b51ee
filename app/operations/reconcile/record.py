"""What is kept of self-healing: who acts, what was decided, what is paused. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NewType

from app.operations.reconcile.errors import PauseEndUnfit, PauseScopeUnfit
from app.operations.reconcile.observation import Evidence, Verdict
from app.operations.reconcile.past import Action, Outcome, Reason

EntryId = NewType("EntryId", str)

LONGEST_SCOPE: Final = 100
LONGEST_REASON: Final = 500
_MOST_NAMED: Final = 20
"""Scopes in a refusal: enough to see what they look like, and few enough to read. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who acts.

    Attributes:
        token: grows with every change of holder.
    """

    holder: str
    token: int
    valid_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the journal: a decision that was another than before, and what came of it.

    Attributes:
        part: key of the part.
        wanted: what would have been done if nothing had held the healer back.
        scope, until: what the reason holds for, and until when at the latest; None: nobody knows.
        token: of the healer that decided.
        outcome: of an action; None for `none` and for a person who was called.
        outcome_code: of what went wrong.
        released_by: who released the part after a person was called.
    """

    entry_id: EntryId
    part: str
    group: str
    action: Action
    wanted: Action
    reason: Reason
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    token: int
    decided_at: datetime
    scope: str | None = None
    until: datetime | None = None
    outcome: Outcome | None = None
    outcome_code: str | None = None
    outcome_at: datetime | None = None
    released_by: str | None = None
    released_at: datetime | None = None

    @property
    def is_alarm(self) -> bool:
        """Whether a person was called and has not released the part yet."""
        return self.action == "call_human" and self.released_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Something that the healer leaves alone.

    Attributes:
        scope: `all`, all of a kind like `line:*`, `group:<group>`, or the key of a part.
        paused_by: id of a staff token.
        until: None: until somebody ends it.
    """

    scope: str
    reason: str
    paused_by: str
    until: datetime | None
    created_at: datetime

    def is_in_force(self, now: datetime) -> bool:
        """Whether it has not ended."""
        return self.until is None or now < self.until


def check_scope(scope: str, *, known: Collection[str]) -> str:
    """Return the scope if there is such a one.

    Raises:
        PauseScopeUnfit: there is none; the detail names those there are, of the same kind if it has one.
    """
    if scope in known:
        return scope
    kind = f"{scope.partition(':')[0]}:"
    alike = (sorted(each for each in known if each.startswith(kind)) or sorted(known))[:_MOST_NAMED]
    raise PauseScopeUnfit(
        f"There is nothing like that to pause; there are, for example: {', '.join(alike)}.",
        field="scope",
        known=[*alike],
        known_count=len(known),
    )


def check_end(until: datetime | None, *, now: datetime) -> datetime | None:
    """Return the end of a pause if it can be one.

    Raises:
        PauseEndUnfit: it has passed, or has no time zone.
    """
    if until is not None and (until.tzinfo is None or until <= now):
        raise PauseEndUnfit("A pause ends in the future.", field="until")
    return until

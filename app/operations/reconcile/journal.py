"""What the healer has decided and done, in the platform database: written before anything is done.

A new process reads from it what was tried within the hour and what is frozen, so that it keeps the rates of the one
before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from app.core.db import Database, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from app.operations.reconcile import repository
from app.operations.reconcile.lease import HealerLease
from app.operations.reconcile.observation import Observation
from app.operations.reconcile.past import NO_PAST, Action, Outcome, Past, Reason, Tried
from app.operations.reconcile.plan import Decision
from app.operations.reconcile.record import Entry, EntryId

_log = logging.getLogger(__name__)

KEEP: Final = timedelta(days=30)
MOST_ENTRIES: Final = 20_000
"""A month of a restless fleet; read as a whole when a healer begins to act. Our own decision."""
_AT_ONCE: Final = 500
_HOUR: Final = timedelta(hours=1)

Told = tuple[Action, Reason, Action, str | None, datetime | None]
"""Action, reason, wanted action, scope and end of a decision: a line is written when they are others than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAction:
    """An action of which is not known yet what came of it."""

    entry_id: EntryId
    action: Action
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the journal says, by key of the part.

    Attributes:
        told: what was decided last.
        begun: what is still under way.
        out: parts that were out of service when something was written of them last, whoever has taken them out.
        acted: when something was done about any part within an hour, oldest first.
    """

    past: Mapping[str, Past]
    told: Mapping[str, Told]
    begun: Mapping[str, OpenAction]
    out: frozenset[str] = frozenset()
    acted: tuple[datetime, ...] = ()


class Journal:
    """Blocking, thread-safe. What it writes carries the token of the lease; an old one writes nothing."""

    def __init__(self, db: Database, lease: HealerLease) -> None:
        self._db = db
        self._lease = lease

    def load(self) -> History:
        """What has been, as far as it matters."""
        return read_history(self._db.read(repository.list_all), now=self._db.clock.now())

    def note(self, changed: Sequence[tuple[Decision, Observation]]) -> None:
        """Write down decisions to do nothing, or something else than before.

        Raises:
            LeaseLost, DatabaseUnavailable: nothing was written.
        """

        def body(tx: Tx) -> JsonObject:
            self._lease.guard(tx)
            for decision, observation in changed:
                repository.add_entry(tx, self._entry(decision, observation, tx.now))
            return {}

        self._db.run_tx(new_id("op"), body, origin=system_origin("reconcile.note"))

    def begin(self, decision: Decision, observation: Observation) -> Entry:
        """Write down that something is about to be done, and tell everybody who follows the platform's events.

        Raises:
            LeaseLost, DatabaseUnavailable: nothing was written; it must not be done.
        """
        entry = self._entry(decision, observation, self._db.clock.now())
        event = "person_called" if entry.action == "call_human" else entry.action

        def body(tx: Tx) -> JsonObject:
            self._lease.guard(tx)
            repository.add_entry(tx, entry)
            tx.emit(f"reconcile.{event}", subject=entry.part, data=_describe(entry))
            return {}

        self._db.run_tx(new_id("op"), body, origin=system_origin(f"reconcile.{event}"))
        if entry.action == "call_human":
            _log.critical("person_called", extra={"part": entry.part, "code": entry.reason})
        return entry

    def end(self, entry_id: EntryId, part: str, outcome: Outcome, *, code: str | None = None) -> None:
        """Write down what came of it."""

        def body(tx: Tx) -> JsonObject:
            if repository.end_entry(tx, entry_id, outcome, code=code):
                data: JsonObject = {"entry_id": entry_id, "outcome": outcome, "code": code}
                tx.emit("reconcile.ended", subject=part, data=data)
            return {}

        self._db.run_tx(new_id("op"), body, origin=system_origin("reconcile.end"))

    def clear(self) -> int:
        """Forget old lines; returns how many."""
        total = 0
        while cleared := self._clear_some():
            total += cleared
        return total

    def _clear_some(self) -> int:
        def body(tx: Tx) -> JsonObject:
            before = tx.now - KEEP
            return {"cleared": repository.clear_entries(tx, before=before, keep=MOST_ENTRIES, limit=_AT_ONCE)}

        answer = self._db.run_tx(new_id("op"), body, origin=system_origin("reconcile.clear"))
        return int(str(answer.value["cleared"]))

    def _entry(self, decision: Decision, observation: Observation, now: datetime) -> Entry:
        has_outcome = decision.action not in ("none", "call_human")
        return Entry(
            entry_id=EntryId(new_id("rcn")),
            part=decision.subject.key,
            group=decision.subject.group,
            action=decision.action,
            wanted=decision.wanted,
            reason=decision.reason,
            verdict=observation.verdict,
            evidence=observation.evidence,
            token=self._lease.token or 0,
            decided_at=now,
            scope=decision.scope,
            until=decision.until,
            outcome="open" if has_outcome else None,
        )


def read_history(entries: Sequence[Entry], *, now: datetime) -> History:
    """From the whole journal, oldest first, to what it means now."""
    past: dict[str, Past] = {}
    told: dict[str, Told] = {}
    begun: dict[str, OpenAction] = {}
    released = _released(entries)
    for entry in entries:
        told[entry.part] = (entry.action, entry.reason, entry.wanted, entry.scope, entry.until)
        past[entry.part] = _with(past.get(entry.part, NO_PAST), entry, released.get(entry.part), now=now)
        if entry.outcome == "open":
            begun[entry.part] = OpenAction(entry_id=entry.entry_id, action=entry.action, at=entry.decided_at)
    acted = tuple(
        each.decided_at for each in entries if each.outcome is not None and each.decided_at > now - _HOUR
    )
    return History(past=past, told=told, begun=begun, out=_out(entries), acted=acted)


def _out(entries: Sequence[Entry]) -> frozenset[str]:
    found: set[str] = set()
    for entry in entries:
        has_left = entry.action == "take_out" and entry.outcome in ("open", "met")
        # Carried out, it is in service, whether it was well in time or not.
        is_back = entry.action == "put_back" and entry.outcome != "failed"
        if entry.reason == "taken_out_by_others" or has_left:
            found.add(entry.part)
        elif entry.reason in ("overruled", "healthy") or is_back:
            found.discard(entry.part)
    return frozenset(found)


def _released(entries: Sequence[Entry]) -> dict[str, datetime]:
    """By part, when a person released it last."""
    found: dict[str, datetime] = {}
    for entry in entries:
        if entry.released_at is not None:
            found[entry.part] = max(entry.released_at, found.get(entry.part, entry.released_at))
    return found


def _with(past: Past, entry: Entry, released: datetime | None, *, now: datetime) -> Past:
    if entry.verdict == "ok":
        past = replace(past, overruled_since=None)
    if entry.action == "call_human":
        return replace(past, is_frozen=entry.is_alarm, called_at=entry.decided_at)
    if released is not None and entry.decided_at <= released:
        return past
    if entry.reason == "overruled":
        return past.overruled(entry.decided_at)
    if entry.outcome is None or entry.decided_at <= now - _HOUR:
        return past
    tried = Tried(at=entry.decided_at, action=entry.action, outcome=entry.outcome)
    return replace(past, tried=(*past.tried, tried))


def _describe(entry: Entry) -> JsonObject:
    return {
        "entry_id": entry.entry_id,
        "group": entry.group,
        "action": entry.action,
        "reason": entry.reason,
        "token": entry.token,
        "evidence": [f"{each.witness}: {each.verdict} {each.detail}".strip() for each in entry.evidence],
    }

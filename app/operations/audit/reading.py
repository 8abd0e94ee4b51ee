"""Who did what, when and why: entries of a chain as people read them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from app.core.chain import ChainEntry
from app.core.clock import from_us
from app.core.db import Database
from app.core.json import JsonObject, load_object
from app.core.outbox import last_sequence
from app.operations.audit.entry_table import find_entries
from app.operations.audit.repository import EntryFilter, StoredEntry

_WINDOW: Final = 20_000
"""Entries looked at by one query: some 20 ms, whatever is looked for. **Source:** measured on SQLite."""
_MOST_WINDOWS: Final = 25
"""Of one call; then the page ends, and the reader asks for the next. Our own decision."""
NEWEST: Final = 2**62
_UNREADABLE: Final = ChainEntry(0, "", "unreadable", "", "{}", "", 0, None, None, None, None, None)
"""Shown in the place of an entry that somebody has made unreadable."""


class NameReader(Protocol):
    """Opens the names of people in the audit."""

    def __call__(self, person_id: str, sealed_name: str, /) -> str | None:
        """The name; None once the person has been erased."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryActor:
    """Who did it.

    Attributes:
        kind: client, network, holder, staff or system; `unknown` before the audit knew.
        person: id of the natural person, if one is known.
        name: his name, as long as his key lives.
    """

    kind: str
    actor_id: str
    person: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry of a chain."""

    chain: str
    sequence: int
    event_id: str
    type: str
    subject: str
    data: JsonObject
    before: JsonObject | None
    occurred_at: datetime
    actor: EntryActor
    action: str | None
    request_id: str | None
    reason: str | None
    hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPage:
    """Some entries, newest first.

    Attributes:
        next_before: where the next page starts; None at the chain's beginning. A page may be empty and have a next.
    """

    entries: tuple[AuditEntry, ...]
    next_before: int | None


class AuditReader:
    """Looks entries up. Thread-safe, blocking.

    Args:
        open_database: a chain's database, by the chain's name.
        name_of: opens names of people.
    """

    def __init__(
        self, *, open_database: Callable[[str], Database], name_of: NameReader | None = None
    ) -> None:
        self._open = open_database
        self._name_of = name_of

    def find(
        self,
        chain: str,
        wanted: EntryFilter,
        *,
        before: int = NEWEST,
        limit: int = 25,
        only: Callable[[StoredEntry], bool] | None = None,
    ) -> EntryPage:
        """Entries of a chain that fit, newest first, with numbers below `before`; of these `only` those it says.

        Raises:
            DomainError: the chain's database is not there or does not answer.
        """
        database = self._open(chain)
        before = min(before, database.read(last_sequence) + 1)
        found: list[StoredEntry] = []
        for _ in range(_MOST_WINDOWS):
            if before <= 1 or len(found) >= limit:
                break
            missing = limit - len(found)
            page = find_entries(database, wanted, before=before, window=_WINDOW, limit=missing)
            found += page if only is None else [each for each in page if only(each)]
            before = page[-1].sequence if len(page) == missing else max(1, before - _WINDOW)
        entries = tuple(self._show(chain, each) for each in found)
        return EntryPage(entries=entries, next_before=before if before > 1 else None)

    def _show(self, chain: str, stored: StoredEntry) -> AuditEntry:
        if stored.entry is not None:
            with suppress(KeyError, TypeError, ValueError, OverflowError):
                return self._told(chain, stored.entry, stored.hash)
        return self._told(chain, _UNREADABLE._replace(sequence=stored.sequence), stored.hash)

    def _told(self, chain: str, entry: ChainEntry, link: str | None) -> AuditEntry:
        return AuditEntry(
            chain=chain,
            sequence=entry.sequence,
            event_id=entry.event_id,
            type=entry.type,
            subject=entry.subject,
            data=load_object(entry.data),
            before=None if entry.before_change is None else load_object(entry.before_change),
            occurred_at=from_us(entry.occurred_at_us),
            actor=self._actor(entry.actor),
            action=entry.action,
            request_id=entry.request_id or None,
            reason=entry.reason or None,
            hash=link,
        )

    def _actor(self, text: str | None) -> EntryActor:
        if text is None:
            return EntryActor(kind="unknown", actor_id="")
        value = load_object(text)
        person, sealed = value.get("person"), value.get("sealed_name")
        name = None
        if self._name_of is not None and isinstance(person, str) and isinstance(sealed, str):
            name = self._name_of(person, sealed)
        return EntryActor(
            kind=str(value["kind"]),
            actor_id=str(value["id"]),
            person=person if isinstance(person, str) else None,
            name=name,
        )

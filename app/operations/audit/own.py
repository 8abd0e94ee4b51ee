"""What a customer reads of the audit: his instance's chain, and what the platform's says of it, by time.

What others are, names of staff, and where wops keeps what is its own affair, is left out. In his instance's chain the
id of a person tells one supporter from another; it says nothing anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from app.core.ids import InstanceId
from app.core.json import JsonObject, JsonValue
from app.operations.audit.about import is_about, without_boxes
from app.operations.audit.checkpoint import PLATFORM_CHAIN
from app.operations.audit.reading import NEWEST, AuditEntry, EntryPage
from app.operations.audit.repository import EntryFilter, StoredEntry

_INTERNAL: Final = frozenset({"database_url", "database", "server", "servers", "pool", "boxes"})
_PERSON: Final = "per_"


class ChainReader(Protocol):
    """Finds entries of one chain; `app.operations.audit.reading.AuditReader` does."""

    def find(
        self, chain: str, wanted: EntryFilter, *, before: int = ..., limit: int = ..., only: Only | None = ...
    ) -> EntryPage:
        """Entries below a number, newest first."""
        ...


class Only(Protocol):
    """Says of an entry whether it is shown."""

    def __call__(self, stored: StoredEntry, /) -> bool:
        """True: it is."""
        ...


@dataclass(frozen=True, slots=True)
class OwnPosition:
    """Below which numbers of the two chains a page starts."""

    instance: int = NEWEST
    platform: int = NEWEST

    @classmethod
    def of_text(cls, text: str) -> OwnPosition:
        """Out of a cursor; of the first page there is none."""
        if not text:
            return cls()
        instance, _, platform = text.partition(".")
        return cls(int(instance), int(platform))

    def to_text(self) -> str:
        """For a cursor."""
        return f"{self.instance}.{self.platform}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPage:
    """Some entries of both chains, newest first; `following`: where the next page starts, None at the end."""

    entries: tuple[AuditEntry, ...]
    following: OwnPosition | None


def find_own(
    reader: ChainReader, instance_id: InstanceId, wanted: EntryFilter, *, at: OwnPosition, limit: int
) -> OwnPage:
    """One page; it may be empty and have a next one, where a long stretch of a chain holds nothing that fits.

    Raises:
        DomainError: a chain's database is not there or does not answer.
    """
    own = reader.find(instance_id, wanted, before=at.instance, limit=limit)
    told = reader.find(
        PLATFORM_CHAIN,
        replace(wanted, about=instance_id),
        before=at.platform,
        limit=limit,
        only=lambda stored: stored.entry is not None and is_about(stored.entry, instance_id),
    )
    merged, rest = _merge(own, told, limit=limit)
    position = OwnPosition(_next(own, rest[0]), _next(told, rest[1]))
    ended = position == OwnPosition(1, 1)
    return OwnPage(entries=tuple(_shown(each) for each in merged), following=None if ended else position)


def _merge(own: EntryPage, told: EntryPage, *, limit: int) -> tuple[list[AuditEntry], tuple[int, int]]:
    """The newest of both, and how many of each these are.

    Ends where one page does and its chain goes on: what comes next there may be newer than what is left of the other.
    """
    merged: list[AuditEntry] = []
    first, second = 0, 0
    while len(merged) < limit:
        one = own.entries[first] if first < len(own.entries) else None
        other = told.entries[second] if second < len(told.entries) else None
        if (one is None and own.next_before is not None) or (other is None and told.next_before is not None):
            break
        if one is not None and (other is None or one.occurred_at >= other.occurred_at):
            merged.append(one)
            first += 1
        elif other is not None:
            merged.append(other)
            second += 1
        else:
            break
    return merged, (first, second)


def _next(page: EntryPage, taken: int) -> int:
    """Below which number a chain goes on; 1: nothing is left."""
    if taken < len(page.entries):
        return page.entries[taken].sequence + 1
    return page.next_before or 1


def _shown(entry: AuditEntry) -> AuditEntry:
    if entry.chain != PLATFORM_CHAIN:
        return entry
    before = None if entry.before is None else _without_internals(entry.before)
    return replace(entry, data=_without_internals(without_boxes(entry.type, entry.data)), before=before)


def _without_internals(value: JsonObject) -> JsonObject:
    return {
        name: _bare(each) for name, each in value.items() if name not in _INTERNAL and not _is_person(each)
    }


def _bare(value: JsonValue) -> JsonValue:
    if isinstance(value, Mapping):
        return _without_internals(dict(value))
    if isinstance(value, list):
        return [_bare(each) for each in value if not _is_person(each)]
    return value


def _is_person(value: JsonValue) -> bool:
    return isinstance(value, str) and value.startswith(_PERSON)

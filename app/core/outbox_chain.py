"""The end of a database's audit chain: what this process knows of it, and how events of an older wops get into it.

A wops from before the chain writes events without a hash, and during a rolling change it does so beside a newer one.
Whoever holds the sequence row gives them theirs, in their order, before anything new is written.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import bindparam, select, update

from app.core.chain import GENESIS, ChainEntry, link_hash
from app.core.json import JsonObject
from app.core.schema import instance_metadata

if TYPE_CHECKING:
    from app.core.db import Reader, Row, Tx

CHAINED_AT_ONCE: Final = 500
"""Rows in one transaction. **Source:** high availability reference §1.5."""
SEQUENCE: Final = "events"
"""Name of the row that counts what was written."""
CLOSED_SEQUENCE: Final = "closed"
"""Its name once nothing is written any more."""

_sequence = instance_metadata.tables["outbox_sequence"]
_event = instance_metadata.tables["outbox_event"]

_HOLD = update(_sequence).where(_sequence.c.name == SEQUENCE).values(last=_sequence.c.last + 0)
# Backwards along the key: found at once, however long the chain is.
_LAST_CHAINED = (
    select(_event.c.sequence, _event.c.hash)
    .where(_event.c.hash.is_not(None))
    .order_by(_event.c.sequence.desc())
    .limit(1)
)
_AFTER = (
    select(_event)
    .where(_event.c.sequence > bindparam("b_after"))
    .order_by(_event.c.sequence)
    .limit(bindparam("b_limit"))
)
_SET_HASH = (
    update(_event).where(_event.c.sequence == bindparam("b_sequence")).values(hash=bindparam("b_hash"))
)

_log = logging.getLogger(__name__)


class Link(NamedTuple):
    """A link of the audit chain: an event's number and its hash."""

    sequence: int
    hash: str


class ChainBehind(Exception):
    """More events wait for their hash than one transaction may write; the kernel chains them first."""


class ChainEnd:
    """The newest link of a chain as this process knows it; outlives the connections to the database. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._unsure = False

    @property
    def link(self) -> Link | None:
        """The newest link that was committed through here; None before the first."""
        return self._link

    def note(self, link: Link) -> None:
        """Remember a link that has just been committed; an older one that comes late changes nothing."""
        with self._lock:
            if self._link is None or self._link.sequence < link.sequence:
                self._link = link

    def note_unsure(self) -> None:
        """Remember that something may have been committed whose link nobody has seen."""
        self._unsure = True

    @property
    def is_unsure(self) -> bool:
        """Whether there was such a thing since it was last taken."""
        return self._unsure

    def take_unsure(self) -> bool:
        """Whether there was such a thing since the last time."""
        with self._lock:
            unsure, self._unsure = self._unsure, False
            return unsure


def entry_of(row: Row) -> ChainEntry:
    """A stored event as the chain has it."""
    return ChainEntry(*(getattr(row, name) for name in ChainEntry._fields))


def hash_before(tx: Tx, sequence: int) -> str:
    """The hash that the entry with this number follows; what stands unchained before it is chained now.

    Where the entries before are gone, the chain goes on behind the gap: an instance works on, and every verification
    names the gap for ever.

    Raises:
        ChainBehind: that would be too much for one transaction.
    """
    link, rows = _unchained(tx, limit=CHAINED_AT_ONCE + 1)
    if len(rows) > CHAINED_AT_ONCE:
        raise ChainBehind
    link = _chain(tx, link, rows)
    if link.sequence != sequence - 1:
        _log.critical("audit_chain_has_gap", extra={"sequence": sequence, "last_present": link.sequence})
    return link.hash


def has_unchained(reader: Reader) -> bool:
    """Whether an older wops has left events without a hash."""
    return bool(_unchained(reader, limit=1)[1])


def chain_some(tx: Tx) -> JsonObject:
    """Body of a transaction that chains up to `CHAINED_AT_ONCE` events; answers how many as `chained`."""
    tx.write(_HOLD)
    link, rows = _unchained(tx, limit=CHAINED_AT_ONCE)
    _chain(tx, link, rows)
    return {"chained": len(rows)}


def _unchained(reader: Reader, *, limit: int) -> tuple[Link, list[Row]]:
    last = reader.first(_LAST_CHAINED)
    link = Link(0, GENESIS) if last is None else Link(last.sequence, last.hash)
    return link, reader.all(_AFTER, {"b_after": link.sequence, "b_limit": limit})


def _chain(tx: Tx, link: Link, rows: Sequence[Row]) -> Link:
    for row in rows:
        link = Link(row.sequence, link_hash(link.hash, entry_of(row)))
        tx.write(_SET_HASH, {"b_sequence": link.sequence, "b_hash": link.hash})
    return link

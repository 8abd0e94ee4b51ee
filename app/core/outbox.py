"""Events written in the transaction that causes them: the outbox is the audit chain of its database.

The sequence per schema has no gaps, and each event's hash covers its predecessor's.
The sequence row is touched at the end of a transaction, so that writers wait for each other as briefly as
possible, and it makes the order of the sequence the order of the commits: a reader that saw number n has
seen everything before n. Whoever holds that row holds the end of the chain, so the chain costs no statement of its
own and cannot fork.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, select, update

from app.core.chain import GENESIS, ChainEntry, link_hash
from app.core.clock import from_us, to_us
from app.core.ids import new_id
from app.core.json import JsonObject, dump_json, load_object
from app.core.outbox_chain import CLOSED_SEQUENCE, SEQUENCE, Link, hash_before
from app.core.schema import instance_metadata

if TYPE_CHECKING:
    from app.core.db import Reader, Tx

_sequence = instance_metadata.tables["outbox_sequence"]
_event = instance_metadata.tables["outbox_event"]

_ADVANCE = (
    update(_sequence).where(_sequence.c.name == SEQUENCE).values(last=_sequence.c.last + bindparam("b_count"))
)
_CLOSE = update(_sequence).where(_sequence.c.name == SEQUENCE).values(name=CLOSED_SEQUENCE)
_LAST = select(_sequence.c.last).where(_sequence.c.name.in_((SEQUENCE, CLOSED_SEQUENCE)))
_LAST_LINK = (
    select(_sequence.c.last, _event.c.hash)
    .select_from(_sequence.outerjoin(_event, _event.c.sequence == _sequence.c.last - bindparam("b_count")))
    .where(_sequence.c.name == SEQUENCE)
)
_INSERT = insert(_event)
_AFTER = (
    select(_event)
    .where(_event.c.sequence > bindparam("b_after"))
    .order_by(_event.c.sequence)
    .limit(bindparam("b_limit"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEvent:
    """Something that happened in a transaction still open."""

    type: str
    subject: str
    data: JsonObject
    before: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, as it can be read by everybody who may.

    Attributes:
        sequence: 1, 2, 3 … without gaps within the schema.
        subject: id of the object it happened to.
    """

    sequence: int
    event_id: str
    type: str
    subject: str
    data: JsonObject
    occurred_at: datetime


def write_events(tx: Tx, events: Sequence[PendingEvent]) -> Link:
    """Give events their sequence numbers and hashes and store them. The last thing a transaction does.

    On MariaDB the body may have looked at the database before others committed; then the sequence row is newer than its
    view and the update fails (1020), so that the hash read here is always that of the entry before.

    Raises:
        ChainBehind: an older wops has left too many events without a hash.
    """
    if tx.write(_ADVANCE, {"b_count": len(events)}) != 1:
        raise RuntimeError("the outbox takes no events: it was closed, or the schema is not migrated")
    end = tx.first(_LAST_LINK, {"b_count": len(events)})
    if end is None or not isinstance(end.last, int):
        raise TypeError("the outbox sequence is not a number")
    first = end.last - len(events) + 1
    previous = GENESIS if first == 1 else end.hash or hash_before(tx, first)
    rows = []
    for sequence, event in enumerate(events, first):
        entry = _new_entry(tx, event, sequence)
        previous = link_hash(previous, entry)
        rows.append({**entry._asdict(), "hash": previous, "delivery": 0})
    tx.write_many(_INSERT, rows)
    return Link(end.last, previous)


def close_outbox(tx: Tx) -> None:
    """Let nothing be written any more by a transaction that emits, whoever has the database open; for ever."""
    tx.write(_CLOSE)


def _new_entry(tx: Tx, event: PendingEvent, sequence: int) -> ChainEntry:
    origin = tx.origin
    return ChainEntry(
        sequence=sequence,
        event_id=new_id("evt"),
        type=event.type,
        subject=event.subject,
        data=dump_json(event.data),
        op_id=tx.op_id,
        occurred_at_us=to_us(tx.now),
        actor=origin.actor.to_text(),
        action=origin.action,
        request_id=origin.request_id,
        reason=origin.reason,
        before_change=None if event.before is None else dump_json(event.before),
    )


def list_events(reader: Reader, *, after: int, limit: int) -> list[Event]:
    """Read events with a sequence above `after`, oldest first."""
    return [
        Event(
            sequence=row.sequence,
            event_id=row.event_id,
            type=row.type,
            subject=row.subject,
            data=load_object(row.data),
            occurred_at=from_us(row.occurred_at_us),
        )
        for row in reader.all(_AFTER, {"b_after": after, "b_limit": limit})
    ]


def last_sequence(reader: Reader) -> int:
    """The newest sequence number given so far; 0 when nothing has happened yet."""
    value = reader.scalar(_LAST)
    return value if isinstance(value, int) else 0

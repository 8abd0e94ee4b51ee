"""Events written in the transaction that causes them; the sequence per schema has no gaps.

The sequence row is touched at the end of a transaction, so that writers wait for each other as briefly as
possible, and it makes the order of the sequence the order of the commits: a reader that saw number n has
seen everything before n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, select, update

from app.core.clock import from_us, to_us
from app.core.ids import new_id
from app.core.json import JsonObject, dump_json, load_object
from app.core.schema import instance_metadata

if TYPE_CHECKING:
    from app.core.db import Reader, Tx

_sequence = instance_metadata.tables["outbox_sequence"]
_event = instance_metadata.tables["outbox_event"]

_ADVANCE = (
    update(_sequence).where(_sequence.c.name == "events").values(last=_sequence.c.last + bindparam("b_count"))
)
_LAST = select(_sequence.c.last).where(_sequence.c.name == "events")
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


def write_events(tx: Tx, events: Sequence[PendingEvent]) -> None:
    """Give events their sequence numbers and store them. The last thing a transaction does."""
    if tx.write(_ADVANCE, {"b_count": len(events)}) != 1:
        raise RuntimeError("the outbox sequence row is missing: the schema is not migrated")
    last = tx.scalar(_LAST)
    if not isinstance(last, int):
        raise TypeError("the outbox sequence is not a number")
    first = last - len(events) + 1
    occurred = to_us(tx.now)
    tx.write_many(
        _INSERT,
        [
            {
                "sequence": first + offset,
                "event_id": new_id("evt"),
                "type": event.type,
                "subject": event.subject,
                "op_id": tx.op_id,
                "data": dump_json(event.data),
                "occurred_at_us": occurred,
                "delivery": 0,
            }
            for offset, event in enumerate(events)
        ],
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

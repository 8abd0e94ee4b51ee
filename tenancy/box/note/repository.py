"""SQL of notes for customers: platform schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, func, insert, select

from app.core.clock import to_text, to_us
from app.core.db import Reader, Row, Tx
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject, dump_json, load_object
from app.core.origin import Origin
from tenancy.box.tables import customer_note as _note
from tenancy.operation.repository import origin_from_text, origin_to_text

_ADD = insert(_note)
_WAITING = (
    select(_note.c.instance_id)
    .group_by(_note.c.instance_id)
    .order_by(func.min(_note.c.created_at_us), _note.c.instance_id)
)
_NOTES = (
    select(_note)
    .where(_note.c.instance_id == bindparam("b_instance"))
    .order_by(_note.c.created_at_us, _note.c.note_id)
    .limit(bindparam("b_limit"))
)
_REMOVE = delete(_note).where(_note.c.note_id == bindparam("b_note"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerNote:
    """What the customer of an instance is told of.

    Attributes:
        note_id: names it in the instance's database, too; made by chance alone, for the customer can read it there.
        data: nothing about boxes, which may bear another customer's name.
    """

    note_id: str
    instance_id: InstanceId
    type: str
    subject: str
    data: JsonObject
    before: JsonObject | None
    origin: Origin


def add_note(  # noqa: PLR0913 - the parts of an event
    tx: Tx,
    instance_id: InstanceId,
    event: str,
    *,
    subject: str,
    data: JsonObject,
    before: JsonObject | None,
    origin: Origin,
) -> None:
    """Note something in the transaction that does it; when that was is said in `done_at`."""
    tx.write(
        _ADD,
        {
            "note_id": new_id("note"),
            "instance_id": instance_id,
            "type": event,
            "subject": subject,
            "data": dump_json({**data, "done_at": to_text(tx.now)}),
            "before_change": None if before is None else dump_json(before),
            "origin": origin_to_text(origin),
            "created_at_us": to_us(tx.now),
        },
    )


def list_waiting(reader: Reader) -> list[InstanceId]:
    """Instances with notes; whoever waits longest is the first."""
    return [InstanceId(row.instance_id) for row in reader.all(_WAITING)]


def list_notes(reader: Reader, instance_id: InstanceId, *, limit: int) -> list[CustomerNote]:
    """Notes for the customer of an instance, oldest first."""
    rows = reader.all(_NOTES, {"b_instance": instance_id, "b_limit": limit})
    return [_to_note(row) for row in rows]


def remove_notes(tx: Tx, note_ids: Sequence[str]) -> None:
    """Forget notes."""
    tx.write_many(_REMOVE, [{"b_note": each} for each in note_ids])


def _to_note(row: Row) -> CustomerNote:
    return CustomerNote(
        note_id=row.note_id,
        instance_id=InstanceId(row.instance_id),
        type=row.type,
        subject=row.subject,
        data=load_object(row.data),
        before=None if row.before_change is None else load_object(row.before_change),
        origin=origin_from_text(row.origin),
    )

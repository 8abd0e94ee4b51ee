"""SQL of operations and their log. Every change is a compare-and-set on the version."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, cast

from sqlalchemy import bindparam, exists, func, insert, or_, select, update

from app.core.clock import from_us, to_text, to_us
from app.core.db import Reader, Row, Tx
from app.core.ids import OperationId
from app.core.json import JsonObject, dump_json, load_json, load_object
from app.core.origin import UNNAMED, Actor, ActorKind, Origin
from tenancy.errors import OperationNotFound
from tenancy.operation import tables
from tenancy.operation.plan import Operation, OperationState, Step, StepState
from tenancy.tables import instance as _instance

_logger = logging.getLogger(__name__)

_operation = tables.operation
_log = tables.operation_log
_WORKABLE = _operation.c.state.in_(("queued", "running", "recovering"))
# By the object it holds: what an older wops gave up is `failed` as well, and finished.
_UNFINISHED = _operation.c.active_object_id.is_not(None)
_FREE = or_(_operation.c.lease_until_us.is_(None), _operation.c.lease_until_us <= bindparam("b_now"))
_HELD = (
    _operation.c.operation_id == bindparam("b_operation"),
    _operation.c.version == bindparam("b_expected"),
    _operation.c.owner == bindparam("b_owner"),
)

_ADD = insert(_operation)
_PUT = (
    update(_operation)
    .where(
        _operation.c.operation_id == bindparam("b_operation"), _operation.c.version == bindparam("b_expected")
    )
    .values(
        active_object_id=bindparam("b_active_object_id"),
        state=bindparam("b_state"),
        steps=bindparam("b_steps"),
        current_step=bindparam("b_current_step"),
        attempts=bindparam("b_attempts"),
        due_at_us=bindparam("b_due_at_us"),
        deadline_at_us=bindparam("b_deadline_at_us"),
        owner=bindparam("b_owner"),
        lease_until_us=bindparam("b_lease_until_us"),
        error_code=bindparam("b_error_code"),
        error_message=bindparam("b_error_message"),
        finished_at_us=bindparam("b_finished_at_us"),
        version=_operation.c.version + 1,
    )
)
_RENEW = (
    update(_operation)
    .where(*_HELD, _operation.c.lease_until_us > bindparam("b_now"))
    .values(lease_until_us=bindparam("b_lease_until_us"))
)
_TOUCH = (
    update(_operation)
    .where(*_HELD, _operation.c.lease_until_us > bindparam("b_now"))
    .values(version=_operation.c.version)
)
_GET = select(_operation).where(_operation.c.operation_id == bindparam("b_operation"))
_LIST = (
    select(_operation)
    .where(_operation.c.operation_id > bindparam("b_after"))
    .order_by(_operation.c.operation_id)
    .limit(bindparam("b_limit"))
)
_DONE = select(_operation.c.operation_id).where(
    _operation.c.object_id == bindparam("b_object"),
    _operation.c.kind == bindparam("b_kind"),
    _operation.c.state == "succeeded",
)
_LIST_OF_OBJECT = _LIST.where(_operation.c.object_id == bindparam("b_object"))
_LIST_IN_STATE = _LIST.where(_operation.c.state == bindparam("b_state"))
_LIST_OF_OBJECT_IN_STATE = _LIST_OF_OBJECT.where(_operation.c.state == bindparam("b_state"))
_DUE = (
    select(_operation)
    .where(_WORKABLE, _UNFINISHED, _operation.c.due_at_us <= bindparam("b_now"), _FREE)
    .order_by(_operation.c.due_at_us, _operation.c.operation_id)
    .limit(bindparam("b_limit"))
)
_LATE = (
    select(_operation)
    .where(_UNFINISHED, _operation.c.deadline_at_us <= bindparam("b_now"))
    .order_by(_operation.c.deadline_at_us, _operation.c.operation_id)
    .limit(bindparam("b_limit"))
)
_OWNED = select(_operation).where(_UNFINISHED, _operation.c.owner == bindparam("b_owner"))
_BUSY = select(_operation.c.active_object_id).where(_UNFINISHED)
_UNFINISHED_OF = select(_operation).where(_operation.c.active_object_id == bindparam("b_object"))
_TOUCH_UNFINISHED = (
    update(_operation)
    .where(_operation.c.active_object_id == bindparam("b_object"))
    .values(object_id=_operation.c.object_id)
)
_STRANDED = (
    select(_instance.c.instance_id)
    .where(
        _instance.c.state == bindparam("b_state"),
        ~exists().where(_operation.c.active_object_id == _instance.c.instance_id),
    )
    .order_by(_instance.c.instance_id)
    .limit(bindparam("b_limit"))
)
# One statement numbers and stores: it reads what is newest, behind the operation's row that its caller has touched.
_ADD_LOG = insert(_log).from_select(
    ["operation_id", "number", "at_us", "event", "step", "message"],
    select(
        bindparam("b_operation", type_=_log.c.operation_id.type).label("operation_id"),
        (func.coalesce(func.max(_log.c.number), 0) + 1).label("number"),
        bindparam("b_at_us", type_=_log.c.at_us.type).label("at_us"),
        bindparam("b_event", type_=_log.c.event.type).label("event"),
        bindparam("b_step", type_=_log.c.step.type).label("step"),
        bindparam("b_message", type_=_log.c.message.type).label("message"),
    ).where(_log.c.operation_id == bindparam("b_operation")),
)
_LOG = (
    select(_log)
    .where(_log.c.operation_id == bindparam("b_operation"), _log.c.number > bindparam("b_after"))
    .order_by(_log.c.number)
    .limit(bindparam("b_limit"))
)
_SKIPPED = (
    select(_log.c.step, _log.c.message)
    .where(_log.c.operation_id == bindparam("b_operation"), _log.c.event == "step_skipped")
    .order_by(_log.c.number)
)
LONGEST_MESSAGE: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of an operation's log.

    Attributes:
        number: 1, 2, 3 … without gaps within the operation.
        event: what happened: the events of `transition`, and `note`.
    """

    operation_id: OperationId
    number: int
    at: datetime
    event: str
    step: str
    message: str


def add_operation(tx: Tx, operation: Operation) -> bool:
    """Store a new operation. False if its object has an unfinished one."""
    return tx.insert_if_absent(
        _ADD,
        {
            "operation_id": operation.operation_id,
            "kind": operation.kind,
            "object_id": operation.object_id,
            "created_at_us": to_us(operation.created_at),
            "version": operation.version,
            "parameters": dump_json(operation.parameters),
            "requested_by": origin_to_text(operation.requested_by),
            **_changing(operation),
        },
    )


def put_operation(tx: Tx, operation: Operation) -> bool:
    """Store a change of an operation that still has the version it was read with. False if somebody else was faster."""
    values = {f"b_{name}": value for name, value in _changing(operation).items()}
    return (
        tx.write(_PUT, {"b_operation": operation.operation_id, "b_expected": operation.version, **values})
        == 1
    )


def renew_lease(tx: Tx, held: Operation, *, until: datetime) -> bool:
    """Make its owner's lease longer. False if he has lost it. The version, his token, stays."""
    return tx.write(_RENEW, {**_held(tx, held), "b_lease_until_us": to_us(until)}) == 1


def touch_owned(tx: Tx, held: Operation) -> bool:
    """Guard an operation for its owner until the transaction ends. False if he has lost it."""
    return tx.write(_TOUCH, _held(tx, held)) == 1


def add_log(tx: Tx, operation_id: OperationId, *, event: str, step: str, message: str) -> None:
    """Append a line to the log of an operation whose row this transaction has written or touched before."""
    tx.write(
        _ADD_LOG,
        {
            "b_operation": operation_id,
            "b_at_us": to_us(tx.now),
            "b_event": event,
            "b_step": step,
            "b_message": message[:LONGEST_MESSAGE],
        },
    )


def list_log(reader: Reader, operation_id: OperationId, *, after: int, limit: int) -> list[LogLine]:
    """Lines with a number above `after`, oldest first."""
    rows = reader.all(_LOG, {"b_operation": operation_id, "b_after": after, "b_limit": limit})
    return [
        LogLine(
            operation_id=operation_id,
            number=row.number,
            at=from_us(row.at_us),
            event=row.event,
            step=row.step,
            message=row.message,
        )
        for row in rows
    ]


def list_skipped(reader: Reader, operation_id: OperationId) -> list[JsonObject]:
    """`step` and `reason` of each step that staff went on without."""
    rows = reader.all(_SKIPPED, {"b_operation": operation_id})
    return [{"step": row.step, "reason": row.message} for row in rows]


def get_operation(reader: Reader, operation_id: OperationId) -> Operation:
    """Read one operation.

    Raises:
        OperationNotFound: there is none of that id.
    """
    row = reader.first(_GET, {"b_operation": operation_id})
    if row is None:
        raise OperationNotFound("There is no such operation.")
    return _to_operation(row)


def find_unfinished(reader: Reader, object_id: str) -> Operation | None:
    """The unfinished operation of an object."""
    row = reader.first(_UNFINISHED_OF, {"b_object": object_id})
    return None if row is None else _to_operation(row)


def list_busy_objects(reader: Reader) -> frozenset[str]:
    """Every object that an unfinished operation changes."""
    return frozenset(str(row.active_object_id) for row in reader.all(_BUSY))


def has_done(reader: Reader, kind: str, object_id: str) -> bool:
    """Whether an operation of that kind on that object has ever come to its end as it was meant."""
    return reader.first(_DONE, {"b_object": object_id, "b_kind": kind}) is not None


def touch_unfinished(tx: Tx, object_id: str) -> None:
    """Lock an object's unfinished operation; if this transaction's view is older than that, its body runs again."""
    tx.write(_TOUCH_UNFINISHED, {"b_object": object_id})


def list_operations(
    reader: Reader,
    *,
    after: str,
    limit: int,
    object_id: str | None = None,
    state: OperationState | None = None,
) -> list[Operation]:
    """Operations with an id above `after`, oldest first; of one object or in one state only, if one is named."""
    wanted: dict[str, str | int] = {"b_after": after, "b_limit": limit}
    statement = _LIST
    if object_id is not None:
        wanted["b_object"] = object_id
        statement = _LIST_OF_OBJECT
    if state is not None:
        wanted["b_state"] = state
        statement = _LIST_IN_STATE if object_id is None else _LIST_OF_OBJECT_IN_STATE
    return [_to_operation(row) for row in reader.all(statement, wanted)]


def list_due(reader: Reader, *, limit: int) -> list[Operation]:
    """Operations with something to be done or undone now that nobody is working on; unreadable ones are left out."""
    return _readable(reader.all(_DUE, {"b_now": to_us(reader.now), "b_limit": limit}))


def list_late(reader: Reader, *, limit: int) -> list[Operation]:
    """Operations past the deadline of their state, whether or not somebody is working on them; unreadable ones not."""
    return _readable(reader.all(_LATE, {"b_now": to_us(reader.now), "b_limit": limit}))


def list_owned(reader: Reader, owner: str) -> list[Operation]:
    """Unfinished operations that this owner was working on; unreadable ones are left out."""
    return _readable(reader.all(_OWNED, {"b_owner": owner}))


def list_stranded(reader: Reader, state: str, *, limit: int) -> list[str]:
    """Ids of instances in a state that no unfinished operation will ever change."""
    return [row.instance_id for row in reader.all(_STRANDED, {"b_state": state, "b_limit": limit})]


def _readable(rows: list[Row]) -> list[Operation]:
    """One damaged row is no reason for the others to stand still."""
    found: list[Operation] = []
    for row in rows:
        try:
            found.append(_to_operation(row))
        except Exception:
            _say_unreadable(str(row.operation_id))
    return found


@lru_cache(maxsize=1000)
def _say_unreadable(operation_id: str) -> None:
    """Once for each in the life of a process: loops read it five times a second."""
    _logger.critical("operation_unreadable", extra={"operation": operation_id}, exc_info=True)


def _held(tx: Tx, held: Operation) -> dict[str, str | int | None]:
    return {
        "b_operation": held.operation_id,
        "b_expected": held.version,
        "b_owner": held.owner,
        "b_now": to_us(tx.now),
    }


def _changing(operation: Operation) -> dict[str, str | int | None]:
    return {
        "active_object_id": None if operation.finished else operation.object_id,
        "state": operation.state,
        "steps": dump_json([_step_to_json(step) for step in operation.steps]),
        "current_step": operation.current_step,
        "attempts": operation.attempts,
        "due_at_us": to_us(operation.due_at),
        "deadline_at_us": to_us(operation.deadline_at),
        "owner": operation.owner,
        "lease_until_us": None if operation.lease_until is None else to_us(operation.lease_until),
        "error_code": operation.error_code,
        "error_message": operation.error_message,
        "finished_at_us": None if operation.finished_at is None else to_us(operation.finished_at),
    }


def _to_operation(row: Row) -> Operation:
    return Operation(
        operation_id=OperationId(row.operation_id),
        kind=row.kind,
        object_id=row.object_id,
        state=cast(OperationState, row.state),
        steps=tuple(_step_from_json(step) for step in cast(list[JsonObject], load_json(row.steps))),
        current_step=row.current_step,
        attempts=row.attempts,
        due_at=from_us(row.due_at_us),
        owner=row.owner,
        lease_until=None if row.lease_until_us is None else from_us(row.lease_until_us),
        deadline_at=from_us(row.deadline_at_us),
        error_code=row.error_code,
        error_message=row.error_message,
        created_at=from_us(row.created_at_us),
        finished_at=None if row.finished_at_us is None else from_us(row.finished_at_us),
        version=row.version,
        parameters={} if row.parameters is None else load_object(row.parameters),
        requested_by=UNNAMED if row.requested_by is None else origin_from_text(row.requested_by),
    )


def _step_to_json(step: Step) -> JsonObject:
    finished = None if step.finished_at is None else to_text(step.finished_at)
    return {
        "name": step.name,
        "state": step.state,
        "attempts": step.attempts,
        "finished_at": finished,
        "waiting_for": step.waiting_for,
    }


def _step_from_json(stored: JsonObject) -> Step:
    finished = cast(str | None, stored["finished_at"])
    return Step(
        name=str(stored["name"]),
        state=cast(StepState, stored["state"]),
        attempts=cast(int, stored["attempts"]),
        finished_at=None if finished is None else datetime.fromisoformat(finished),
        waiting_for=cast(str | None, stored.get("waiting_for")),
    )


def origin_to_text(origin: Origin) -> str:
    """Where a change comes from, as it is stored."""
    return dump_json(
        {
            "actor": load_json(origin.actor.to_text()),
            "action": origin.action,
            "request_id": origin.request_id,
            "reason": origin.reason,
        }
    )


def origin_from_text(stored: str) -> Origin:
    """Where a change comes from, as it was stored."""
    origin = load_object(stored)
    actor = cast(Mapping[str, str], origin["actor"])
    return Origin(
        actor=Actor(
            kind=cast(ActorKind, actor["kind"]),
            actor_id=actor["id"],
            person=actor.get("person"),
            sealed_name=actor.get("sealed_name"),
        ),
        action=str(origin["action"]),
        request_id=str(origin["request_id"]),
        reason=str(origin["reason"]),
    )

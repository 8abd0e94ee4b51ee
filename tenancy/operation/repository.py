"""SQL of operations. Every change is a compare-and-set on the version."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sqlalchemy import bindparam, insert, or_, select, update

from app.core.clock import from_us, to_text, to_us
from app.core.db import Reader, Row, Tx
from app.core.ids import OperationId
from app.core.json import JsonObject, dump_json, load_json
from tenancy.errors import OperationNotFound
from tenancy.operation import tables
from tenancy.operation.plan import Operation, OperationState, Step, StepState

_operation = tables.operation
_UNFINISHED = or_(_operation.c.state == "queued", _operation.c.state == "running")

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
        owner=bindparam("b_owner"),
        lease_until_us=bindparam("b_lease_until_us"),
        error_code=bindparam("b_error_code"),
        error_message=bindparam("b_error_message"),
        finished_at_us=bindparam("b_finished_at_us"),
        version=_operation.c.version + 1,
    )
)
_GET = select(_operation).where(_operation.c.operation_id == bindparam("b_operation"))
_LIST = (
    select(_operation)
    .where(_operation.c.operation_id > bindparam("b_after"))
    .order_by(_operation.c.operation_id)
    .limit(bindparam("b_limit"))
)
_DUE = (
    select(_operation)
    .where(
        _UNFINISHED,
        _operation.c.due_at_us <= bindparam("b_now"),
        or_(_operation.c.lease_until_us.is_(None), _operation.c.lease_until_us <= bindparam("b_now")),
    )
    .order_by(_operation.c.due_at_us, _operation.c.operation_id)
    .limit(bindparam("b_limit"))
)
_OWNED = select(_operation).where(_UNFINISHED, _operation.c.owner == bindparam("b_owner"))
_UNFINISHED_OF = select(_operation).where(_operation.c.active_object_id == bindparam("b_object"))


def add_operation(tx: Tx, operation: Operation) -> bool:
    """Store a new operation. False if its object has an unfinished one."""
    return tx.insert_if_absent(
        _ADD,
        {
            "operation_id": operation.operation_id,
            "kind": operation.kind,
            "object_id": operation.object_id,
            "deadline_at_us": to_us(operation.deadline_at),
            "created_at_us": to_us(operation.created_at),
            "version": operation.version,
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


def list_operations(reader: Reader, *, after: str, limit: int) -> list[Operation]:
    """Operations with an id above `after`, oldest first."""
    return [_to_operation(row) for row in reader.all(_LIST, {"b_after": after, "b_limit": limit})]


def list_due(reader: Reader, *, limit: int) -> list[Operation]:
    """Unfinished operations that are due and that nobody is working on."""
    return [_to_operation(row) for row in reader.all(_DUE, {"b_now": to_us(reader.now), "b_limit": limit})]


def list_owned(reader: Reader, owner: str) -> list[Operation]:
    """Unfinished operations that this owner was working on."""
    return [_to_operation(row) for row in reader.all(_OWNED, {"b_owner": owner})]


def _changing(operation: Operation) -> dict[str, str | int | None]:
    return {
        "active_object_id": None if operation.finished else operation.object_id,
        "state": operation.state,
        "steps": dump_json([_step_to_json(step) for step in operation.steps]),
        "current_step": operation.current_step,
        "attempts": operation.attempts,
        "due_at_us": to_us(operation.due_at),
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
    )


def _step_to_json(step: Step) -> JsonObject:
    finished = None if step.finished_at is None else to_text(step.finished_at)
    return {"name": step.name, "state": step.state, "attempts": step.attempts, "finished_at": finished}


def _step_from_json(stored: JsonObject) -> Step:
    finished = cast(str | None, stored["finished_at"])
    return Step(
        name=str(stored["name"]),
        state=cast(StepState, stored["state"]),
        attempts=cast(int, stored["attempts"]),
        finished_at=None if finished is None else datetime.fromisoformat(finished),
    )

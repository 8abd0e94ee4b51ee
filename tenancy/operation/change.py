"""Storing a transition with everything that belongs to it: log line, audit events, and what follows for the object."""

from __future__ import annotations

from typing import Final

from app.core.db import Tx
from app.core.json import JsonObject
from app.core.origin import Origin, system_origin
from tenancy.operation import repository
from tenancy.operation.kind import OperationKind
from tenancy.operation.plan import Operation
from tenancy.operation.transition import Change, Event

_QUIET: Final = frozenset[Event](
    {"step_started", "step_failed", "step_waits", "undo_started", "undo_failed", "released"}
)
"""Attempts and leases: in the log of the operation. What an attempt changes has events of its own."""


def store_change(tx: Tx, kind: OperationKind, change: Change) -> bool:
    """Store a transition. False if somebody else has changed the operation since it was read: nothing was written."""
    operation = change.operation
    if not repository.put_operation(tx, operation):
        return False
    repository.add_log(
        tx, operation.operation_id, event=change.event, step=change.step, message=change.message
    )
    if change.event not in _QUIET:
        _emit(tx, change, change.event)
    if operation.state == change.before.state:
        return True
    if operation.finished and change.event != operation.state:
        repository.add_log(tx, operation.operation_id, event=operation.state, step="", message="")
        _emit(tx, change, operation.state)
    elif change.before.state == "queued" and operation.state == "running":
        _emit(tx, change, "started")
    (kind.on_finished if operation.finished else kind.on_state)(tx, operation)
    return True


def action_of(operation: Operation, step: str) -> str:
    """What a step of an operation is called in the audit, e.g. `provisionInstance.createDatabase`."""
    return f"{_camel(operation.kind)}.{_camel(step)}"


def step_origin(operation: Operation) -> Origin:
    """Who carries out the current step: whoever asked for the operation, and it is said which step it is."""
    asked = operation.requested_by
    return Origin(
        actor=asked.actor,
        action=action_of(operation, operation.step.name),
        request_id=asked.request_id,
        reason=asked.reason,
    )


def own_origin(operation: Operation, what: str) -> Origin:
    """What the engine decides by itself, e.g. `provisionInstance.giveUp`."""
    return system_origin(action_of(operation, what))


def _emit(tx: Tx, change: Change, what: str) -> None:
    operation, before = change.operation, change.before
    data: JsonObject = {
        "kind": operation.kind,
        "object_id": operation.object_id,
        "state": operation.state,
        "step": change.step,
        "error": operation.error_code,
    }
    tx.emit(f"operation.{what}", subject=operation.operation_id, data=data, before={"state": before.state})


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)

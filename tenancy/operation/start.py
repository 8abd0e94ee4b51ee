"""Starting an operation, in the transaction that makes it necessary."""

from __future__ import annotations

from app.core.db import Tx
from app.core.ids import OperationId, new_id
from app.core.json import JsonObject
from tenancy.errors import OperationRunning
from tenancy.operation import repository
from tenancy.operation.plan import OperationPlan, plan_operation


def start_operation(
    tx: Tx, plan: OperationPlan, *, object_id: str, parameters: JsonObject | None = None
) -> OperationId:
    """Queue an operation on an object, asked for by whoever the transaction is of. A runner takes it up afterwards.

    Args:
        object_id: what is changed, e.g. an instance; it is locked against other operations until the end.
        parameters: what was asked for, for the steps. No secrets: they are stored, and staff read them.

    Raises:
        OperationRunning: the object has an unfinished operation; the detail names it.
    """
    operation_id = OperationId(new_id("opn"))
    operation = plan_operation(
        operation_id, plan, object_id=object_id, now=tx.now, parameters=parameters, requested_by=tx.origin
    )
    if not repository.add_operation(tx, operation):
        raise _running(tx, object_id)
    repository.add_log(tx, operation_id, event="queued", step="", message=tx.origin.reason)
    tx.emit("operation.queued", subject=operation_id, data={"kind": plan.kind, "object_id": object_id})
    return operation_id


def check_idle(tx: Tx, object_id: str) -> None:
    """Refuse a change of an object that an operation is changing.

    Raises:
        OperationRunning: the object has an unfinished operation; the detail names it.
    """
    if repository.find_unfinished(tx, object_id) is not None:
        raise _running(tx, object_id)


def _running(tx: Tx, object_id: str) -> OperationRunning:
    repository.touch_unfinished(tx, object_id)
    found = repository.find_unfinished(tx, object_id)
    known: JsonObject = {} if found is None else {"operation_id": found.operation_id, "state": found.state}
    return OperationRunning("Another operation is changing this already; wait for its end.", **known)

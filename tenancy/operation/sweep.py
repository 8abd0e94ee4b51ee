"""Finds what has stood still too long, and moves it on: no state without a deadline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

from app.core.db import Database, Tx
from app.core.errors import DatabaseUnavailable
from app.core.ids import new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from tenancy.errors import OperationDeadlinePassed, OperationRunning
from tenancy.operation import repository, transition
from tenancy.operation.change import own_origin, store_change
from tenancy.operation.kind import OperationKind
from tenancy.operation.plan import Operation, OperationPlan, is_untried, past_no_return
from tenancy.operation.start import start_operation
from tenancy.operation.transition import Change

_log = logging.getLogger(__name__)

T = TypeVar("T")

_AT_ONCE: Final = 100
"""Moved on in one call. Our own decision."""


class OperationSweeper:
    """Moves operations past their deadline, and objects that no operation looks after. Thread-safe, blocking.

    Args:
        db: the platform database.
        kinds: what is known here; operations of other kinds are left to others.
        stranded: by the transitional state of an instance, the operation that leads out of it.
    """

    def __init__(
        self,
        db: Database,
        kinds: Sequence[OperationKind],
        *,
        stranded: Mapping[str, OperationPlan] | None = None,
    ) -> None:
        self._db = db
        self._kinds = {kind.plan.kind: kind for kind in kinds}
        self._stranded = stranded or {}

    def sweep(self) -> int:
        """Look once; returns how many were moved. A loop calls it."""
        late = self._db.read(lambda reader: repository.list_late(reader, limit=_AT_ONCE))
        moved = sum(
            self._try(self._move, operation, subject=operation.operation_id)
            for operation in late
            if operation.kind in self._kinds
        )
        return moved + sum(self._resume(state, plan) for state, plan in self._stranded.items())

    def _try(self, work: Callable[[T], bool], about: T, *, subject: str) -> bool:
        """One that cannot be moved is no reason to leave the others where they are."""
        try:
            return work(about)
        except DatabaseUnavailable:
            raise
        except Exception:
            _log.exception("operation_not_moved", extra={"subject": subject})
            return False

    def _move(self, operation: Operation) -> bool:
        kind = self._kinds[operation.kind]
        change = overdue(operation, kind.plan, now=self._db.clock.now())
        if change is None:
            return False
        if change.operation.state == "fatal":
            _log.critical("operation_fatal", extra={"operation": operation.operation_id})

        def body(tx: Tx) -> JsonObject:
            return {"stored": store_change(tx, kind, change)}

        origin = own_origin(operation, change.event)
        return bool(self._db.run_tx(new_id("op"), body, origin=origin).value["stored"])

    def _resume(self, state: str, plan: OperationPlan) -> int:
        found = self._db.read(lambda reader: repository.list_stranded(reader, state, limit=_AT_ONCE))
        return sum(
            self._try(lambda each: self._start(each, plan), object_id, subject=object_id)
            for object_id in found
        )

    def _start(self, object_id: str, plan: OperationPlan) -> bool:
        def body(tx: Tx) -> JsonObject:
            return {"operation_id": start_operation(tx, plan, object_id=object_id)}

        try:
            self._db.run_tx(new_id("op"), body, origin=system_origin("sweepOperations.resume"))
        except OperationRunning:
            return False
        _log.warning("stranded_object_resumed", extra={"object": object_id, "kind": plan.kind})
        return True


def overdue(operation: Operation, plan: OperationPlan, *, now: datetime) -> Change | None:
    """What becomes of an operation whose state has lasted too long; None if it has not. Pure.

    Whoever is working on it loses it, and keeps others out until his lease has ended. What nobody has tried yet,
    because no runner was alive, gets its attempt first.
    """
    if operation.finished or now < operation.deadline_at or is_untried(operation):
        return None
    if operation.state == "failed" and not past_no_return(operation, plan):
        reason = "Nobody decided otherwise in time."
        return transition.recover(operation, plan, now=now, event="recovering", reason=reason)
    if operation.state in ("failed", "fatal") and operation.error_code is not None:
        return give_up(operation, plan, now=now, code=operation.error_code, message=operation.error_message)
    late = OperationDeadlinePassed("The operation was not finished in time.")
    return give_up(operation, plan, now=now, code=late.code, message=late.message)


def give_up(
    operation: Operation, plan: OperationPlan, *, now: datetime, code: str, message: str | None
) -> Change:
    """Forward it fails, with a grace for staff; back, or after that grace, a human has to look. Pure."""
    text = message or ""
    if operation.state in ("queued", "running"):
        return transition.fail(operation, plan, now=now, code=code, message=text)
    return transition.give_up(operation, now=now, code=code, message=text)

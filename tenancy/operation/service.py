"""Looking at operations, and what staff decide about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Literal

from app.core.command import Command, Done
from app.core.db import Database, Tx
from app.core.ids import OperationId
from app.core.json import JsonObject
from tenancy.errors import OperationPastNoReturn, OperationStateUnfit, OperationStepNeeded
from tenancy.operation import repository, transition
from tenancy.operation.change import store_change
from tenancy.operation.kind import OperationKind
from tenancy.operation.plan import Operation, OperationPlan, OperationState, past_no_return
from tenancy.operation.repository import LogLine
from tenancy.operation.transition import Change
from tenancy.record import check_limit
from tenancy.transaction import carry_out

Decision = Literal["retry", "skip", "cancel", "recover"]

_STATES: Final[dict[Decision, frozenset[OperationState]]] = {
    "retry": frozenset({"failed", "fatal"}),
    "skip": frozenset({"failed", "fatal"}),
    "cancel": frozenset({"queued", "running"}),
    "recover": frozenset({"failed"}),
}
_LOG_PAGE: Final = 500


class OperationService:
    """Operations in the platform database. Thread-safe, blocking.

    Args:
        db: the platform database.
        kinds: what staff may decide about; other operations can only be looked at.
    """

    def __init__(self, db: Database, kinds: Sequence[OperationKind] = ()) -> None:
        self._db = db
        self._kinds = {kind.plan.kind: kind for kind in kinds}

    def get_operation(self, operation_id: OperationId) -> Operation:
        """Read one operation.

        Raises:
            OperationNotFound: there is none of that id.
        """
        return self._db.read(lambda reader: repository.get_operation(reader, operation_id))

    def find_unfinished(self, object_id: str) -> Operation | None:
        """The unfinished operation of an object, e.g. an instance."""
        return self._db.read(lambda reader: repository.find_unfinished(reader, object_id))

    def list_operations(
        self,
        *,
        after: str = "",
        limit: int = 25,
        object_id: str | None = None,
        state: OperationState | None = None,
    ) -> list[Operation]:
        """Operations with an id above `after`, oldest first; of one object or in one state only, if one is named.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        return self._db.read(
            lambda reader: repository.list_operations(
                reader, after=after, limit=limit, object_id=object_id, state=state
            )
        )

    def list_log(self, operation_id: OperationId, *, after: int = 0, limit: int = _LOG_PAGE) -> list[LogLine]:
        """Lines of an operation's log with a number above `after`, oldest first.

        Raises:
            OperationNotFound: there is none of that id.
        """
        return self.read_on(operation_id, after=after, limit=limit)[1]

    def read_on(
        self, operation_id: OperationId, *, after: int, limit: int = _LOG_PAGE
    ) -> tuple[Operation, list[LogLine]]:
        """The operation and what its log has after a line, in one view.

        Raises:
            OperationNotFound: there is none of that id.
        """
        return self._db.read(
            lambda reader: (
                repository.get_operation(reader, operation_id),
                repository.list_log(reader, operation_id, after=after, limit=limit),
            )
        )

    def decisions(self, operation: Operation) -> tuple[Decision, ...]:
        """What staff may decide now."""
        kind = self._kinds.get(operation.kind)
        return () if kind is None else allowed(operation, kind.plan)

    def retry(self, operation_id: OperationId, *, command: Command | None = None) -> Done[Operation]:
        """Another round: of the failed step, or of the recovery that was given up.

        Raises:
            OperationNotFound: there is none of that id.
            OperationStateUnfit: it has not failed.
        """

        def change(operation: Operation, plan: OperationPlan, tx: Tx) -> Change:
            return transition.retry(operation, plan, now=tx.now, reason=tx.origin.reason)

        return self._decide(operation_id, "retry", change, command)

    def skip(
        self, operation_id: OperationId, *, reason: str, command: Command | None = None
    ) -> Done[Operation]:
        """Go on without the failed step; in a recovery that was given up, leave what the step has done.

        Raises:
            OperationNotFound: there is none of that id.
            OperationStateUnfit: it has not failed.
            OperationStepNeeded: what comes after the step needs it.
        """

        def change(operation: Operation, plan: OperationPlan, tx: Tx) -> Change:
            return transition.skip(operation, plan, now=tx.now, reason=reason)

        return self._decide(operation_id, "skip", change, _with_reason(command, reason))

    def cancel(
        self, operation_id: OperationId, *, reason: str, command: Command | None = None
    ) -> Done[Operation]:
        """Undo what has been done, and leave it at that. A step under way is stopped.

        Raises:
            OperationNotFound: there is none of that id.
            OperationStateUnfit: it is not under way.
            OperationPastNoReturn: it has done what cannot be undone.
        """

        def change(operation: Operation, plan: OperationPlan, tx: Tx) -> Change:
            return transition.recover(operation, plan, now=tx.now, event="cancelled", reason=reason)

        return self._decide(operation_id, "cancel", change, _with_reason(command, reason))

    def recover(self, operation_id: OperationId, *, command: Command | None = None) -> Done[Operation]:
        """Undo a failed operation now, without waiting for the end of its grace.

        Raises:
            OperationNotFound: there is none of that id.
            OperationStateUnfit: it has not failed.
            OperationPastNoReturn: it has done what cannot be undone.
        """

        def change(operation: Operation, plan: OperationPlan, tx: Tx) -> Change:
            reason = tx.origin.reason
            return transition.recover(operation, plan, now=tx.now, event="recovering", reason=reason)

        return self._decide(operation_id, "recover", change, command)

    def _decide(
        self,
        operation_id: OperationId,
        decision: Decision,
        make: Callable[[Operation, OperationPlan, Tx], Change],
        command: Command | None,
    ) -> Done[Operation]:
        def body(tx: Tx) -> JsonObject:
            operation = repository.get_operation(tx, operation_id)
            kind = self._kinds.get(operation.kind)
            if kind is None:
                raise _state_unfit(operation, decision)
            check_decision(operation, kind.plan, decision)
            if not store_change(tx, kind, make(operation, kind.plan, tx)):
                # A runner was faster by a hair: the caller looks again and decides anew.
                raise _state_unfit(operation, decision)
            return {}

        answer = carry_out(self._db, command, body)
        return Done(value=self.get_operation(operation_id), replayed=answer.replayed)


def check_decision(operation: Operation, plan: OperationPlan, decision: Decision) -> None:
    """Refuse what does not fit the state of an operation. Pure.

    Raises:
        OperationStateUnfit, OperationStepNeeded, OperationPastNoReturn: why.
    """
    if operation.finished or operation.state not in _STATES[decision]:
        raise _state_unfit(operation, decision)
    gone = past_no_return(operation, plan)
    if decision in ("cancel", "recover") and gone:
        raise OperationPastNoReturn(
            "The operation has done what cannot be undone; it only goes forward.", step=operation.step.name
        )
    goes_forward = gone or operation.state == "failed"
    if decision == "skip" and goes_forward and not plan.step(operation.step.name).may_skip:
        raise OperationStepNeeded("The operation cannot go on without this step.", step=operation.step.name)


def allowed(operation: Operation, plan: OperationPlan) -> tuple[Decision, ...]:
    """What staff may decide about an operation now. Pure."""
    found: list[Decision] = []
    for decision in _STATES:
        try:
            check_decision(operation, plan, decision)
        except (OperationStateUnfit, OperationStepNeeded, OperationPastNoReturn):
            continue
        found.append(decision)
    return tuple(found)


def _with_reason(command: Command | None, reason: str) -> Command:
    """The same command, with the reason where the audit looks for it."""
    asked = command or Command()
    return replace(asked, origin=replace(asked.origin, reason=reason))


def _state_unfit(operation: Operation, decision: Decision) -> OperationStateUnfit:
    return OperationStateUnfit(
        "That does not fit the state of the operation; look at it again.",
        state=operation.state,
        decision=decision,
        operation_id=operation.operation_id,
    )

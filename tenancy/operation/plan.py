"""What an operation is: named steps, one after the other, each repeatable. Pure.

queued ──► running ──► succeeded            a step that fails is tried again after a pause, growing;
              │                             a process that dies leaves a lease that ends, or is taken over
              └──────► failed               after so many attempts, or past the deadline, with the reason
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from app.core.ids import OperationId

OperationState = Literal["queued", "running", "succeeded", "failed"]
StepState = Literal["pending", "running", "succeeded", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPlan:
    """A kind of operation.

    Attributes:
        steps: names, in order; a name stays what it is for as long as operations of this kind may be unfinished.
        deadline: how long one may take before it is given up.
    """

    kind: str
    steps: tuple[str, ...]
    deadline: timedelta


PROVISION_INSTANCE: Final = OperationPlan(
    kind="provision_instance",
    steps=("create_database", "install_firm_key", "write_config", "check_ready"),
    # Some seconds of work; an hour outlasts a restarted gateway or database server.
    deadline=timedelta(hours=1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of one operation."""

    name: str
    state: StepState = "pending"
    attempts: int = 0
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One long-running change.

    Attributes:
        object_id: what is changed, e.g. an instance.
        due_at: not to be worked on before.
        owner: who is working on it until `lease_until`.
        version: raised by every change; whoever holds an older one has lost the operation to somebody else.
        error_code: why the last attempt failed; the reason for the end if the operation failed.
    """

    operation_id: OperationId
    kind: str
    object_id: str
    state: OperationState
    steps: tuple[Step, ...]
    current_step: int
    attempts: int
    due_at: datetime
    owner: str | None
    lease_until: datetime | None
    deadline_at: datetime
    error_code: str | None
    error_message: str | None
    created_at: datetime
    finished_at: datetime | None
    version: int

    @property
    def finished(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state in ("succeeded", "failed")

    @property
    def step(self) -> Step:
        """The step that is being carried out, or comes next, or was the last."""
        return self.steps[min(self.current_step, len(self.steps) - 1)]


def plan_operation(
    operation_id: OperationId, plan: OperationPlan, *, object_id: str, now: datetime
) -> Operation:
    """A new operation, due at once."""
    return Operation(
        operation_id=operation_id,
        kind=plan.kind,
        object_id=object_id,
        state="queued",
        steps=tuple(Step(name=name) for name in plan.steps),
        current_step=0,
        attempts=0,
        due_at=now,
        owner=None,
        lease_until=None,
        deadline_at=now + plan.deadline,
        error_code=None,
        error_message=None,
        created_at=now,
        finished_at=None,
        version=1,
    )


def claimed(operation: Operation, *, owner: str, lease_until: datetime) -> Operation:
    """The operation as its new owner starts an attempt at the current step."""
    attempts = operation.attempts + 1
    return replace(
        operation,
        state="running",
        owner=owner,
        lease_until=lease_until,
        attempts=attempts,
        steps=_with_step(operation, state="running", attempts=attempts, finished_at=None),
    )


def advanced(operation: Operation, *, now: datetime) -> Operation:
    """The operation after its current step has been carried out."""
    last = operation.current_step + 1 == len(operation.steps)
    return replace(
        operation,
        state="succeeded" if last else "running",
        steps=_with_step(operation, state="succeeded", attempts=operation.attempts, finished_at=now),
        current_step=operation.current_step + 1,
        attempts=0,
        due_at=now,
        owner=None,
        lease_until=None,
        error_code=None,
        error_message=None,
        finished_at=now if last else None,
    )


def postponed(operation: Operation, *, due_at: datetime, code: str, message: str) -> Operation:
    """The operation after an attempt that failed and will be followed by another one."""
    return replace(
        operation,
        steps=_with_step(operation, state="pending", attempts=operation.attempts, finished_at=None),
        due_at=due_at,
        owner=None,
        lease_until=None,
        error_code=code,
        error_message=message,
    )


def failed(operation: Operation, *, now: datetime, code: str, message: str) -> Operation:
    """The operation when it is given up."""
    return replace(
        operation,
        state="failed",
        steps=_with_step(operation, state="failed", attempts=operation.attempts, finished_at=now),
        owner=None,
        lease_until=None,
        error_code=code,
        error_message=message,
        finished_at=now,
    )


def released(operation: Operation, *, now: datetime) -> Operation:
    """The operation after its owner died: due at once, the attempt that was under way counts."""
    return replace(
        operation,
        steps=_with_step(operation, state="pending", attempts=operation.attempts, finished_at=None),
        due_at=now,
        owner=None,
        lease_until=None,
    )


def stored(operation: Operation) -> Operation:
    """The operation as it stands in the database after a change was stored."""
    return replace(operation, version=operation.version + 1)


def pause_before(attempt: int, *, first: timedelta, longest: timedelta) -> timedelta:
    """How long to wait before the next attempt, after `attempt` of them have failed: doubling."""
    return min(first * (1 << min(attempt - 1, 20)), longest)


def _with_step(
    operation: Operation, *, state: StepState, attempts: int, finished_at: datetime | None
) -> tuple[Step, ...]:
    steps: Sequence[Step] = operation.steps
    at = operation.current_step
    changed = replace(steps[at], state=state, attempts=attempts, finished_at=finished_at)
    return (*steps[:at], changed, *steps[at + 1 :])

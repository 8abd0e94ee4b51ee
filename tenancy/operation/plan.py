"""What an operation is: named steps, one after the other, each repeatable. Pure.

                      cancel (before the point of no return)
        ┌───────────────────────────────────────────────────────────────┐
        │                                                               ▼
    queued ──► running ──last step──► succeeded                     recovering ──all undone──► recovered
                │  ▲                                                 ▲   │  ▲
    given up,   │  │ retry, skip                   recover, or grace │   │  │ retry
    past its    ▼  │                               is over           │   │  │
    deadline   failed ───────────────────────────────────────────────┘   ▼  │
                  └──grace is over, past the point of no return──────► fatal ──retry, skip──► running, recovering

| state | who acts | until | way out |
| --- | --- | --- | --- |
| queued, running | a runner, under a lease | deadline of the plan | each step's result; cancel; the sweeper |
| failed | staff | grace of the plan | retry, skip, recover; the sweeper |
| recovering | a runner, under a lease | deadline of the recovery | each undo's result; the sweeper |
| fatal | a human; the object stays locked | reminded every day | retry; skip, forward only where the plan allows it |
| succeeded, recovered | nobody | — | the end: the object is free |

A deadline ends what was tried in vain, not what nobody came to: whatever became due while no runner was alive gets one
attempt, for which the deadline moves by its time limit.

Skipping in a recovery leaves what that step has done: the step's state says so (`left`), and the log says why.

Undone is every step that was ever started, last one first; a step without an undo leaves nothing that has to be undone.
A step past the point of no return cannot be undone: such an operation only goes forward, by itself or by a human's
retry. A kind without any undo is therefore recovered at once: nothing of it needed one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from app.core.ids import OperationId
from app.core.json import JsonObject
from app.core.origin import UNNAMED, Origin

OperationState = Literal["queued", "running", "succeeded", "failed", "recovering", "recovered", "fatal"]
StepState = Literal["pending", "running", "succeeded", "failed", "skipped", "undoing", "undone", "left"]

_GRACE: Final = timedelta(minutes=5)
"""Time enough for staff who are looking; short enough that nobody waits for staff who are not. Our own decision."""
_RECOVERY_DEADLINE: Final = timedelta(hours=1)
"""As long as provisioning may take: an hour outlasts a restarted gateway or database server. Our own decision."""
_NOBODY_ASKED: Final = timedelta(minutes=1)
"""A living runner asks within a second. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """One step of a kind of operation.

    Attributes:
        name: stays what it is for as long as operations of this kind may be unfinished.
        timeout: how long one attempt may take, forward or back. Work in a thread is not interrupted: its attempt is
            given up when the call it is in has ended, and until then the lease is renewed and nobody begins another.
        may_skip: staff may go on without it, with a reason.
        undo: whether there is something to undo once it was started.
        longest_wait: by how much the deadline of the operation moves when the step says "not yet" the first time.
    """

    name: str
    timeout: timedelta = timedelta(minutes=1)
    may_skip: bool = False
    undo: bool = False
    longest_wait: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPlan:
    """A kind of operation.

    Attributes:
        steps: in order.
        deadline: how long one may take before it is given up; staff's retry starts it anew.
        grace: how long a failed one waits for staff before it recovers by itself.
        recovery_deadline: how long the undoing may take before a human has to look.
        point_of_no_return: name of the first step that cannot be taken back once it was started.
    """

    kind: str
    steps: tuple[StepPlan, ...]
    deadline: timedelta
    grace: timedelta = _GRACE
    recovery_deadline: timedelta = _RECOVERY_DEADLINE
    point_of_no_return: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the steps, in order."""
        return tuple(step.name for step in self.steps)

    def step(self, name: str) -> StepPlan:
        """The plan of one step; a step that a newer wops no longer has can be neither skipped nor undone."""
        return next((step for step in self.steps if step.name == name), StepPlan(name=name))


FIRST_CLIENT: Final = "first_client"
"""Parameter of `provision_instance`: `{"name": …, "scopes": […]}` of an API client to begin with."""

PROVISION_INSTANCE: Final = OperationPlan(
    kind="provision_instance",
    steps=(
        StepPlan(name="create_database", timeout=timedelta(minutes=5), undo=True),
        StepPlan(name="install_firm_key", undo=True),
        StepPlan(name="write_config"),
        StepPlan(name="create_credentials", may_skip=True),
        StepPlan(name="check_ready"),
    ),
    # Some seconds of work; an hour outlasts a restarted gateway or database server.
    deadline=timedelta(hours=1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of one operation.

    Attributes:
        attempts: that were ever begun, forward; above 0: it may have left something.
        waiting_for: why it last said "not yet"; None if it never did.
    """

    name: str
    state: StepState = "pending"
    attempts: int = 0
    finished_at: datetime | None = None
    waiting_for: str | None = None

    @property
    def done(self) -> bool:
        """Whether the operation is past it."""
        return self.state in ("succeeded", "skipped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One long-running change.

    Attributes:
        object_id: what is changed, e.g. an instance.
        current_step: forward the step to be done next; in recovery the one to be undone next, -1 after the last.
        attempts: of the current step, in this round.
        due_at: not to be worked on before.
        owner: who is working on it until `lease_until`. Once another change has raised the version he has lost it,
            but nobody else begins before his lease has ended.
        deadline_at: when the present state ends at the latest; for `fatal`, the next reminder.
        version: raised by every change; the fencing token of its owner.
        error_code: why the last attempt failed; the reason for the end if the operation failed.
        parameters: what was asked for, for the steps.
        requested_by: who asked for it.
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
    parameters: JsonObject
    requested_by: Origin

    @property
    def finished(self) -> bool:
        """Whether nothing will happen to it any more, and its object is free."""
        return self.finished_at is not None

    @property
    def step(self) -> Step:
        """The step that is being carried out or undone, or comes next, or was the last."""
        return self.steps[max(0, min(self.current_step, len(self.steps) - 1))]

    @property
    def steps_done(self) -> int:
        """How many steps it is past; in recovery, how many are still in force."""
        return sum(step.done for step in self.steps)


def plan_operation(
    operation_id: OperationId,
    plan: OperationPlan,
    *,
    object_id: str,
    now: datetime,
    parameters: JsonObject | None = None,
    requested_by: Origin = UNNAMED,
) -> Operation:
    """A new operation, due at once."""
    return Operation(
        operation_id=operation_id,
        kind=plan.kind,
        object_id=object_id,
        state="queued",
        steps=tuple(Step(name=name) for name in plan.names),
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
        parameters=parameters or {},
        requested_by=requested_by,
    )


def stored(operation: Operation) -> Operation:
    """The operation as it stands in the database after a change was stored."""
    return replace(operation, version=operation.version + 1)


def past_no_return(operation: Operation, plan: OperationPlan) -> bool:
    """Whether a step was started that cannot be taken back."""
    if plan.point_of_no_return is None:
        return False
    names = [step.name for step in operation.steps]
    first = names.index(plan.point_of_no_return) if plan.point_of_no_return in names else len(names)
    return any(step.attempts > 0 for step in operation.steps[first:])


def is_untried(operation: Operation) -> bool:
    """Whether its current step became due before the deadline and nobody has tried it since, forward or back.

    A step that waits is asked again and again, so it counts only if nobody has asked for a while.
    """
    if operation.state not in ("queued", "running", "recovering") or operation.attempts > 0:
        return False
    if operation.step.waiting_for is None:
        return True
    return operation.due_at + _NOBODY_ASKED < operation.deadline_at


def first_try_time(operation: Operation, plan: OperationPlan) -> timedelta:
    """By how much the deadline may move for the first attempt at the current step: one that waits is only asked."""
    waits = operation.step.waiting_for is not None
    return _NOBODY_ASKED if waits else plan.step(operation.step.name).timeout


def pause_before(attempt: int, *, first: timedelta, longest: timedelta) -> timedelta:
    """How long to wait before the next attempt, after `attempt` of them have failed: doubling."""
    return min(first * (1 << min(attempt - 1, 20)), longest)

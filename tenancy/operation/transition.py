"""How an operation goes from one state to the next; the picture stands in `plan`. Pure.

Whoever takes an operation away from its owner leaves owner and lease as they are: the next one begins when they end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from tenancy.operation.plan import Operation, OperationPlan, Step, StepState, is_untried, past_no_return

Event = Literal[
    "queued",
    "step_started",
    "step_done",
    "step_failed",
    "step_waits",
    "step_skipped",
    "succeeded",
    "failed",
    "retried",
    "cancelled",
    "recovering",
    "undo_started",
    "undone",
    "undo_failed",
    "undo_skipped",
    "recovered",
    "fatal",
    "fatal_still",
    "released",
    "note",
]

REMIND_EVERY: Final = timedelta(days=1)
"""How often it is said that an operation waits for a human. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A transition, as it is stored and logged.

    Attributes:
        operation: afterwards, with the version it had before.
        before: as it was.
        message: for people; why, if there is a reason.
    """

    operation: Operation
    before: Operation
    event: Event
    message: str = ""

    @property
    def step(self) -> str:
        """The step that the event is about."""
        return self.before.step.name

    def freed(self) -> Change:
        """The same by the owner himself, who has let go."""
        return replace(self, operation=_free(self.operation))


def claim(
    operation: Operation, *, owner: str, lease_until: datetime, first_try_until: datetime | None = None
) -> Change:
    """A new owner starts an attempt at the current step, forward or back.

    Args:
        operation: due, and nobody's.
        owner: who starts.
        lease_until: how long he keeps others out.
        first_try_until: where nobody has tried before, the deadline is moved there if it would be earlier.
    """
    back = operation.state == "recovering"
    attempts = operation.attempts + 1
    step = operation.step
    begun = replace(
        step,
        state="undoing" if back else "running",
        attempts=step.attempts if back else step.attempts + 1,
        finished_at=None,
    )
    changed = replace(
        _with_step(operation, begun),
        state="recovering" if back else "running",
        owner=owner,
        lease_until=lease_until,
        attempts=attempts,
    )
    if first_try_until is not None and is_untried(operation):
        changed = replace(changed, deadline_at=max(changed.deadline_at, first_try_until))
    event: Event = "undo_started" if back else "step_started"
    return _change(operation, changed, event, message=f"Attempt {attempts}.")


def advance(operation: Operation, *, now: datetime) -> Change:
    """The current step has been carried out."""
    changed = replace(_free(_pass_step(operation, "succeeded", now=now)), due_at=now)
    if changed.current_step == len(changed.steps):
        changed = replace(changed, state="succeeded", finished_at=now)
    return _change(operation, changed, "step_done")


def skip(operation: Operation, plan: OperationPlan, *, now: datetime, reason: str) -> Change:
    """Staff go on without the current step, forward or back.

    After the last one a runner ends it, once its owner has let go.
    """
    if operation.state == "fatal" and not past_no_return(operation, plan):
        return _leave(operation, plan, now=now, reason=reason)
    changed = replace(
        _pass_step(operation, "skipped", now=now),
        state="running",
        due_at=_not_before(operation, now),
        deadline_at=_not_before(operation, now) + plan.deadline,
    )
    return _change(operation, changed, "step_skipped", message=reason)


def _leave(operation: Operation, plan: OperationPlan, *, now: datetime, reason: str) -> Change:
    """What the current step has done stays as it is; the steps before it are undone."""
    changed = replace(
        _with_step(operation, replace(operation.step, state="left", finished_at=now)),
        state="recovering",
        current_step=_next_undo(operation.steps, plan, below=operation.current_step),
        attempts=0,
        due_at=_not_before(operation, now),
        deadline_at=_not_before(operation, now) + plan.recovery_deadline,
    )
    return _change(operation, changed, "undo_skipped", message=reason)


def wait(operation: Operation, plan: OperationPlan, *, until: datetime, reason: str, now: datetime) -> Change:
    """The current step asks to be asked again; that was no attempt."""
    step = operation.step
    longer = plan.step(step.name).longest_wait if step.waiting_for is None else timedelta(0)
    waiting = replace(step, state="pending", waiting_for=reason, attempts=max(1, step.attempts - 1))
    changed = replace(
        _free(_with_step(operation, waiting)),
        attempts=operation.attempts - 1,
        due_at=max(until, now),
        deadline_at=operation.deadline_at + longer,
        error_code=None,
        error_message=None,
    )
    return _change(operation, changed, "step_waits", message=reason)


def postpone(operation: Operation, *, due_at: datetime, code: str, message: str) -> Change:
    """An attempt failed and will be followed by another one."""
    back = operation.state == "recovering"
    step = replace(operation.step, state="undoing" if back else "pending")
    changed = replace(
        _free(_with_step(operation, step)), due_at=due_at, error_code=code, error_message=message
    )
    return _change(operation, changed, "undo_failed" if back else "step_failed", message=f"{code}: {message}")


def release(operation: Operation, *, now: datetime, counted: bool) -> Change:
    """Its owner is dead, or gives it back: due at once. The attempt under way counts, unless he gave it back."""
    step = operation.step
    running = step.state == "running"
    less = 0 if counted or operation.attempts == 0 else 1
    given = replace(step, state="pending" if running else step.state)
    changed = replace(
        _free(_with_step(operation, given)),
        due_at=operation.due_at if operation.state in ("failed", "fatal") else now,
        attempts=operation.attempts - less,
    )
    return _change(operation, changed, "released")


def fail(operation: Operation, plan: OperationPlan, *, now: datetime, code: str, message: str) -> Change:
    """It is given up; staff may change that until the grace is over."""
    until = now + plan.grace
    changed = replace(
        _with_step(operation, replace(operation.step, state="failed", finished_at=now)),
        state="failed",
        due_at=until,
        deadline_at=until,
        error_code=code,
        error_message=message,
    )
    return _change(operation, changed, "failed", message=f"{code}: {message}")


def recover(
    operation: Operation,
    plan: OperationPlan,
    *,
    now: datetime,
    event: Literal["recovering", "cancelled"],
    reason: str,
) -> Change:
    """What was started is to be undone, last step first."""
    step = operation.step
    lost = replace(step, state="failed") if step.state == "running" else step
    at = _next_undo(operation.steps, plan, below=len(operation.steps))
    changed = replace(
        _with_step(operation, lost),
        state="recovering",
        current_step=at,
        attempts=0,
        due_at=_not_before(operation, now),
        deadline_at=_not_before(operation, now) + plan.recovery_deadline,
    )
    return _change(operation, changed, event, message=reason)


def undone(operation: Operation, plan: OperationPlan, *, now: datetime) -> Change:
    """The current step has been undone."""
    at = _next_undo(operation.steps, plan, below=operation.current_step)
    changed = replace(
        _free(_with_step(operation, replace(operation.step, state="undone", finished_at=now))),
        current_step=at,
        attempts=0,
        due_at=now,
    )
    return _change(operation, changed, "undone")


def finish(operation: Operation, *, now: datetime) -> Change | None:
    """The end, if nothing is left to be done, or to be undone; None if something is."""
    if operation.state == "recovering" and operation.current_step < 0:
        # Steps that left nothing are undone with the others.
        steps = tuple(
            replace(step, state="undone") if step.attempts and step.state != "left" else step
            for step in operation.steps
        )
        changed = replace(_free(operation), state="recovered", finished_at=now, steps=steps)
        return _change(operation, changed, "recovered")
    if operation.current_step == len(operation.steps):
        changed = replace(_free(operation), state="succeeded", finished_at=now)
        return _change(operation, changed, "succeeded")
    return None


def give_up(operation: Operation, *, now: datetime, code: str, message: str) -> Change:
    """Neither forward nor back by itself: a human has to look. The object stays locked."""
    until = now + REMIND_EVERY
    changed = replace(
        operation, state="fatal", due_at=until, deadline_at=until, error_code=code, error_message=message
    )
    event: Event = "fatal_still" if operation.state == "fatal" else "fatal"
    return _change(operation, changed, event, message=f"{code}: {message}")


def retry(operation: Operation, plan: OperationPlan, *, now: datetime, reason: str) -> Change:
    """Staff want another round: from the failed step on, or of the recovery."""
    back = operation.state == "fatal" and not past_no_return(operation, plan)
    step = operation.step if back else replace(operation.step, state="pending", finished_at=None)
    changed = replace(
        _with_step(operation, step),
        state="recovering" if back else "running",
        attempts=0,
        due_at=_not_before(operation, now),
        deadline_at=_not_before(operation, now) + (plan.recovery_deadline if back else plan.deadline),
    )
    return _change(operation, changed, "retried", message=reason)


def _pass_step(operation: Operation, state: StepState, *, now: datetime) -> Operation:
    passed = replace(operation.step, state=state, finished_at=now)
    return replace(
        _with_step(operation, passed),
        current_step=operation.current_step + 1,
        attempts=0,
        error_code=None,
        error_message=None,
    )


def _change(before: Operation, after: Operation, event: Event, *, message: str = "") -> Change:
    return Change(operation=after, before=before, event=event, message=message)


def _next_undo(steps: Sequence[Step], plan: OperationPlan, *, below: int) -> int:
    """The last step below an index that was started and leaves something; -1 if there is none."""
    started = (
        at for at in range(below - 1, -1, -1) if steps[at].attempts > 0 and plan.step(steps[at].name).undo
    )
    return next(started, -1)


def _not_before(operation: Operation, now: datetime) -> datetime:
    return now if operation.lease_until is None else max(now, operation.lease_until)


def _free(operation: Operation) -> Operation:
    return replace(operation, owner=None, lease_until=None)


def _with_step(operation: Operation, step: Step) -> Operation:
    at = max(0, min(operation.current_step, len(operation.steps) - 1))
    return replace(operation, steps=(*operation.steps[:at], step, *operation.steps[at + 1 :]))

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import DomainError
from app.core.ids import OperationId
from tenancy.errors import OperationPastNoReturn, OperationStateUnfit, OperationStepNeeded
from tenancy.operation import transition
from tenancy.operation.plan import (
    Operation,
    OperationPlan,
    OperationState,
    StepPlan,
    past_no_return,
    pause_before,
    plan_operation,
)
from tenancy.operation.service import Decision, allowed, check_decision
from tenancy.operation.sweep import give_up, overdue

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
LEASE = NOW + timedelta(minutes=1)
HOUR = timedelta(hours=1)
PLAN = OperationPlan(
    kind="move_house",
    steps=(
        StepPlan(name="pack", undo=True),
        StepPlan(name="look_round", may_skip=True, longest_wait=timedelta(days=30)),
        StepPlan(name="drive", undo=True),
        StepPlan(name="burn_bridge"),
        StepPlan(name="sing", may_skip=True),
    ),
    deadline=HOUR,
    grace=timedelta(minutes=5),
    recovery_deadline=2 * HOUR,
    point_of_no_return="burn_bridge",
)


def planned() -> Operation:
    return plan_operation(OperationId("opn_1"), PLAN, object_id="ins_1", now=NOW)


def claimed(operation: Operation) -> Operation:
    return transition.claim(operation, owner="control-1", lease_until=LEASE).operation


def after(steps: int) -> Operation:
    operation = planned()
    for _ in range(steps):
        operation = transition.advance(claimed(operation), now=NOW).operation
    return operation


def failed(steps: int) -> Operation:
    broken = transition.fail(claimed(after(steps)), PLAN, now=NOW, code="flat_tyre", message="psst")
    return broken.freed().operation


def test_new_operation_is_due_at_once_and_has_a_deadline() -> None:
    operation = planned()
    assert (operation.state, operation.due_at, operation.owner, operation.deadline_at) == (
        "queued",
        NOW,
        None,
        NOW + HOUR,
    )
    assert [step.state for step in operation.steps] == ["pending"] * 5


def test_operation_ends_with_its_last_step() -> None:
    done = after(5)
    assert (done.state, done.finished_at, done.owner, done.steps_done) == ("succeeded", NOW, None, 5)
    assert [(step.state, step.attempts) for step in done.steps] == [("succeeded", 1)] * 5


def test_attempt_is_counted_before_the_step_begins() -> None:
    assert (claimed(planned()).attempts, claimed(planned()).step.attempts) == (1, 1)


def test_postponed_step_keeps_its_reason_until_it_succeeds() -> None:
    later = transition.postpone(claimed(planned()), due_at=LEASE, code="rain", message="it rains").operation
    assert (later.step.state, later.error_code, later.owner, later.due_at) == ("pending", "rain", None, LEASE)
    done = transition.advance(claimed(later), now=NOW).operation
    assert (done.steps[0].attempts, done.error_code, done.attempts) == (2, None, 0)


def test_step_that_says_not_yet_loses_no_attempt_and_moves_the_deadline_once() -> None:
    until = NOW + timedelta(days=20)
    waiting = transition.wait(claimed(after(1)), PLAN, until=until, reason="no key", now=NOW).operation
    assert (waiting.attempts, waiting.due_at, waiting.step.waiting_for) == (0, until, "no key")
    assert waiting.deadline_at == NOW + HOUR + timedelta(days=30)
    again = transition.wait(claimed(waiting), PLAN, until=until, reason="no key", now=NOW).operation
    assert (again.attempts, again.deadline_at, again.step.attempts) == (0, waiting.deadline_at, 1)


def test_attempt_of_a_dead_owner_counts_and_one_given_back_does_not() -> None:
    dead = transition.release(claimed(planned()), now=NOW, counted=True).operation
    assert (dead.owner, dead.lease_until, dead.attempts, dead.step.state) == (None, None, 1, "pending")
    assert transition.release(claimed(planned()), now=NOW, counted=False).operation.attempts == 0


def test_failed_operation_waits_for_staff_until_its_grace_is_over_and_then_recovers() -> None:
    broken = failed(2)
    assert (broken.state, broken.step.state, broken.finished) == ("failed", "failed", False)
    assert broken.due_at == broken.deadline_at == NOW + PLAN.grace
    assert overdue(broken, PLAN, now=NOW) is None
    change = overdue(broken, PLAN, now=NOW + PLAN.grace)
    assert change is not None
    assert (change.operation.state, change.operation.current_step) == ("recovering", 2)


def test_recovery_undoes_every_started_step_last_first_and_leaves_out_what_left_nothing() -> None:
    going_back = transition.recover(failed(2), PLAN, now=NOW, event="recovering", reason="").operation
    undone = []
    while transition.finish(going_back, now=NOW) is None:
        undone.append(going_back.step.name)
        going_back = transition.undone(claimed(going_back), PLAN, now=NOW).operation
    assert undone == ["drive", "pack"]
    end = transition.finish(going_back, now=NOW)
    assert end is not None
    assert (end.operation.state, end.operation.finished_at, end.operation.steps_done) == ("recovered", NOW, 0)
    assert [step.state for step in end.operation.steps] == ["undone"] * 3 + ["pending"] * 2


def test_cancelled_operation_is_undone_only_when_the_lease_of_its_owner_has_ended() -> None:
    cancelled = transition.recover(claimed(after(2)), PLAN, now=NOW, event="cancelled", reason="no").operation
    assert (cancelled.state, cancelled.owner, cancelled.due_at) == ("recovering", "control-1", LEASE)


def test_cancelled_before_anything_was_started_nothing_is_undone() -> None:
    cancelled = transition.recover(planned(), PLAN, now=NOW, event="cancelled", reason="no").operation
    end = transition.finish(cancelled, now=NOW)
    assert end is not None
    assert [step.state for step in end.operation.steps] == ["pending"] * 5


def test_undo_that_is_given_up_needs_a_human_who_is_reminded_and_may_retry() -> None:
    going_back = transition.recover(failed(2), PLAN, now=NOW, event="recovering", reason="").operation
    stuck = give_up(claimed(going_back), PLAN, now=NOW, code="stuck", message="no way").operation
    assert (stuck.state, stuck.finished, stuck.deadline_at) == ("fatal", False, NOW + transition.REMIND_EVERY)
    reminded = overdue(stuck, PLAN, now=stuck.deadline_at)
    assert reminded is not None
    assert (reminded.event, reminded.operation.error_code) == ("fatal_still", "stuck")
    assert reminded.operation.deadline_at == stuck.deadline_at + transition.REMIND_EVERY
    again = transition.retry(stuck, PLAN, now=NOW, reason="mended").operation
    assert (again.state, again.step.name, again.attempts) == ("recovering", "drive", 0)


def test_undo_that_is_skipped_leaves_that_step_and_undoes_the_others() -> None:
    going_back = transition.recover(failed(2), PLAN, now=NOW, event="recovering", reason="").operation
    stuck = give_up(claimed(going_back), PLAN, now=NOW, code="stuck", message="no way").operation
    change = transition.skip(stuck, PLAN, now=NOW, reason="the house has burnt down")
    assert (change.event, change.message, change.step) == (
        "undo_skipped",
        "the house has burnt down",
        "drive",
    )
    on = change.operation
    assert (on.state, on.step.name, on.attempts, on.steps[2].state) == ("recovering", "pack", 0, "left")
    end = transition.finish(
        transition.undone(claimed(change.freed().operation), PLAN, now=NOW).operation, now=NOW
    )
    assert end is not None
    assert [step.state for step in end.operation.steps] == ["undone", "undone", "left", "pending", "pending"]


LATE = NOW + 3 * HOUR


@pytest.mark.parametrize(
    "untried",
    [
        planned(),
        after(2),
        transition.recover(failed(2), PLAN, now=NOW, event="recovering", reason="").operation,
        transition.release(claimed(after(1)), now=NOW, counted=False).operation,
        transition.wait(
            claimed(after(1)), PLAN, until=NOW + timedelta(seconds=1), reason="dark", now=NOW
        ).operation,
    ],
)
def test_what_nobody_has_tried_before_the_deadline_gets_one_attempt(untried: Operation) -> None:
    """The platform was down for longer than the deadline: nothing has failed yet."""
    late = LATE + timedelta(days=30)
    assert overdue(untried, PLAN, now=late) is None
    until = late + timedelta(minutes=1)
    free = replace(untried, owner=None, lease_until=None)
    tried = transition.claim(free, owner="control-2", lease_until=until, first_try_until=until).operation
    assert tried.deadline_at == until
    assert overdue(tried, PLAN, now=late) is None
    again = transition.postpone(tried, due_at=late, code="rain", message="").operation
    assert overdue(again, PLAN, now=until) is not None
    waits = transition.wait(tried, PLAN, until=late, reason="dark", now=late).operation
    if tried.state == "running" and tried.step.waiting_for is not None:
        assert overdue(waits, PLAN, now=until) is not None


def test_first_attempt_shortly_before_the_deadline_gets_its_time() -> None:
    nearly = NOW + HOUR - timedelta(seconds=1)
    until = nearly + timedelta(minutes=1)
    tried = transition.claim(planned(), owner="control-1", lease_until=until, first_try_until=until).operation
    assert tried.deadline_at == until
    early = transition.claim(planned(), owner="control-1", lease_until=LEASE, first_try_until=LEASE).operation
    assert early.deadline_at == NOW + HOUR


def test_step_that_is_asked_again_and_again_is_given_up_at_its_deadline() -> None:
    waiting = after(1)
    for _ in range(3):
        claimed_now = claimed(waiting)
        now = claimed_now.deadline_at - timedelta(seconds=1)
        waiting = transition.wait(claimed_now, PLAN, until=now, reason="dark", now=now).operation
    assert overdue(waiting, PLAN, now=waiting.deadline_at) is not None


def test_past_the_point_of_no_return_an_operation_only_goes_forward() -> None:
    broken = failed(3)
    assert past_no_return(broken, PLAN)
    assert not past_no_return(failed(2), PLAN)
    change = overdue(broken, PLAN, now=broken.deadline_at)
    assert change is not None
    assert (change.operation.state, change.operation.error_code) == ("fatal", "flat_tyre")
    again = transition.retry(change.operation, PLAN, now=NOW, reason="").operation
    assert (again.state, again.step.name, again.step.state) == ("running", "burn_bridge", "pending")


def test_retry_gives_the_failed_step_a_full_round_and_a_new_deadline() -> None:
    later = NOW + timedelta(minutes=3)
    again = transition.retry(failed(2), PLAN, now=later, reason="").operation
    assert (again.state, again.attempts, again.due_at, again.deadline_at) == (
        "running",
        0,
        later,
        later + HOUR,
    )
    assert again.step.attempts == 1


def test_skipped_step_counts_as_done_and_the_last_one_leads_to_the_end() -> None:
    skipped = transition.skip(failed(1), PLAN, now=NOW, reason="seen it before").operation
    assert (skipped.state, skipped.steps[1].state, skipped.step.name) == ("running", "skipped", "drive")
    last = transition.skip(failed(4), PLAN, now=NOW, reason="no voice").operation
    end = transition.finish(last, now=NOW)
    assert end is not None
    assert end.operation.state == "succeeded"


DECISIONS: dict[str, tuple[Operation, tuple[Decision, ...]]] = {
    "queued": (planned(), ("cancel",)),
    "running": (claimed(after(1)), ("cancel",)),
    "running past return": (claimed(after(3)), ()),
    "failed": (failed(0), ("retry", "recover")),
    "failed, step may be skipped": (failed(1), ("retry", "skip", "recover")),
    "failed past return": (failed(4), ("retry", "skip")),
    "fatal in recovery": (replace(failed(0), state="fatal"), ("retry", "skip")),
    "fatal past return, step needed": (replace(failed(3), state="fatal"), ("retry",)),
    "fatal past return": (replace(failed(4), state="fatal"), ("retry", "skip")),
    "recovering": (replace(failed(1), state="recovering"), ()),
    "succeeded": (after(5), ()),
}


@pytest.mark.parametrize("case", DECISIONS)
def test_what_staff_may_decide_follows_from_state_and_plan(case: str) -> None:
    operation, expected = DECISIONS[case]
    assert allowed(operation, PLAN) == expected


@pytest.mark.parametrize(
    ("operation", "decision", "refusal"),
    [
        (after(5), "retry", OperationStateUnfit),
        (failed(0), "skip", OperationStepNeeded),
        (claimed(after(3)), "cancel", OperationPastNoReturn),
        (failed(3), "recover", OperationPastNoReturn),
    ],
)
def test_refused_decision_says_why(
    operation: Operation, decision: Decision, refusal: type[DomainError]
) -> None:
    with pytest.raises(refusal):
        check_decision(operation, PLAN, decision)


@pytest.mark.parametrize("state", ["queued", "running", "failed", "recovering", "fatal"])
def test_no_state_lasts_for_ever(state: OperationState) -> None:
    operation = replace(claimed(after(2)), state=state)
    change = overdue(operation, PLAN, now=operation.deadline_at)
    assert change is not None
    moved = change.operation
    assert moved.deadline_at > operation.deadline_at
    assert moved.state in ({"fatal"} if state in ("recovering", "fatal") else {"failed", "recovering"})


@given(st.integers(1, 10_000))
def test_pause_grows_and_is_bounded(attempt: int) -> None:
    first, longest = timedelta(seconds=1), timedelta(minutes=1)
    pause = pause_before(attempt, first=first, longest=longest)
    assert first <= pause <= longest
    assert pause <= pause_before(attempt + 1, first=first, longest=longest)

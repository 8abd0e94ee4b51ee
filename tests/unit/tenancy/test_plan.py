from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import OperationId
from tenancy.operation.plan import (
    PROVISION_INSTANCE,
    Operation,
    advanced,
    claimed,
    failed,
    pause_before,
    plan_operation,
    postponed,
    released,
)

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
LEASE = NOW + timedelta(minutes=1)


def planned() -> Operation:
    return plan_operation(OperationId("opn_1"), PROVISION_INSTANCE, object_id="ins_1", now=NOW)


def test_new_operation_is_due_at_once_and_has_a_deadline() -> None:
    operation = planned()
    assert (operation.state, operation.due_at, operation.owner) == ("queued", NOW, None)
    assert operation.deadline_at > NOW
    assert [step.state for step in operation.steps] == ["pending"] * 4


def test_operation_ends_after_its_last_step() -> None:
    operation = planned()
    for _ in operation.steps:
        assert not operation.finished
        operation = advanced(claimed(operation, owner="control-1", lease_until=LEASE), now=NOW)
    assert (operation.state, operation.finished_at, operation.owner) == ("succeeded", NOW, None)
    assert [(step.state, step.attempts) for step in operation.steps] == [("succeeded", 1)] * 4
    assert operation.step.name == "check_ready"


def test_postponed_step_is_tried_again_with_its_reason_until_it_succeeds() -> None:
    once = claimed(planned(), owner="control-1", lease_until=LEASE)
    later = postponed(once, due_at=LEASE, code="fsb_unavailable", message="no box")
    assert (later.step.state, later.error_code, later.owner, later.due_at) == (
        "pending",
        "fsb_unavailable",
        None,
        LEASE,
    )
    done = advanced(claimed(later, owner="control-1", lease_until=LEASE), now=NOW)
    assert (done.steps[0].attempts, done.error_code, done.attempts) == (2, None, 0)


def test_failed_operation_names_step_and_reason_and_ends() -> None:
    given_up = failed(
        claimed(planned(), owner="control-1", lease_until=LEASE), now=NOW, code="x", message="why"
    )
    assert given_up.finished
    assert (given_up.state, given_up.step.state, given_up.error_message) == ("failed", "failed", "why")


def test_attempt_of_a_dead_owner_counts() -> None:
    free = released(claimed(planned(), owner="control-1", lease_until=LEASE), now=NOW)
    assert (free.owner, free.lease_until, free.attempts, free.step.state) == (None, None, 1, "pending")


@given(st.integers(1, 10_000))
def test_pause_grows_and_is_bounded(attempt: int) -> None:
    first, longest = timedelta(seconds=1), timedelta(minutes=1)
    pause = pause_before(attempt, first=first, longest=longest)
    assert first <= pause <= longest
    assert pause <= pause_before(attempt + 1, first=first, longest=longest)

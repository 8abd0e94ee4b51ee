"""Operations: from step to step, failing, decided about by staff, undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import text

from app.core.command import Done
from app.core.db import Database, Tx
from app.core.errors import DomainError
from app.core.ids import OperationId, new_id
from app.core.json import JsonObject
from tenancy import NotYet, Operation, OperationPlan, OperationSweeper, Patience, StepContext, StepPlan
from tenancy.errors import (
    OperationNotFound,
    OperationOwnerLost,
    OperationPastNoReturn,
    OperationRunning,
    OperationStateUnfit,
    OperationStepNeeded,
)
from tenancy.operation.repository import find_unfinished
from tenancy.operation.start import start_operation
from tests.fake.clock import FakeClock
from tests.integration.tenancy.workshop import PATIENCE, PLAN, Workshop, raising

RAIN = DomainError("it rains")


def test_operation_goes_from_step_to_step_and_its_log_and_events_say_so(workshop: Workshop) -> None:
    operation_id = workshop.start()
    assert workshop.run() == 4
    done = workshop.look(operation_id)
    assert (done.state, workshop.done, done.steps_done) == ("succeeded", list(PLAN.names), 4)
    assert workshop.log(operation_id) == [
        "queued",
        *[f"{event} {name}" for name in PLAN.names for event in ("step_started", "step_done")],
        "succeeded",
    ]
    assert workshop.events() == [
        "operation.queued",
        "operation.started",
        *["operation.step_done"] * 4,
        "operation.succeeded",
    ]
    assert workshop.states == ["running", "succeeded"]


def test_step_knows_parameters_and_who_asked(workshop: Workshop) -> None:
    seen: list[StepContext] = []

    async def look(context: StepContext) -> None:
        seen.append(context)
        await context.check_owner()
        await context.note("half-way")

    workshop.behave["drive"] = look
    operation_id = workshop.start()
    workshop.run()
    context = seen[0]
    assert (context.object_id, context.parameters) == ("house_1", {"floor": 3})
    origin = context.origin
    assert (origin.actor.actor_id, origin.action, origin.request_id, origin.reason) == (
        "stk_1",
        "moveHouse.drive",
        "req_1",
        "new",
    )
    assert "note drive" in workshop.log(operation_id)


def test_second_operation_on_an_object_is_refused_naming_the_first_until_that_has_ended(
    workshop: Workshop,
) -> None:
    first = workshop.start()
    with pytest.raises(OperationRunning) as refused:
        workshop.start()
    assert refused.value.detail == {"operation_id": first, "state": "queued"}
    workshop.start("house_2")
    workshop.run()
    again = workshop.start()
    assert [each.operation_id for each in workshop.service.list_operations(object_id="house_1")] == [
        first,
        again,
    ]
    assert [each.operation_id for each in workshop.service.list_operations(state="queued")] == [again]
    assert not workshop.service.list_operations(state="failed", object_id="house_1")


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_operation_begun_since_a_transaction_began_to_read_is_named(workshop: Workshop) -> None:
    begun: list[OperationId] = []

    def body(tx: Tx) -> JsonObject:
        # On MariaDB the first reading fixes what a transaction sees.
        find_unfinished(tx, "house_1")
        if not begun:
            begun.append(workshop.start())
        return {"id": start_operation(tx, workshop.plan, object_id="house_1")}

    with pytest.raises(OperationRunning) as refused:
        workshop.db.run_tx(new_id("op"), body)
    assert refused.value.detail["operation_id"] == begun[0]


def test_failing_step_is_tried_again_with_growing_pauses_and_then_waits_for_staff(workshop: Workshop) -> None:
    workshop.behave["drive"] = raising(RAIN)
    operation_id = workshop.start()
    workshop.run()
    assert workshop.look(operation_id).due_at == workshop.clock.now() + timedelta(seconds=1)
    workshop.clock.advance(timedelta(seconds=1))
    workshop.run()
    assert workshop.look(operation_id).due_at == workshop.clock.now() + timedelta(seconds=2)
    workshop.clock.advance(timedelta(seconds=2))
    workshop.run()
    broken = workshop.look(operation_id)
    assert (broken.state, broken.error_message, broken.step.attempts) == ("failed", "it rains", 3)
    assert workshop.service.decisions(broken) == ("retry", "recover")
    with pytest.raises(OperationRunning):
        workshop.start()


def fail_at(workshop: Workshop, step: str, object_id: str = "house_1") -> OperationId:
    """An operation that has failed in that step; the reason is gone."""
    workshop.behave[step] = raising(RAIN)
    operation_id = workshop.start(object_id)
    for _ in range(PATIENCE.attempts):
        workshop.run()
        workshop.clock.advance(PATIENCE.longest_pause)
    assert workshop.look(operation_id).state == "failed"
    del workshop.behave[step]
    return operation_id


def test_retried_operation_goes_on_with_the_failed_step(workshop: Workshop) -> None:
    operation_id = fail_at(workshop, "drive")
    command = workshop.command("the sun shines")
    assert workshop.service.retry(operation_id, command=command).value.state == "running"
    assert workshop.service.retry(operation_id, command=command).replayed
    workshop.run()
    assert workshop.look(operation_id).state == "succeeded"
    assert workshop.done == list(PLAN.names)
    assert workshop.states == ["running", "failed", "running", "succeeded"]


def test_skipped_step_is_left_out(workshop: Workshop) -> None:
    operation_id = fail_at(workshop, "look_round")
    workshop.service.skip(operation_id, reason="seen before")
    workshop.run()
    done = workshop.look(operation_id)
    assert (done.state, done.steps[1].state) == ("succeeded", "skipped")
    assert workshop.done == ["pack", "drive", "unpack"]
    assert "step_skipped look_round" in workshop.log(operation_id)


def test_nobody_decides_and_the_failed_operation_recovers_by_itself(workshop: Workshop) -> None:
    operation_id = fail_at(workshop, "drive")
    workshop.clock.advance(PLAN.grace)
    assert workshop.run() == 0
    assert workshop.sweeper.sweep() == 1
    workshop.run()
    back = workshop.look(operation_id)
    assert (back.state, back.steps_done, back.error_message) == ("recovered", 0, "it rains")
    assert workshop.done == ["pack", "look_round", "undo drive", "undo pack"]
    assert workshop.world == {"look_round"}
    assert workshop.states[-2:] == ["recovering", "recovered"]
    workshop.start()


def test_staff_let_a_failed_operation_recover_at_once(workshop: Workshop) -> None:
    operation_id = fail_at(workshop, "unpack")
    workshop.service.recover(operation_id, command=workshop.command())
    workshop.run()
    assert workshop.look(operation_id).state == "recovered"
    assert workshop.done[-2:] == ["undo drive", "undo pack"]


def test_undo_that_goes_on_failing_needs_a_human_and_his_retry_ends_it(workshop: Workshop) -> None:
    operation_id = fail_at(workshop, "drive")
    workshop.behave["undo pack"] = raising(RAIN)
    workshop.service.recover(operation_id)
    workshop.run_long()
    stuck = workshop.look(operation_id)
    assert (stuck.state, stuck.finished) == ("fatal", False)
    with pytest.raises(OperationRunning):
        workshop.start()
    workshop.clock.advance(timedelta(days=1))
    assert workshop.sweeper.sweep() == 1
    assert workshop.events()[-1] == "operation.fatal_still"
    del workshop.behave["undo pack"]
    workshop.service.retry(operation_id)
    workshop.run()
    assert workshop.look(operation_id).state == "recovered"


def test_undo_that_cannot_succeed_is_skipped_with_a_reason_and_the_rest_is_undone(workshop: Workshop) -> None:
    operation_id = fail_at(workshop, "unpack")
    workshop.behave["undo drive"] = raising(RAIN)
    workshop.service.recover(operation_id)
    for _ in range(PATIENCE.attempts):
        workshop.run()
        workshop.clock.advance(PATIENCE.longest_pause)
    assert workshop.look(operation_id).state == "fatal"
    assert workshop.service.decisions(workshop.look(operation_id)) == ("retry", "skip")
    workshop.service.skip(operation_id, reason="the van is wrecked")
    workshop.run()
    back = workshop.look(operation_id)
    assert (back.state, [step.state for step in back.steps]) == (
        "recovered",
        ["undone", "undone", "left", "undone"],
    )
    lines = workshop.service.list_log(operation_id)
    assert [line.message for line in lines if line.event == "undo_skipped"] == ["the van is wrecked"]
    assert "operation.undo_skipped" in workshop.events()
    workshop.start()


def test_operation_that_nobody_tried_while_the_platform_was_down_is_carried_out(workshop: Workshop) -> None:
    """The sweeper comes first, as it may after a start."""
    operation_id = workshop.start()
    anyio.run(workshop.runner().run_due)
    workshop.clock.advance(2 * PLAN.deadline)
    assert workshop.sweeper.sweep() == 0
    assert workshop.run() == 3
    assert workshop.look(operation_id).state == "succeeded"


def test_operation_that_fails_after_such_a_time_has_had_one_attempt(workshop: Workshop) -> None:
    operation_id = workshop.start()
    workshop.behave["pack"] = raising(RAIN)
    workshop.clock.advance(2 * PLAN.deadline)
    workshop.sweeper.sweep()
    assert workshop.run() == 1
    workshop.clock.advance(timedelta(minutes=2))
    workshop.sweeper.sweep()
    assert workshop.look(operation_id).state == "failed"


def test_damaged_row_and_one_that_cannot_be_moved_stop_no_other_operation(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, broken = workshop.start("house_1"), fail_at(workshop, "drive", "house_2")
    with workshop.db.engine.begin() as connection:
        connection.execute(
            text("UPDATE operation SET steps = '[', state = 'running' WHERE operation_id = :id"),
            {"id": damaged},
        )
    other = workshop.start("house_3")
    workshop.run()
    assert workshop.look(other).state == "succeeded"
    third = fail_at(workshop, "drive", "house_4")
    workshop.clock.advance(2 * PLAN.deadline)

    def refuse(_tx: Tx, operation: Operation) -> None:
        if operation.object_id == "house_2":
            raise RuntimeError("a defect of ours")

    sweeper = OperationSweeper(workshop.db, [replace(workshop.kind, on_state=refuse)])
    sweeper.sweep()
    assert workshop.look(third).state == "recovering"
    assert workshop.look(broken).state == "failed"
    said = [record.msg for record in caplog.records]
    assert said.count("operation_unreadable") == 1
    assert "operation_not_moved" in said


def test_cancelled_before_it_began_it_undoes_nothing(workshop: Workshop) -> None:
    operation_id = workshop.start()
    workshop.service.cancel(operation_id, reason="stays here", command=workshop.command())
    workshop.run()
    assert (workshop.look(operation_id).state, workshop.done) == ("recovered", [])
    assert workshop.log(operation_id) == ["queued", "cancelled pack", "recovered pack"]


def test_cancel_stops_the_step_under_way_and_undoes_after_it(workshop: Workshop) -> None:
    quick = Patience(lease=timedelta(milliseconds=150))
    operation_id = workshop.start()

    async def never_ends(context: StepContext) -> None:
        await anyio.to_thread.run_sync(lambda: workshop.service.cancel(operation_id, reason="no"))
        with pytest.raises(OperationOwnerLost):
            await context.note("am I?")
        await anyio.sleep_forever()

    workshop.behave["look_round"] = never_ends
    workshop.run(workshop.runner(patience=quick))
    assert workshop.look(operation_id).state == "recovered"
    assert workshop.done == ["pack", "undo pack"]


DECISIONS: dict[str, Callable[[Workshop, OperationId], Done[Operation]]] = {
    "retry": lambda workshop, key: workshop.service.retry(key),
    "skip": lambda workshop, key: workshop.service.skip(key, reason="because"),
    "cancel": lambda workshop, key: workshop.service.cancel(key, reason="because"),
    "recover": lambda workshop, key: workshop.service.recover(key),
}


@pytest.mark.parametrize("decision", DECISIONS)
def test_decision_about_an_ended_or_unknown_operation_is_refused_and_changes_nothing(
    workshop: Workshop, decision: str
) -> None:
    operation_id = workshop.start()
    workshop.run()
    before = workshop.look(operation_id)
    with pytest.raises(OperationStateUnfit):
        DECISIONS[decision](workshop, operation_id)
    assert workshop.look(operation_id) == before
    with pytest.raises(OperationNotFound):
        DECISIONS[decision](workshop, OperationId("opn_0"))


def test_needed_step_is_not_skipped(workshop: Workshop) -> None:
    operation_id = fail_at(workshop, "drive")
    with pytest.raises(OperationStepNeeded):
        workshop.service.skip(operation_id, reason="walk")
    assert workshop.look(operation_id).state == "failed"


def test_past_the_point_of_no_return_there_is_only_forward(platform_db: Database, clock: FakeClock) -> None:
    plan = OperationPlan(
        kind="burn",
        steps=(StepPlan(name="gather", undo=True), StepPlan(name="ignite"), StepPlan(name="sweep")),
        deadline=timedelta(hours=1),
        point_of_no_return="ignite",
    )
    workshop = Workshop(platform_db, clock, plan)
    operation_id = fail_at(workshop, "sweep")
    for decision in ("recover", "cancel"):
        with pytest.raises((OperationPastNoReturn, OperationStateUnfit)):
            DECISIONS[decision](workshop, operation_id)
    clock.advance(plan.grace)
    workshop.sweeper.sweep()
    assert workshop.look(operation_id).state == "fatal"
    workshop.service.retry(operation_id)
    workshop.run()
    assert workshop.look(operation_id).state == "succeeded"


def test_step_that_is_not_ready_yet_is_asked_again_then_and_loses_no_attempt(workshop: Workshop) -> None:
    until = workshop.clock.now() + timedelta(minutes=30)

    async def wait(_context: StepContext) -> NotYet | None:
        await anyio.lowlevel.checkpoint()
        return None if workshop.clock.now() >= until else NotYet(until=until, reason="the key comes later")

    workshop.behave["drive"] = wait
    operation_id = workshop.start()
    workshop.run()
    waiting = workshop.look(operation_id)
    assert (waiting.state, waiting.due_at, waiting.attempts) == ("running", until, 0)
    assert waiting.step.waiting_for == "the key comes later"
    workshop.clock.set(until)
    workshop.run()
    assert workshop.look(operation_id).state == "succeeded"


def test_unforeseen_error_is_not_shown_in_its_own_words(workshop: Workshop) -> None:
    workshop.behave["pack"] = raising(RuntimeError("password=hunter2"))
    operation_id = workshop.start()
    workshop.run()
    shown = workshop.look(operation_id)
    assert shown.error_code == "internal_error"
    assert "hunter2" not in str(shown) + str(workshop.service.list_log(operation_id))


def test_defect_in_what_follows_from_an_end_stops_no_other_operation(workshop: Workshop) -> None:
    broken = workshop.start("house_0")

    def explode(_tx: Tx, operation: Operation) -> None:
        if operation.object_id == "house_0":
            raise RuntimeError("a defect")

    workshop.kind = replace(workshop.kind, on_finished=explode)
    other = workshop.start("house_1")
    workshop.run()
    assert workshop.look(other).state == "succeeded"
    assert (workshop.look(broken).state, workshop.look(broken).step.name) == ("running", "unpack")

"""Runners of operations: killed, stuck, late, two at once; leases and their numbers decide who works."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import anyio
import pytest

from app.core.db import Database
from app.core.errors import DatabaseUnavailable
from tenancy import Patience, StepContext
from tenancy.errors import OperationOwnerLost
from tests.fake.clock import FakeClock
from tests.fake.killed import Killed
from tests.integration.tenancy.workshop import PATIENCE, PLAN, Workshop, raising
from tests.service.wait import wait_until_async


def test_attempt_that_takes_too_long_is_stopped_and_counted(platform_db: Database, clock: FakeClock) -> None:
    async def for_ever(_context: StepContext) -> None:
        await anyio.sleep_forever()

    hasty = replace(PLAN.step("drive"), timeout=timedelta(milliseconds=300))
    steps = tuple(hasty if each.name == hasty.name else each for each in PLAN.steps)
    workshop = Workshop(platform_db, clock, replace(PLAN, steps=steps))
    workshop.behave["drive"] = for_ever
    operation_id = workshop.start()
    workshop.run()
    late = workshop.look(operation_id)
    assert (late.error_code, late.attempts, late.step.name) == ("operation_step_lost", 1, "drive")


def test_step_may_take_longer_than_its_lease_and_nobody_else_begins_it(workshop: Workshop) -> None:
    lease = timedelta(milliseconds=90)
    operation_id = workshop.start()
    begun: list[int] = []

    def was_renewed(before: datetime | None) -> bool:
        return workshop.look(operation_id).lease_until != before

    async def slow(_context: StepContext) -> None:
        for _ in range(4):
            until = workshop.look(operation_id).lease_until
            # Another one asks only after the heartbeat that follows each step of the clock, whatever the disk does.
            workshop.clock.advance(lease * 0.9)
            await wait_until_async(partial(was_renewed, until), "a heartbeat")
            begun.append(await workshop.runner("control-2").run_due())

    workshop.behave["pack"] = slow
    workshop.run(workshop.runner(patience=Patience(lease=lease)))
    assert begun == [0] * 4
    assert workshop.log(operation_id).count("step_started pack") == 1
    assert (workshop.look(operation_id).state, workshop.done) == ("succeeded", list(PLAN.names))


def test_killed_process_is_followed_by_one_of_its_name_that_resumes_at_once(workshop: Workshop) -> None:
    workshop.behave["drive"] = raising(Killed())
    operation_id = workshop.start()
    with pytest.raises(BaseExceptionGroup):
        workshop.run()
    del workshop.behave["drive"]
    assert workshop.run(workshop.runner("control-2")) == 0
    reborn = workshop.runner()
    assert anyio.run(reborn.take_over) == 1
    workshop.run(reborn)
    done = workshop.look(operation_id)
    assert (done.state, workshop.done) == ("succeeded", list(PLAN.names))
    assert [step.attempts for step in done.steps] == [1, 1, 2, 1]


def test_other_runner_takes_over_when_the_lease_of_a_killed_one_has_ended(workshop: Workshop) -> None:
    workshop.behave["drive"] = raising(Killed())
    operation_id = workshop.start()
    with pytest.raises(BaseExceptionGroup):
        workshop.run()
    del workshop.behave["drive"]
    other = workshop.runner("control-2")
    assert anyio.run(other.take_over) == 0
    workshop.clock.advance(PATIENCE.lease)
    workshop.run(other)
    assert workshop.look(operation_id).state == "succeeded"


def test_step_that_kills_its_process_every_time_is_given_up(workshop: Workshop) -> None:
    workshop.behave["pack"] = raising(Killed())
    operation_id = workshop.start()
    for _ in range(PATIENCE.attempts):
        with pytest.raises(BaseExceptionGroup):
            workshop.run()
        workshop.clock.advance(PATIENCE.lease)
    workshop.run()
    lost = workshop.look(operation_id)
    assert (lost.state, lost.error_code) == ("failed", "operation_step_lost")


def test_runner_that_lost_its_lease_changes_nothing_when_it_comes_back(workshop: Workshop) -> None:
    other = workshop.runner("control-2")
    calls: list[str] = []

    async def frozen(context: StepContext) -> None:
        calls.append(str(context.operation.owner))
        if len(calls) == 1:
            workshop.clock.advance(PATIENCE.lease)
            assert await other.run_due() == 1
            with pytest.raises(OperationOwnerLost):
                await context.check_owner()

    workshop.behave["pack"] = frozen
    operation_id = workshop.start()
    assert anyio.run(workshop.runner().run_due) == 1
    after = workshop.look(operation_id)
    assert calls == ["control-1", "control-2"]
    assert (after.step.name, after.steps[0].attempts, after.owner) == ("look_round", 2, None)
    assert workshop.log(operation_id).count("step_done pack") == 1


def test_sweeper_moves_a_leased_operation_past_its_deadline_and_undo_waits_for_the_lease(
    workshop: Workshop,
) -> None:
    workshop.behave["drive"] = raising(Killed())
    operation_id = workshop.start()
    with pytest.raises(BaseExceptionGroup):
        workshop.run(workshop.runner(patience=Patience(lease=timedelta(hours=3))))
    workshop.clock.advance(PLAN.deadline)
    assert workshop.sweeper.sweep() == 1
    late = workshop.look(operation_id)
    assert (late.state, late.error_code, late.owner) == ("failed", "operation_deadline_passed", "control-1")
    workshop.clock.advance(PLAN.grace)
    workshop.sweeper.sweep()
    other = workshop.runner("control-2")
    assert workshop.run(other) == 0
    assert workshop.look(operation_id).state == "recovering"
    workshop.clock.advance(timedelta(hours=2))
    workshop.run(other)
    assert workshop.look(operation_id).state == "recovered"


def test_stuck_step_does_not_hold_up_other_operations_and_is_given_back_at_the_end(
    workshop: Workshop,
) -> None:
    stuck = workshop.start("house_0")

    async def hang(context: StepContext) -> None:
        if context.object_id == "house_0":
            await anyio.sleep_forever()

    workshop.behave["pack"] = hang
    others = [workshop.start(f"house_{n}") for n in range(1, 4)]

    async def serve() -> None:
        stop = asyncio.Event()
        serving = asyncio.create_task(workshop.runner().run(stop))
        await wait_until_async(
            lambda: all(workshop.look(each).state == "succeeded" for each in others), "the others to end"
        )
        assert workshop.look(stuck).step.state == "running"
        stop.set()
        await serving

    asyncio.run(serve())
    given_back = workshop.look(stuck)
    assert (given_back.owner, given_back.attempts, given_back.step.state) == (None, 0, "pending")
    assert given_back.due_at <= workshop.clock.now()


def test_two_runners_at_once_carry_each_step_out_once(workshop: Workshop) -> None:
    operations = [workshop.start(f"house_{n}") for n in range(6)]

    async def both() -> None:
        stop = asyncio.Event()
        serving = [
            asyncio.create_task(workshop.runner(f"control-{n}").run(stop), name=f"control-{n}")
            for n in (1, 2)
        ]
        await wait_until_async(lambda: all(workshop.look(each).finished for each in operations), "all to end")
        stop.set()
        await asyncio.gather(*serving)

    asyncio.run(both())
    assert sorted(workshop.done) == sorted(list(PLAN.names) * 6)
    for operation_id in operations:
        assert workshop.look(operation_id).state == "succeeded"
        workshop.log(operation_id)


def test_outcome_that_cannot_be_stored_is_done_again_after_the_lease(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = workshop.start()
    run_tx, broken = workshop.db.run_tx, threading.Event()

    def unreliable(*args: object, **more: object) -> object:
        if broken.is_set():
            raise DatabaseUnavailable("gone")
        return run_tx(*args, **more)  # type: ignore[arg-type]

    async def lose_database(_context: StepContext) -> None:
        broken.set()

    monkeypatch.setattr(workshop.db, "run_tx", unreliable)
    workshop.behave["pack"] = lose_database
    assert workshop.run() == 1
    broken.clear()
    del workshop.behave["pack"]
    assert workshop.run() == 0
    workshop.clock.advance(PATIENCE.lease)
    workshop.run()
    done = workshop.look(operation_id)
    assert (done.state, done.steps[0].attempts) == ("succeeded", 2)

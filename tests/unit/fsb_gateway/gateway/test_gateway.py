"""Jobs in the gateway: what comes back, what joins what, what is refused and what ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.core.clock import SystemClock
from fsb_gateway import (
    BoxQueueFull,
    FileMalformed,
    FirmCodeNotOwned,
    FirmKeyMissing,
    FsbUnavailable,
    JobCancelled,
    JobDeadlinePassed,
    JobIdReused,
    JobMalformed,
    JobPending,
    JobRunning,
    JobUnknown,
    PoolUnknown,
    PoolWithoutBox,
    ProgrammingResult,
)
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, add_item, make_job, make_steps
from tests.unit.fsb_gateway.gateway.stage import LONG, NOW, Stage, play


@pytest.fixture
def stage(tmp_path: Path, clock: FakeClock) -> Stage:
    return Stage(tmp_path, clock)


def test_update_comes_back_and_is_counted(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(answer=lambda job: True)
        result = await stage.gateway.program(make_job(), wait=LONG)
        assert isinstance(result, ProgrammingResult)
        assert (result.job_id, result.box, result.operations) == ("trf_1", "box-1", 1)
        (report,) = stage.gateway.boxes()
        assert (report.jobs_done, report.condition, report.running) == (1, "ready", 0)
        (pool,) = stage.gateway.pools()
        assert (pool.jobs_done, pool.operations_done, pool.jobs_failed) == (1, 1, 0)
        assert box.given == ["trf_1"]

    play(stage, body)


def test_repeated_job_gets_the_first_update_also_after_its_deadline(stage: Stage, clock: FakeClock) -> None:
    async def body() -> None:
        await stage.add("box-0", keys={})
        box = await stage.add(answer=lambda job: True)
        first = await stage.gateway.program(make_job(), wait=LONG)
        clock.advance(timedelta(days=1))
        assert await stage.gateway.program(make_job(), wait=NOW) == first
        assert await stage.gateway.find("trf_1") == first
        assert box.given == ["trf_1"]

    play(stage, body)


def test_job_repeated_while_it_runs_joins_it(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add()
        first = asyncio.create_task(stage.gateway.program(make_job(), wait=LONG))
        await stage.at_work(box, "trf_1")
        pending = await stage.send("trf_1")
        assert isinstance(pending, JobPending)
        assert (pending.state, pending.position) == ("running", 0)
        second = asyncio.create_task(stage.gateway.program(make_job(), wait=LONG))
        await asyncio.sleep(0)
        box.finish()
        assert await first == await second
        assert box.given == ["trf_1"]

    play(stage, body)


def test_same_id_with_other_content_is_refused_running_and_done(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add()
        await stage.send("trf_1")
        await stage.at_work(box, "trf_1")
        with pytest.raises(JobIdReused):
            await stage.send("trf_1", base_fuc=5)
        box.finish()
        await stage.result("trf_1")
        with pytest.raises(JobIdReused):
            await stage.send("trf_1", base_fuc=5)
        assert box.given == ["trf_1"]

    play(stage, body)


def test_job_that_waits_knows_its_place_and_is_served_in_turn(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(answer=lambda job: job.job_id == "trf_0")
        await stage.send("trf_0")
        await stage.result("trf_0")
        for number in range(1, 13):
            await stage.send(f"trf_{number}")
        places = [await stage.pending(f"trf_{number}") for number in range(1, 13)]
        assert [place.position for place in places] == list(range(12))
        assert [place.expected_wait for place in places] == sorted(place.expected_wait for place in places)
        assert all(timedelta(0) < place.expected_wait <= place.expected_wait_p95 for place in places)
        assert {place.others_share for place in places} == {0.0}
        assert {place.reason for place in places} == {None}
        box.answer = lambda job: True
        while box.at_work:
            box.finish()
        assert isinstance(await stage.result("trf_12"), ProgrammingResult)
        assert box.given == [f"trf_{number}" for number in range(13)]

    play(stage, body)


def test_place_says_how_much_of_the_wait_is_others_work(stage: Stage) -> None:
    async def body() -> None:
        await stage.add(keys={FIRM_CODE: "ins_1", 7: "ins_2"}, operation_time=timedelta(seconds=1))
        for number in range(12):
            await stage.send(f"own_{number}")
            await stage.send(f"foreign_{number}", instance_id="ins_2", firm_code=7)
        place = await stage.pending("own_11")
        assert place.position in {22, 23}
        assert 0.4 < place.others_share < 0.6
        report = stage.gateway.queue("ins_1")
        assert (report.pool, report.waiting + report.running) == ("shared", 12)
        assert 0.4 < report.others_share < 0.6
        assert [job.job_id for job in report.jobs] == [f"own_{number}" for number in range(12)]
        assert [job.position for job in report.jobs] == sorted(job.position for job in report.jobs)
        assert report.expected_wait_seconds > 0

    play(stage, body)


def test_queue_of_an_instance_is_bounded_and_says_when_to_come_back(tmp_path: Path, clock: FakeClock) -> None:
    stage = Stage(tmp_path, clock, queue_limit=2)

    async def body() -> None:
        await stage.add(keys={FIRM_CODE: "ins_1", 7: "ins_2"}, state="journal_damaged")
        await stage.send("trf_1")
        await stage.send("trf_2")
        with pytest.raises(BoxQueueFull) as caught:
            await stage.send("trf_3")
        assert caught.value.detail["limit"] == 2
        assert float(str(caught.value.detail["expected_wait_seconds"])) > 0
        with pytest.raises(JobUnknown):
            await stage.gateway.find("trf_3")
        assert isinstance(await stage.send("trf_4", instance_id="ins_2", firm_code=7), JobPending)

    play(stage, body)


def test_job_past_its_deadline_is_dropped_and_nothing_is_programmed(stage: Stage, clock: FakeClock) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=timedelta(milliseconds=50))
        for number in range(1, 5):
            await stage.send(f"trf_{number}")
        await stage.at_work(box, "trf_1", "trf_2")
        clock.advance(timedelta(hours=1))
        for _ in range(2):
            with pytest.raises(JobDeadlinePassed):
                await stage.gateway.find("trf_3")
        box.finish("trf_1")
        assert isinstance(await stage.result("trf_1"), ProgrammingResult), "what has begun is finished"
        with pytest.raises(JobDeadlinePassed):
            await stage.gateway.find("trf_4")
        with pytest.raises(JobDeadlinePassed):
            await stage.send("trf_5")
        assert box.given == ["trf_1", "trf_2"]
        box.finish("trf_2")
        box.answer = lambda job: True
        later = make_job("trf_3", deadline_at=clock.now() + timedelta(hours=1))
        assert isinstance(await stage.gateway.program(later, wait=LONG), ProgrammingResult)

    play(stage, body)


def test_deadline_of_a_job_that_nobody_asks_for_fires_by_itself(tmp_path: Path) -> None:
    clock = SystemClock()
    stage = Stage(tmp_path, clock)

    async def body() -> None:
        await stage.add(state="journal_damaged")
        deadline = clock.now() + timedelta(milliseconds=150)
        waiting = asyncio.create_task(stage.gateway.program(make_job(deadline_at=deadline), wait=LONG))
        await stage.until(lambda: stage.gateway.pools()[0].jobs_failed == 1, "the deadline to fire")
        with pytest.raises(JobDeadlinePassed):
            await waiting
        assert clock.now() - deadline < timedelta(seconds=1)

    play(stage, body)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"pool": "elsewhere"}, PoolUnknown),
        ({"instance_id": "ins_2"}, FirmCodeNotOwned),
        ({"firm_code": FIRM_CODE + 1}, FirmKeyMissing),
        ({"steps": ()}, JobMalformed),
        ({"weight": 0}, JobMalformed),
    ],
    ids=["pool", "instance", "firm code", "steps", "weight"],
)
def test_refused_job_leaves_nothing_behind(
    stage: Stage, changes: dict[str, Any], refusal: type[Exception]
) -> None:
    async def body() -> None:
        box = await stage.add(answer=lambda job: True)
        with pytest.raises(refusal):
            await stage.send("trf_1", **changes)
        assert box.given == []
        assert isinstance(await stage.gateway.program(make_job(), wait=LONG), ProgrammingResult)

    play(stage, body)


def test_job_that_a_box_refuses_ends_and_tells_nothing_against_the_box(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(answer=lambda job: FileMalformed("no key for the container"))
        for number in range(4):
            with pytest.raises(FileMalformed):
                await stage.gateway.program(make_job(f"trf_{number}"), wait=LONG)
        assert box.given == [f"trf_{number}" for number in range(4)]
        (report,) = stage.gateway.boxes()
        assert (report.condition, report.consecutive_failures) == ("ready", 0)

    play(stage, body)


def test_cancelled_job_is_told_to_whoever_waits_and_can_be_sent_again(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=timedelta(milliseconds=50))
        for number in (1, 2):
            await stage.send(f"trf_{number}")
        waiting = asyncio.create_task(stage.gateway.program(make_job("trf_3"), wait=LONG))
        await stage.at_work(box, "trf_1", "trf_2")
        await stage.gateway.cancel("trf_3")
        with pytest.raises(JobCancelled):
            await waiting
        with pytest.raises(JobCancelled):
            await stage.gateway.find("trf_3")
        for job_id in ("trf_1", "trf_2"):
            with pytest.raises(JobRunning):
                await stage.gateway.cancel(job_id)
        with pytest.raises(JobUnknown):
            await stage.gateway.cancel("trf_9")
        box.finish("trf_1")
        await stage.result("trf_1")
        with pytest.raises(JobRunning):
            await stage.gateway.cancel("trf_1")
        assert isinstance(await stage.send("trf_3"), JobPending)

    play(stage, body)


def test_closing_finishes_what_runs_and_refuses_what_waits(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=timedelta(milliseconds=50))
        first = asyncio.create_task(stage.gateway.program(make_job("trf_1"), wait=LONG))
        await stage.at_work(box, "trf_1")
        await stage.send("trf_2")
        second = asyncio.create_task(stage.gateway.program(make_job("trf_3"), wait=LONG))
        await stage.at_work(box, "trf_1", "trf_2")
        await stage.gateway.close()
        with pytest.raises(PoolWithoutBox):
            await second
        assert isinstance(await first, ProgrammingResult)
        await stage.gateway.close()
        with pytest.raises(FsbUnavailable):
            await stage.send("trf_4")

    play(stage, body)


def test_several_operations_for_one_container_are_one_run(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(answer=lambda job: True)
        steps = make_steps(0, (add_item("lic_1"), add_item("lic_2")), (add_item("lic_3"),))
        result = await stage.gateway.program(make_job(steps=steps), wait=LONG)
        assert isinstance(result, ProgrammingResult)
        assert (result.operations, box.given) == (3, ["trf_1"])
        assert stage.gateway.pools()[0].operations_done == 3

    play(stage, body)


def test_batch_lets_the_interactive_jobs_of_its_instance_pass(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=timedelta(milliseconds=50))
        await stage.send("first")
        await stage.send("second")
        await stage.at_work(box, "first", "second")
        await stage.send("batch", priority="batch")
        await stage.send("now")
        box.finish()
        await stage.at_work(box, "second", "now")

    play(stage, body)


def test_unfinished_job_says_how_long_others_have_kept_it_waiting(stage: Stage, clock: FakeClock) -> None:
    async def body() -> None:
        box = await stage.add(keys={FIRM_CODE: INSTANCE, 7: "ins_2"}, operation_time=timedelta(seconds=1))
        await stage.send("other", instance_id="ins_2", firm_code=7)
        await stage.at_work(box, "other")
        await stage.send("trf_1")
        clock.advance(timedelta(seconds=20))
        pending = await stage.pending("trf_1")
        assert 20 <= pending.waited.total_seconds() < 30
        assert pending.waited - pending.caused_by_others < timedelta(milliseconds=1)
        box.finish()
        await stage.at_work(box, "trf_1")
        (job,) = stage.gateway.queue(INSTANCE).jobs
        clock.advance(timedelta(seconds=20))
        running = await stage.pending("trf_1")
        assert running.state == "running"
        assert 20 <= running.caused_by_others.total_seconds() <= running.waited.total_seconds() < 30
        assert (job.waited_seconds, job.caused_by_others_seconds) == (
            running.waited.total_seconds(),
            running.caused_by_others.total_seconds(),
        )

    play(stage, body)

"""Boxes that fail, stop or go away while they have jobs: nothing is lost, and nobody else pays for it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from fsb_gateway import (
    BoxBusy,
    FsbError,
    FsbUnavailable,
    JobDeadlinePassed,
    JobPending,
    JobRunning,
    ProgrammingJob,
    ProgrammingResult,
)
from fsb_gateway.engine.journal import Journal
from fsb_gateway.error import (
    BoxDisconnected,
    BoxJournalUnwritable,
    BoxOccupied,
    BoxPowerLost,
    BoxTimedOut,
    UpdateTooLarge,
)
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, make_job
from tests.unit.fsb_gateway.gateway.stage import LONG, Stage, play

SLOW = timedelta(seconds=1)
# A box of this pace is given its next job while it works.
STEADY = timedelta(milliseconds=50)
HOUR = timedelta(hours=1)


@pytest.fixture
def stage(tmp_path: Path, clock: FakeClock) -> Stage:
    return Stage(tmp_path, clock)


def occupied(job: ProgrammingJob) -> FsbError | bool:
    return BoxOccupied("busy with something else")


def poisoned(job: ProgrammingJob) -> FsbError | bool:
    return BoxTimedOut("this one hangs") if job.job_id.startswith("poison") else True


def test_job_that_failed_goes_straight_to_another_box(stage: Stage) -> None:
    async def body() -> None:
        one = await stage.add("box-1", answer=occupied)
        two = await stage.add("box-2", answer=lambda job: True)
        result = await stage.gateway.program(make_job(), wait=LONG)
        assert isinstance(result, ProgrammingResult)
        assert (result.box, one.given, two.given) == ("box-2", ["trf_1"], ["trf_1"])
        report = stage.gateway.boxes()[0]
        assert (report.error, report.failures, report.consecutive_failures) == (
            "box_occupied",
            {"box_occupied": 1},
            1,
        )

    play(stage, body)


def test_box_that_fails_repeatedly_is_taken_out_and_its_jobs_go_to_the_other(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        one = await stage.add("box-1", answer=occupied)
        two = await stage.add("box-2", answer=lambda job: True)
        for number in range(8):
            result = await stage.gateway.program(make_job(f"trf_{number}"), wait=LONG)
            assert isinstance(result, ProgrammingResult)
        assert (len(one.given), len(two.given)) == (3, 8)
        report = stage.gateway.boxes()[0]
        assert (report.condition, report.consecutive_failures) == ("out", 3)
        assert report.retry_at is not None
        assert SLOW < report.retry_at - clock.now() <= 5 * SLOW
        one.answer = lambda job: True
        clock.advance(5 * SLOW)
        two.go_away()
        assert isinstance(await stage.gateway.program(make_job("trf_9"), wait=LONG), ProgrammingResult)
        assert (one.given[-1], stage.gateway.boxes()[0].condition) == ("trf_9", "ready")

    play(stage, body)


def test_only_box_is_tried_again_when_its_time_has_come_and_the_job_waits_for_it(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        box = await stage.add(answer=occupied)
        await stage.send("trf_1")
        await stage.until(lambda: stage.gateway.boxes()[0].condition == "out", "the box to be taken out")
        assert box.given == ["trf_1"] * 3
        pending = await stage.pending("trf_1")
        assert (pending.state, pending.reason) == ("waiting", "box_occupied")
        assert 4 * SLOW < pending.expected_wait <= 6 * SLOW
        clock.advance(6 * SLOW)
        await stage.until(lambda: len(box.given) == 4, "one more try")
        await stage.until(lambda: not stage.gateway.boxes()[0].running, "it to fail")
        pending = await stage.pending("trf_1")
        assert 9 * SLOW < pending.expected_wait <= 11 * SLOW
        box.answer = lambda job: True
        clock.advance(11 * SLOW)
        assert isinstance(await stage.result("trf_1"), ProgrammingResult)
        assert stage.gateway.boxes()[0].condition == "ready"

    play(stage, body)


@pytest.mark.parametrize("boxes", [1, 2, 3])
def test_poison_job_takes_no_box_from_the_others(stage: Stage, clock: FakeClock, boxes: int) -> None:
    async def body() -> None:
        for number in range(boxes):
            await stage.add(f"box-{number}", keys={FIRM_CODE: INSTANCE, 7: "ins_2"}, answer=poisoned)
        for round_ in range(12):
            if not round_:
                await stage.send("poison")
            for number in range(5):
                job = make_job(f"trf_{round_}_{number}", instance_id="ins_2", firm_code=7)
                assert isinstance(await stage.gateway.program(job, wait=LONG), ProgrammingResult)
            assert {box.condition for box in stage.gateway.boxes()} == {"ready"}
            clock.advance(6 * SLOW)
        tries = sum(box.given.count("poison") for box in stage.boxes.values())
        assert 5 <= tries <= 12, "tried again, and not all the time"
        pending = await stage.pending("poison")
        assert (pending.state, pending.reason) == ("waiting", "box_timed_out")
        clock.advance(HOUR)
        with pytest.raises(JobDeadlinePassed):
            await stage.gateway.find("poison")

    play(stage, body)


def test_job_lets_others_prove_a_box_that_it_alone_has_put_out(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(keys={FIRM_CODE: INSTANCE, 7: "ins_2"}, answer=poisoned)
        await stage.send("poison")
        await stage.until(lambda: stage.gateway.boxes()[0].condition == "out", "the box to be taken out")
        job = make_job("trf_1", instance_id="ins_2", firm_code=7)
        assert isinstance(await stage.gateway.program(job, wait=LONG), ProgrammingResult)
        assert (stage.gateway.boxes()[0].condition, box.given) == ("ready", ["poison"] * 3 + ["trf_1"])

    play(stage, body)


def test_box_whose_disk_fills_up_gives_its_job_to_the_other_and_keeps_its_good_name(stage: Stage) -> None:
    async def body() -> None:
        one = await stage.add("box-1", operation_time=SLOW)
        two = await stage.add("box-2", operation_time=SLOW)
        await stage.send("trf_1")
        await stage.at_work(one, "trf_1")
        one.become("journal_unwritable")
        one.fail(BoxJournalUnwritable("the disk is full"))
        await stage.at_work(two, "trf_1")
        two.finish()
        assert (await stage.result("trf_1")).box == "box-2"
        report = stage.gateway.boxes()[0]
        assert (report.condition, report.consecutive_failures) == ("journal_unwritable", 0)

    play(stage, body)


def test_unforeseen_error_in_a_box_is_its_failure(stage: Stage) -> None:
    async def body() -> None:
        one = await stage.add("box-1", operation_time=SLOW)
        await stage.add("box-2", answer=lambda job: True)
        await stage.send("trf_1")
        await stage.at_work(one, "trf_1")
        one.fail(RuntimeError("the dongle was pulled out"))
        assert (await stage.result("trf_1")).box == "box-2"
        assert stage.gateway.boxes()[0].failures == {"box_failed": 1}

    play(stage, body)


def test_job_whose_box_went_away_is_unknown_until_the_box_says_that_it_was_done(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=STEADY)
        await stage.send("trf_1")
        await stage.send("trf_2")
        await stage.at_work(box, "trf_1", "trf_2")
        box.go_away(recording=["trf_1"])
        await stage.until(lambda: stage.gateway.pools()[0].unknown == 2, "the jobs to be unknown")
        pending = await stage.pending("trf_1")
        assert (pending.state, pending.reason) == ("unknown", "box_disconnected")
        assert stage.gateway.queue(INSTANCE).unknown == 2
        with pytest.raises(JobRunning):
            await stage.gateway.cancel("trf_1")
        with pytest.raises(BoxBusy):
            await stage.gateway.remove_box("box-1")
        box.come_back()
        assert (await stage.result("trf_1")).update == "update of trf_1 by box-1"
        await stage.at_work(box, "trf_2")
        assert box.given == ["trf_1", "trf_2", "trf_2"]
        assert stage.gateway.boxes()[0].consecutive_failures == 1, "it went away once"

    play(stage, body)


def test_other_box_takes_over_when_the_first_stays_away(stage: Stage, clock: FakeClock) -> None:
    async def body() -> None:
        one = await stage.add("box-1", operation_time=SLOW)
        two = await stage.add("box-2", operation_time=SLOW)
        await stage.send("trf_1")
        await stage.at_work(one, "trf_1")
        one.go_away()
        await stage.until(lambda: stage.gateway.pools()[0].unknown == 1, "the job to be unknown")
        await stage.send("trf_2")
        await stage.at_work(two, "trf_2")
        two.finish()
        await stage.result("trf_2")
        assert two.given == ["trf_2"]
        clock.advance(10 * SLOW)
        await stage.at_work(two, "trf_1")
        assert (await stage.pending("trf_1")).state == "running"
        two.finish()
        assert (await stage.result("trf_1")).box == "box-2"
        one.come_back()
        assert isinstance(await stage.send("trf_3"), JobPending)
        await stage.gateway.remove_box("box-2")

    play(stage, body)


def test_first_result_counts_when_the_lost_box_is_back_with_one_while_another_works(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        one = await stage.add("box-1", operation_time=SLOW)
        two = await stage.add("box-2", operation_time=SLOW)
        await stage.send("trf_1")
        await stage.at_work(one, "trf_1")
        one.go_away(recording=["trf_1"])
        await stage.until(lambda: stage.gateway.pools()[0].unknown == 1, "the job to be unknown")
        clock.advance(10 * SLOW)
        await stage.at_work(two, "trf_1")
        one.come_back()
        assert (await stage.result("trf_1")).box == "box-1"
        two.finish()
        await stage.until(lambda: not stage.gateway.boxes()[1].running, "the second box to be done")
        assert stage.gateway.pools()[0].jobs_done == 1

    play(stage, body)


def test_deadline_says_nothing_of_a_job_that_may_have_been_programmed(stage: Stage, clock: FakeClock) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=STEADY)
        await stage.send("done")
        await stage.send("lost")
        await stage.at_work(box, "done", "lost")
        box.go_away(recording=["done"])
        await stage.until(lambda: stage.gateway.pools()[0].unknown == 2, "the jobs to be unknown")
        clock.advance(HOUR)
        for job_id in ("done", "lost"):
            assert (await stage.pending(job_id)).state == "unknown"
            again = await stage.send(job_id)
            assert isinstance(again, JobPending)
        box.come_back()
        assert isinstance(await stage.result("done"), ProgrammingResult)
        with pytest.raises(JobDeadlinePassed):
            await stage.gateway.find("lost", wait=LONG)
        assert box.given == ["done", "lost"]

    play(stage, body)


def test_job_in_doubt_that_waits_for_another_box_is_unknown_also_past_its_deadline(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        one = await stage.add("box-1", operation_time=STEADY)
        await stage.send("trf_1")
        await stage.at_work(one, "trf_1")
        two = await stage.add("box-2", operation_time=STEADY)
        one.go_away()
        await stage.until(lambda: stage.gateway.pools()[0].unknown == 1, "the job to be unknown")
        for number in (2, 3):
            await stage.send(f"trf_{number}")
        await stage.at_work(two, "trf_2", "trf_3")
        clock.advance(10 * SLOW)
        await stage.until(lambda: stage.gateway.pools()[0].waiting == 1, "the job to wait for the other box")
        assert (await stage.pending("trf_1")).state == "unknown"
        with pytest.raises(JobRunning):
            await stage.gateway.cancel("trf_1")
        clock.advance(HOUR)
        assert (await stage.pending("trf_1")).state == "unknown"
        two.finish()
        two.finish()
        one.come_back()
        with pytest.raises(JobDeadlinePassed):
            await stage.gateway.find("trf_1", wait=LONG)
        assert (one.recalled, two.given) == (["trf_1"], ["trf_2", "trf_3"])

    play(stage, body)


def test_job_that_nobody_can_tell_of_is_forgotten_long_after_its_deadline(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=SLOW)
        await stage.send("trf_1")
        await stage.at_work(box, "trf_1")
        box.go_away()
        await stage.until(lambda: stage.gateway.pools()[0].unknown == 1, "the job to be unknown")
        clock.advance(2 * HOUR)
        await stage.until(lambda: not stage.gateway.pools()[0].unknown, "it to be forgotten")
        with pytest.raises(FsbUnavailable):
            await stage.gateway.find("trf_1")
        await stage.gateway.remove_box("box-1")

    play(stage, body)


def test_box_that_lost_its_power_for_a_moment_is_asked_at_once(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=SLOW)
        await stage.send("trf_1")
        await stage.at_work(box, "trf_1")
        box.fail(BoxPowerLost("gone and back"))
        await stage.until(lambda: box.recalled == ["trf_1"], "the box to be asked")
        await stage.at_work(box, "trf_1")
        box.finish()
        assert isinstance(await stage.result("trf_1"), ProgrammingResult)

    play(stage, body)


def test_box_without_its_journal_is_not_asked_what_it_did(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=SLOW)
        await stage.send("trf_1")
        await stage.at_work(box, "trf_1")
        box.go_away()
        await stage.until(lambda: stage.gateway.pools()[0].unknown == 1, "the job to be unknown")
        box.become("journal_damaged")
        await asyncio.sleep(0)
        assert (box.recalled, (await stage.pending("trf_1")).state) == ([], "unknown")
        box.come_back()
        await stage.at_work(box, "trf_1")

    play(stage, body)


def test_job_that_ends_its_box_each_time_is_not_tried_all_the_time(stage: Stage, clock: FakeClock) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=SLOW)
        await stage.send("poison")
        for _ in range(3):
            await stage.at_work(box, "poison")
            box.go_away()
            await stage.until(lambda: stage.gateway.pools()[0].unknown == 1, "the job to be unknown")
            box.come_back()
            await stage.until(lambda: not stage.gateway.pools()[0].unknown, "the box to be asked")
        pending = await stage.pending("poison")
        assert (pending.state, box.given) == ("waiting", ["poison"] * 3)
        assert pending.expected_wait > 4 * SLOW

    play(stage, body)


def test_recorded_job_of_a_box_that_went_away_is_unknown_and_not_done_anew_at_once(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        one = await stage.add("box-1", answer=lambda job: True)
        first = await stage.gateway.program(make_job(), wait=LONG)
        two = await stage.add("box-2", answer=lambda job: True)
        one.go_away()
        pending = await stage.send("trf_1")
        assert isinstance(pending, JobPending)
        assert (pending.state, two.given) == ("unknown", [])
        one.come_back()
        assert await stage.result("trf_1") == first

    play(stage, body)


def test_gateway_that_starts_anew_waits_for_a_job_that_its_box_is_still_doing(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=SLOW)
        doing = asyncio.create_task(box.program(make_job(), "ignored"))
        await stage.at_work(box, "trf_1")
        pending = await stage.gateway.find("trf_1")
        assert isinstance(pending, JobPending)
        assert (pending.state, pending.position) == ("running", 0)
        waiting = asyncio.create_task(stage.gateway.find("trf_1", wait=LONG))
        await asyncio.sleep(0)
        box.finish()
        assert await waiting == await doing

    play(stage, body)


def test_job_that_two_boxes_have_done_is_found_in_one_while_the_other_is_away(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        one = await stage.add("box-1", operation_time=SLOW)
        two = await stage.add("box-2", operation_time=SLOW)
        await stage.send("trf_1")
        await stage.at_work(one, "trf_1")
        one.go_away(recording=["trf_1"])
        await stage.until(lambda: stage.gateway.pools()[0].unknown == 1, "the job to be unknown")
        clock.advance(10 * SLOW)
        await stage.at_work(two, "trf_1")
        two.finish()
        result = await stage.result("trf_1")
        assert (result.box, one.has_recorded("trf_1")) == ("box-2", True)
        assert await stage.gateway.find("trf_1") == result
        assert await stage.send("trf_1") == result
        two.go_away()
        with pytest.raises(FsbUnavailable):
            await stage.gateway.find("trf_1")

    play(stage, body)


def test_box_that_is_gone_for_good_takes_its_doubts_with_it_even_if_its_files_stay(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=SLOW)
        await stage.send("trf_1")
        await stage.at_work(box, "trf_1")
        box.go_away()
        await stage.until(lambda: stage.gateway.pools()[0].unknown == 1, "the job to be unknown")
        clock.advance(HOUR)
        used = Journal(stage.folder / "journals" / "box-1.journal", clock=clock)
        with pytest.raises(BoxJournalUnwritable):
            await stage.gateway.remove_box("box-1")
        used.close()
        with pytest.raises(BoxDisconnected):
            await stage.gateway.find("trf_1")
        await stage.gateway.remove_box("box-1")

    play(stage, body)


def test_refused_job_is_no_failure_of_its_box(stage: Stage) -> None:
    async def body() -> None:
        await stage.add(answer=lambda job: UpdateTooLarge("too much"))
        with pytest.raises(UpdateTooLarge):
            await stage.gateway.program(make_job(), wait=LONG)
        report = stage.gateway.boxes()[0]
        assert (report.failures, report.error, report.consecutive_failures) == ({}, None, 0)

    play(stage, body)

"""Forecasts rest on the boxes that can do the job, and every answer agrees with itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from fsb_gateway import (
    BoxQueueFull,
    FirmKeyMissing,
    InstanceQueueReport,
    JobPending,
    PoolReport,
)
from fsb_gateway.error import BoxDisconnected
from tests.fake.clock import START, FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, add_item, make_job, make_steps
from tests.unit.fsb_gateway.gateway.stage import Stage, play

# No box gets a job in reserve at this pace, and a guess stays far from what a test measures.
SLOW = timedelta(seconds=1)
HOUR_SECONDS = 3600.0
OTHER = "ins_2"


@pytest.fixture
def stage(tmp_path: Path, clock: FakeClock) -> Stage:
    return Stage(tmp_path, clock)


def own_queue(stage: Stage) -> InstanceQueueReport:
    """Where the instance stands; checked to agree with itself, as every answer must."""
    report = stage.gateway.queue(INSTANCE, pool="shared")
    waiting = [job for job in report.jobs if job.state == "waiting"]
    if report.reason is not None:
        assert {job.reason for job in waiting} <= {report.reason}
    for job in waiting:
        assert report.expected_wait_seconds >= job.expected_wait_seconds
        assert report.expected_wait_p95_seconds >= job.expected_wait_p95_seconds
    return report


def pool_named(stage: Stage, name: str) -> PoolReport:
    return next(pool for pool in stage.gateway.pools() if pool.name == name)


async def send_own(stage: Stage, count: int, **changes: Any) -> None:
    for number in range(count):
        await stage.send(f"trf_{number}", **changes)


async def drain(stage: Stage, box: str) -> None:
    await stage.gateway.ensure_box(replace(stage.boxes[box].spec, drained=True))


def test_box_without_the_key_shortens_no_wait(stage: Stage) -> None:
    async def body() -> None:
        with_key = await stage.add("own-1", "own", owner=INSTANCE, operation_time=SLOW)
        await stage.add("own-2", "own", owner=INSTANCE, keys={}, operation_time=SLOW)
        await send_own(stage, 8, pool="own")
        await stage.at_work(with_key, "trf_0")
        report = own_queue(stage)
        assert (report.reason, report.position) == (None, 8)
        assert report.expected_wait_seconds == pytest.approx(9.0)
        assert [job.expected_wait_seconds for job in report.jobs] == pytest.approx([1, 2, 3, 4, 5, 6, 7, 8])
        pool = pool_named(stage, "own")
        assert (pool.ready_boxes, pool.reason, pool.without_key) == (2, None, ("own-2",))
        stage.boxes["own-2"].take_key(FIRM_CODE)
        assert pool_named(stage, "own").without_key == ()
        assert own_queue(stage).expected_wait_seconds == pytest.approx(5.0)

    play(stage, body)


def test_own_pool_foretells_a_job_of_its_owner_as_his_queue_does(stage: Stage) -> None:
    async def body() -> None:
        for name in ("own-1", "own-2"):
            await stage.add(name, "own", owner=INSTANCE, operation_time=SLOW)
        await send_own(stage, 9, pool="own")
        pool, report = pool_named(stage, "own"), own_queue(stage)
        assert pool.expected_wait_seconds == report.expected_wait_seconds == pytest.approx(5.5)
        assert pool.expected_wait_p95_seconds == report.expected_wait_p95_seconds
        for box in stage.boxes:
            await drain(stage, box)
        pool, report = pool_named(stage, "own"), own_queue(stage)
        assert pool.expected_wait_seconds == report.expected_wait_seconds

    play(stage, body)


def test_shared_pool_foretells_a_newcomer_who_waits_less_than_the_one_with_many_jobs(stage: Stage) -> None:
    async def body() -> None:
        await stage.add(operation_time=SLOW)
        await send_own(stage, 9)
        assert pool_named(stage, "shared").expected_wait_seconds == pytest.approx(2.0, abs=1.001)
        assert own_queue(stage).expected_wait_seconds == pytest.approx(10.0)

    play(stage, body)


def test_instance_whose_boxes_do_not_work_is_told_why_though_others_work(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add("own-1", "own", owner=INSTANCE, operation_time=SLOW)
        await stage.add("own-2", "own", owner=INSTANCE, keys={}, operation_time=SLOW)
        await send_own(stage, 3, pool="own")
        await drain(stage, "own-1")
        report = own_queue(stage)
        assert (report.reason, report.waiting) == ("pool_drained", 2)
        assert report.expected_wait_seconds >= HOUR_SECONDS
        assert pool_named(stage, "own").reason == "pool_drained"
        await stage.gateway.ensure_box(replace(box.spec, drained=False))
        box.become("token_absent")
        report = own_queue(stage)
        assert (report.reason, pool_named(stage, "own").reason) == ("token_absent", "token_absent")
        assert 5 <= report.expected_wait_seconds < 20, "it looks again by itself"

    play(stage, body)


def test_instance_without_a_key_here_is_told_what_its_job_would_be_refused_for(stage: Stage) -> None:
    async def body() -> None:
        await stage.add("box-1", keys={7: OTHER}, operation_time=SLOW)
        with pytest.raises(FirmKeyMissing):
            await stage.send("trf_1")
        report = own_queue(stage)
        assert (report.reason, report.expected_wait_seconds >= HOUR_SECONDS) == ("firm_key_missing", True)
        assert stage.gateway.queue(OTHER, pool="shared").reason is None
        assert pool_named(stage, "shared").reason is None

    play(stage, body)


def test_instance_whose_box_is_lent_waits_for_the_end_of_the_loan_also_beside_a_box_without_its_key(
    stage: Stage,
) -> None:
    async def body() -> None:
        box = await stage.add("box-1", operation_time=SLOW)
        await stage.add("box-2", keys={8: "ins_3"}, operation_time=SLOW)
        await stage.add("own-1", "own", owner=OTHER, keys={7: OTHER})
        until = START + timedelta(minutes=10)
        await stage.gateway.ensure_box(replace(box.spec, lent_to="own", lent_until=until))
        pending = await stage.send("trf_1")
        assert isinstance(pending, JobPending)
        report = own_queue(stage)
        assert (pending.reason, report.reason) == ("pool_without_box", "pool_without_box")
        assert 600 <= pending.expected_wait.total_seconds() <= report.expected_wait_seconds < 610
        assert pool_named(stage, "own").without_key == ("box-1",), "it was lent without the borrower's key"
        assert pool_named(stage, "shared").without_key == ("box-2",), "it cannot stand in for the lent one"
        await drain(stage, "box-2")
        other = stage.gateway.queue("ins_3", pool="shared")
        assert (other.reason, other.expected_wait_seconds >= HOUR_SECONDS) == ("pool_drained", True), (
            "the lent box will not help it"
        )

    play(stage, body)


def test_box_of_a_shared_pool_that_lacks_a_key_of_it_is_named(stage: Stage) -> None:
    async def body() -> None:
        await stage.add("box-1", keys={FIRM_CODE: INSTANCE, 7: OTHER})
        two = await stage.add("box-2")
        assert pool_named(stage, "shared").without_key == ("box-2",)
        two.take_key(7, OTHER)
        assert pool_named(stage, "shared").without_key == ()
        await stage.add("own-1", "own", owner="ins_3", keys={8: "ins_3"})
        two.take_key(8, "ins_3")
        assert pool_named(stage, "shared").without_key == (), "who has a pool of his own needs no key here"

    play(stage, body)


def test_jobs_that_only_another_box_can_do_are_in_nobodys_way(stage: Stage) -> None:
    async def body() -> None:
        await stage.add("box-1", operation_time=SLOW)
        theirs = await stage.add("box-2", keys={7: OTHER}, operation_time=SLOW)
        for number in range(12):
            await stage.send(f"other_{number}", instance_id=OTHER, firm_code=7)
        await stage.at_work(theirs, "other_0")
        report = own_queue(stage)
        assert (report.position, report.others_share) == (0, 0.0)
        assert report.expected_wait_seconds == pytest.approx(1.0)
        await send_own(stage, 3)
        report = own_queue(stage)
        assert [job.position for job in report.jobs] == [0, 1, 2]
        assert (report.position, report.others_share) == (3, 0.0)
        assert report.expected_wait_seconds == pytest.approx(4.0)

    play(stage, body)


def test_new_job_is_not_expected_before_a_long_one_of_its_instance(stage: Stage) -> None:
    async def body() -> None:
        for name in ("box-1", "box-2"):
            await stage.add(name, operation_time=SLOW)
        await send_own(stage, 4)
        many = tuple(add_item(f"lic_{number}") for number in range(10))
        await stage.send("trf_long", steps=make_steps(0, many))
        assert own_queue(stage).jobs[-1].operations == 10

    play(stage, body)


def test_waiting_batch_jobs_and_their_share_do_not_hold_up_a_new_interactive_one(stage: Stage) -> None:
    async def body() -> None:
        await stage.add(operation_time=SLOW)
        for number in range(6):
            await stage.send(f"mass_{number}", priority="batch")
        report = stage.gateway.queue(INSTANCE)
        assert report.expected_wait_seconds < report.jobs[-1].expected_wait_seconds

    play(stage, body)


def test_heavy_instance_is_foretold_by_its_own_weight(stage: Stage) -> None:
    async def body() -> None:
        await stage.add(keys={FIRM_CODE: INSTANCE, 7: OTHER}, operation_time=SLOW)
        for number in range(20):
            await stage.send(f"other_{number}", instance_id=OTHER, firm_code=7)
        await send_own(stage, 8, weight=4)
        report = own_queue(stage)
        last = report.jobs[-1]
        assert last.position < report.position <= last.position + 2

    play(stage, body)


def test_instance_with_several_firm_codes_is_told_of_the_one_that_is_served(stage: Stage) -> None:
    async def body() -> None:
        await stage.add("box-1", operation_time=SLOW)
        await stage.add("box-2", keys={7: INSTANCE}, state="token_pin_wrong", operation_time=SLOW)
        pending = await stage.send("trf_7", firm_code=7)
        assert isinstance(pending, JobPending)
        report = stage.gateway.queue(INSTANCE)
        assert (pending.reason, report.reason) == ("token_pin_wrong", None)
        assert report.expected_wait_seconds < 3

    play(stage, body)


def test_box_whose_last_transactions_are_spoken_for_does_not_count(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(transactions="pay_per_use", transactions_loaded=2, operation_time=SLOW)
        box.transactions_left = 2
        assert own_queue(stage).reason is None
        await stage.send("trf_1", steps=make_steps(0, (add_item("lic_1"), add_item("lic_2"))))
        await stage.at_work(box, "trf_1")
        pending = await stage.send("trf_2")
        assert isinstance(pending, JobPending)
        assert (pending.reason, own_queue(stage).reason) == ("transactions_exhausted",) * 2

    play(stage, body)


def test_changed_pace_is_foretold_at_once_and_the_old_one_forgotten(stage: Stage, clock: FakeClock) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=SLOW)
        for number in range(3):
            await stage.send(f"old_{number}")
            await stage.at_work(box, f"old_{number}")
            clock.advance(SLOW)
            box.finish()
            await stage.result(f"old_{number}")
        assert own_queue(stage).expected_wait_seconds == pytest.approx(1.0, rel=0.2)
        await stage.send("between")
        await stage.at_work(box, "between")
        await stage.gateway.ensure_box(replace(box.spec, operation_time=timedelta(seconds=30)))
        assert own_queue(stage).expected_wait_seconds == pytest.approx(60.0)
        clock.advance(SLOW)
        box.finish()
        await stage.result("between")
        pool = pool_named(stage, "shared")
        assert pool.expected_wait_seconds == pytest.approx(30.0)
        assert pool.operation_seconds is None
        await stage.send("after")
        await stage.at_work(box, "after")
        clock.advance(timedelta(seconds=33))
        box.finish()
        await stage.result("after")
        assert own_queue(stage).expected_wait_seconds == pytest.approx(33.0, rel=0.1)
        assert stage.gateway.service_times()["shared"].operations == 4, "what is counted goes on"

    play(stage, body)


def test_boxes_of_unlike_pace_are_foretold_by_their_mean_and_other_changes_forget_nothing(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        one = await stage.add("box-1", operation_time=SLOW)
        await stage.add("box-2", operation_time=SLOW)
        await stage.gateway.ensure_box(replace(one.spec, operation_time=3 * SLOW))
        assert own_queue(stage).expected_wait_seconds == pytest.approx(2.0)
        await stage.send("trf_1")
        await stage.at_work(one, "trf_1")
        clock.advance(8 * SLOW)
        one.finish()
        await stage.result("trf_1")
        await stage.gateway.ensure_box(replace(one.spec, jitter=0.5))
        assert own_queue(stage).expected_wait_seconds == pytest.approx(8.0, rel=0.2)

    play(stage, body)


def test_full_queue_names_the_wait_at_the_new_pace(tmp_path: Path, clock: FakeClock) -> None:
    stage = Stage(tmp_path, clock, queue_limit=1)

    async def body() -> None:
        box = await stage.add(operation_time=SLOW)
        await stage.send("trf_1")
        await stage.at_work(box, "trf_1")
        await stage.send("trf_2")
        for pace, expected in ((SLOW, 3.0), (9 * SLOW, 27.0)):
            await stage.gateway.ensure_box(replace(box.spec, operation_time=pace))
            with pytest.raises(BoxQueueFull) as caught:
                await stage.send("trf_3")
            assert caught.value.detail["expected_wait_seconds"] == pytest.approx(expected)

    play(stage, body)


def test_drained_pool_says_why_and_at_least_an_hour_for_as_long_as_nobody_knows(stage: Stage) -> None:
    async def body() -> None:
        await stage.add(operation_time=SLOW)
        await send_own(stage, 3)
        await drain(stage, "box-1")
        report, pool = own_queue(stage), pool_named(stage, "shared")
        assert (report.reason, pool.reason) == ("pool_drained", "pool_drained")
        assert min(report.expected_wait_seconds, pool.expected_wait_seconds) >= HOUR_SECONDS
        left = (make_job().deadline_at - START).total_seconds()
        assert all(job.expected_wait_seconds <= left + 10 for job in report.jobs), (
            "a job waits until its deadline"
        )

    play(stage, body)


def test_unknown_jobs_are_told_apart_for_the_pool_and_for_each_instance(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=SLOW)
        await send_own(stage, 2)
        await stage.at_work(box, "trf_0")
        box.go_away()
        await stage.until(lambda: stage.gateway.pools()[0].unknown, "the job to be unknown")
        pool = pool_named(stage, "shared")
        (share,) = pool.instances
        assert (pool.waiting, pool.running, pool.unknown) == (1, 0, 1)
        assert (share.waiting, share.running, share.unknown) == (1, 0, 1)

    play(stage, body)


def test_retired_key_that_a_box_still_holds_counts_for_nothing(stage: Stage) -> None:
    async def body() -> None:
        for name in ("box-1", "box-2"):
            await stage.add(name, keys={})
        await stage.gateway.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")
        assert own_queue(stage).reason is None
        stage.boxes["box-2"].go_away()
        with pytest.raises(BoxDisconnected):
            await stage.gateway.retire_firm_key(FIRM_CODE)
        stage.boxes["box-2"].come_back()
        assert own_queue(stage).reason == "firm_key_missing"
        assert pool_named(stage, "shared").without_key == ()
        with pytest.raises(FirmKeyMissing):
            await stage.send("trf_1")

    play(stage, body)


class Turmoil:
    """Three boxes with some of three instances' keys each, and whatever chance does to them."""

    codes: ClassVar = {FIRM_CODE: INSTANCE, 7: OTHER, 8: "ins_3"}

    def __init__(self, stage: Stage, clock: FakeClock, *, seed: int) -> None:
        self.stage = stage
        self.clock = clock
        self.chance = Random(seed)
        self.urgent: set[str] = set()

    async def set_up(self) -> None:
        for number in range(3):
            held = {code for code in self.codes if number == 0 or self.chance.random() < 0.6}
            keys = {code: self.codes[code] for code in held}
            await self.stage.add(f"box-{number}", keys=keys, operation_time=(number + 1) * SLOW)

    async def go_on(self, number: int) -> None:
        if self.chance.random() < 0.6:
            await self.send(f"trf_{number}")
            return
        name = self.chance.choice(list(self.stage.boxes))
        box = self.stage.boxes[name]
        if self.chance.random() < 0.7:
            self.clock.advance(self.chance.random() * SLOW)
            if box.at_work:
                await self.stage.result(box.finish())
        elif name != "box-0":
            await self.stage.gateway.ensure_box(replace(box.spec, drained=not box.spec.drained))

    async def send(self, job_id: str) -> None:
        code, cost = self.chance.choice(list(self.codes)), self.chance.choice((1, 1, 4))
        priority = self.chance.choice(("interactive", "batch"))
        if priority == "interactive":
            self.urgent.add(job_id)
        steps = make_steps(0, tuple(add_item(f"lic_{each}") for each in range(cost)))
        owner, weight = self.codes[code], code % 3 + 1
        await self.stage.send(
            job_id, firm_code=code, instance_id=owner, steps=steps, priority=priority, weight=weight
        )

    def check(self) -> None:
        for instance in self.codes.values():
            report = self.stage.gateway.queue(instance, pool="shared")
            waiting = [job for job in report.jobs if job.state == "waiting"]
            assert {job.reason for job in waiting} <= {report.reason}
            for last in [job for job in waiting if job.job_id in self.urgent][-1:]:
                assert report.expected_wait_seconds >= last.expected_wait_seconds
                assert report.expected_wait_p95_seconds >= last.expected_wait_p95_seconds


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_each_answer_agrees_with_itself(stage: Stage, clock: FakeClock, seed: int) -> None:
    turmoil = Turmoil(stage, clock, seed=seed)

    async def body() -> None:
        await turmoil.set_up()
        for number in range(60):
            await turmoil.go_on(number)
            turmoil.check()

    play(stage, body)

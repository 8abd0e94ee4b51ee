"""Which box gets which job, and when."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from fsb_gateway import (
    JobPending,
)
from fsb_gateway.gateway import overview
from fsb_gateway.gateway.outlook import Outlook
from fsb_gateway.gateway.pool import Entry
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, add_item, make_job, make_steps
from tests.unit.fsb_gateway.gateway.stage import LONG, Stage, play

HOUR = timedelta(hours=1)
SLOW = timedelta(seconds=1)
STEADY = timedelta(milliseconds=400)
# Within the last 5 ms of its work.
RESERVE = timedelta(milliseconds=4)


@pytest.fixture
def stage(tmp_path: Path, clock: FakeClock) -> Stage:
    return Stage(tmp_path, clock)


def test_two_boxes_share_the_jobs_and_an_idle_one_never_waits_for_staged_work(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        one = await stage.add("box-1", operation_time=STEADY)
        two = await stage.add("box-2", operation_time=STEADY)
        for number in range(3):
            await stage.send(f"trf_{number}")
        await stage.at_work(one, "trf_0")
        await stage.at_work(two, "trf_1")
        one.finish()
        await stage.at_work(one, "trf_2")
        for number in range(3, 6):
            await stage.send(f"trf_{number}")
        assert (len(one.at_work), len(two.at_work)) == (1, 1)
        clock.advance(STEADY - RESERVE)
        # Three wait for two boxes: the first two are staged, one for each box.
        await stage.until(lambda: len(one.at_work) + len(two.at_work) == 4, "both to have a job in reserve")
        assert (len(one.at_work), len(two.at_work)) == (2, 2)
        assert stage.gateway.pools()[0].waiting == 1

    play(stage, body)


def test_jobs_of_one_instance_spread_over_its_boxes(stage: Stage) -> None:
    async def body() -> None:
        boxes = [
            await stage.add(f"box-{number}", "own", owner=INSTANCE, answer=lambda job: True)
            for number in range(3)
        ]
        for number in range(9):
            await stage.gateway.program(make_job(f"trf_{number}", pool="own"), wait=LONG)
        assert [len(box.given) for box in boxes] == [3, 3, 3]

    play(stage, body)


@pytest.mark.parametrize(("microseconds", "reserve"), [(100, 8), (1000, 5), (5000, 1)])
def test_box_has_5_ms_of_work_in_reserve_and_8_jobs_at_most(
    stage: Stage, microseconds: int, reserve: int
) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=timedelta(microseconds=microseconds))
        for number in range(20):
            await stage.send(f"trf_{number}")
        await stage.at_work(box, *(f"trf_{number}" for number in range(1 + reserve)))

    play(stage, body)


@pytest.mark.parametrize("operations", [1, 3])
def test_slow_box_gets_its_next_job_5_ms_before_it_is_done_and_until_then_the_order_is_open(
    stage: Stage, clock: FakeClock, operations: int
) -> None:
    async def body() -> None:
        box = await stage.add(operation_time=SLOW, keys={FIRM_CODE: INSTANCE, 7: "ins_2"})
        steps = tuple(add_item(f"lic_{number}") for number in range(operations))
        await stage.send("trf_0", steps=make_steps(0, steps))
        await stage.at_work(box, "trf_0")
        for number in range(1, 4):
            await stage.send(f"trf_{number}")
        clock.advance(SLOW * operations - STEADY)
        late = await stage.send("late", instance_id="ins_2", firm_code=7)
        assert isinstance(late, JobPending)
        assert tuple(box.at_work) == ("trf_0",)
        await stage.at_work(box, "trf_0", "late")
        box.finish()
        await stage.send("trf_4")
        assert tuple(box.at_work) == ("late",)

    play(stage, body)


def test_no_job_is_staged_behind_a_long_one_which_the_next_box_may_outrun(stage: Stage) -> None:
    async def body() -> None:
        pace = timedelta(milliseconds=20)
        one = await stage.add("box-1", operation_time=pace)
        two = await stage.add("box-2", operation_time=pace)
        many = tuple(add_item(f"lic_{number}") for number in range(1000))
        await stage.send("long", steps=make_steps(0, many))
        for number in range(5):
            await stage.send(f"trf_{number}")
        for _ in range(5):
            await stage.until(lambda: two.at_work, "the other box to have the next one")
            two.finish()
        await stage.result("trf_4")
        assert (one.given, len(two.given)) == (["long"], 5)

    play(stage, body)


def test_boxes_come_in_between_when_many_are_told_at_once_where_they_stand(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe, turn, told_in = overview.describe_job, 0, []

    def note_turn(outlook: Outlook, entry: Entry) -> JobPending:
        told_in.append(turn)
        return describe(outlook, entry)

    async def count_turns() -> None:
        nonlocal turn
        while len(told_in) < 50:
            turn += 1
            await asyncio.sleep(0)

    async def body() -> None:
        await stage.add()
        monkeypatch.setattr(overview, "describe_job", note_turn)
        await asyncio.gather(count_turns(), *(stage.send(f"trf_{number}") for number in range(50)))
        assert sorted(set(told_in)) == told_in

    play(stage, body)


def test_job_only_goes_to_a_box_with_its_key(stage: Stage, clock: FakeClock) -> None:
    async def body() -> None:
        one = await stage.add("box-1", keys={7: "ins_2"}, operation_time=STEADY)
        two = await stage.add("box-2", keys={FIRM_CODE: INSTANCE}, operation_time=STEADY)
        for number in range(4):
            await stage.send(f"trf_{number}")
        clock.advance(STEADY - RESERVE)
        await stage.until(
            lambda: len(two.at_work) == 2, "a job in reserve beside the idle box without the key"
        )
        assert (one.given, stage.gateway.pools()[0].waiting) == ([], 2)
        one.take_key(FIRM_CODE)
        await stage.at_work(one, "trf_2")

    play(stage, body)


def test_key_bound_to_another_instance_in_one_box_is_not_used_for_the_job(stage: Stage) -> None:
    async def body() -> None:
        one = await stage.add("box-1", keys={FIRM_CODE: "ins_2"}, answer=lambda job: True)
        two = await stage.add("box-2", answer=lambda job: True)
        for number in range(3):
            await stage.gateway.program(make_job(f"trf_{number}"), wait=LONG)
        assert (one.given, len(two.given)) == ([], 3)

    play(stage, body)

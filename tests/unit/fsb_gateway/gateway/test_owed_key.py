"""Firm keys and boxes that are away: what one misses it gets when it is back, and what is retired signs no more."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from fsb_gateway import (
    FirmKeyMissing,
    FirmKeyReport,
    FsbUnavailable,
    JobPending,
    ProgrammingResult,
)
from fsb_gateway.error import BoxDisconnected, BoxOccupied, TokenAbsent
from tests.fake.box import FakeBox
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, make_job
from tests.unit.fsb_gateway.gateway.stage import LONG, Stage, play

SLOW = timedelta(seconds=1)
HELD = (FIRM_CODE,)


@pytest.fixture
def stage(tmp_path: Path, clock: FakeClock) -> Stage:
    return Stage(tmp_path, clock)


async def add(stage: Stage, name: str) -> FakeBox:
    """A box without keys that does everything at once."""
    return await stage.add(name, keys={}, answer=lambda job: True)


async def install(stage: Stage) -> FirmKeyReport:
    return await stage.gateway.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")


async def report(stage: Stage) -> FirmKeyReport:
    (found,) = await stage.gateway.firm_keys()
    return found


async def delivered(stage: Stage, box: FakeBox) -> None:
    await stage.until(lambda: box.status().firm_codes == HELD, f"{box.spec.name} to get the key")


def test_key_is_installed_while_a_box_is_dead_which_gets_it_and_jobs_when_it_is_back(stage: Stage) -> None:
    async def body() -> None:
        one, two = await add(stage, "box-1"), await add(stage, "box-2")
        one.go_away()
        first = await install(stage)
        assert (first.boxes, first.owed) == (("box-2",), ("box-1",))
        assert isinstance(await stage.gateway.program(make_job("trf_1"), wait=LONG), ProgrammingResult)
        one.come_back()
        await delivered(stage, one)
        now = await report(stage)
        assert (now.boxes, now.owed, now.key_id) == (("box-1", "box-2"), (), first.key_id)
        two.go_away()
        result = await stage.gateway.program(make_job("trf_2"), wait=LONG)
        assert isinstance(result, ProgrammingResult)
        assert result.box == "box-1"

    play(stage, body)


def test_box_gets_what_it_is_owed_also_from_the_next_gateway(stage: Stage, clock: FakeClock) -> None:
    kept: list[FakeBox] = []

    async def first() -> None:
        one, two = await add(stage, "box-1"), await add(stage, "box-2")
        one.go_away()
        await install(stage)
        kept.extend((one, two))

    play(stage, first)
    again = Stage(stage.folder, clock)
    again.options = {name: {"keys": {}} for name in ("box-1", "box-2")}

    async def second() -> None:
        await again.gateway.start()
        one, two = again.boxes["box-1"], again.boxes["box-2"]
        assert one.status().firm_codes == ()
        two.inherit(kept[1])
        await delivered(again, one)
        assert (await report(again)).owed == ()

    play(again, second)


@pytest.mark.parametrize("trouble", ["out", "token", "silent"])
def test_box_in_trouble_keeps_nobody_from_a_key_and_gets_it_later(
    stage: Stage, clock: FakeClock, trouble: str
) -> None:
    async def body() -> None:
        one, _ = await add(stage, "box-1"), await add(stage, "box-2")
        if trouble == "out":
            one.take_key(7, "ins_2")
            one.answer = lambda job: BoxOccupied("busy")
            await stage.send("trf_9", instance_id="ins_2", firm_code=7)
            await stage.until(lambda: stage.gateway.boxes()[0].condition == "out", "it to be taken out")
        if trouble == "token":
            one.become("token_absent")
        one.key_trouble = TokenAbsent("pulled out")
        first = await install(stage)
        assert (first.boxes, first.owed) == (("box-2",), ("box-1",))
        one.key_trouble = None
        one.come_back()
        clock.advance(5 * SLOW)
        await stage.until(lambda: FIRM_CODE in one.status().firm_codes, "box-1 to get the key")

    play(stage, body)


def test_delivery_that_fails_is_tried_again_until_the_box_with_the_key_is_back(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        one, two = await add(stage, "box-1"), await add(stage, "box-2")
        one.go_away()
        await install(stage)
        two.key_trouble = TokenAbsent("pulled out")
        one.come_back()
        for _ in range(3):
            clock.advance(60 * SLOW)
            assert (await report(stage)).owed == ("box-1",)
        two.key_trouble = None
        clock.advance(60 * SLOW)
        await delivered(stage, one)

    play(stage, body)


def test_pool_whose_boxes_are_all_away_gets_no_key(stage: Stage) -> None:
    async def body() -> None:
        one, two = await add(stage, "box-1"), await add(stage, "box-2")
        for box in (one, two):
            box.go_away()
        with pytest.raises(BoxDisconnected):
            await install(stage)
        two.come_back()
        assert (await install(stage)).boxes == ("box-2",)

    play(stage, body)


def test_box_that_fails_over_a_new_key_lets_another_one_make_it(stage: Stage) -> None:
    async def body() -> None:
        one, two = await add(stage, "box-1"), await add(stage, "box-2")
        one.key_trouble = TokenAbsent("pulled out")
        assert (await install(stage)).boxes == ("box-2",)
        two.key_trouble = TokenAbsent("pulled out")
        with pytest.raises(FsbUnavailable):
            await install(stage)

    play(stage, body)


def test_dropped_removed_and_retired_are_owed_no_more(stage: Stage) -> None:
    async def body() -> None:
        boxes = [await add(stage, f"box-{number}") for number in range(1, 5)]
        for box in boxes[1:]:
            box.go_away()
        assert (await install(stage)).owed == ("box-2", "box-3", "box-4")
        boxes[1].key_trouble = TokenAbsent("pulled out")
        boxes[1].come_back()
        await stage.gateway.drop_firm_key(FIRM_CODE, box="box-2")
        await stage.gateway.remove_box("box-3")
        assert (await report(stage)).owed == ("box-4",)
        boxes[3].come_back()
        await delivered(stage, boxes[3])
        boxes[1].key_trouble = None
        boxes[3].go_away()
        with pytest.raises(BoxDisconnected):
            await stage.gateway.retire_firm_key(FIRM_CODE)
        boxes[3].come_back()
        retired = await stage.gateway.retire_firm_key(FIRM_CODE)
        assert (retired.owed, [box.status().firm_codes for box in boxes]) == ((), [(), (), (), ()])

    play(stage, body)


def test_nobody_is_owed_a_retired_key(stage: Stage) -> None:
    async def body() -> None:
        one, _ = await add(stage, "box-1"), await add(stage, "box-2")
        one.go_away()
        await install(stage)
        assert (await stage.gateway.retire_firm_key(FIRM_CODE)).owed == ()
        one.come_back()
        # Whatever is due is begun when a box is put.
        await stage.gateway.ensure_box(one.spec)
        assert (await report(stage)).boxes == ()

    play(stage, body)


def test_retired_key_signs_nothing_for_jobs_that_wait_for_a_box_that_is_away(stage: Stage) -> None:
    async def body() -> None:
        box = await add(stage, "box-1")
        await install(stage)
        box.go_away()
        assert isinstance(await stage.send("trf_1"), JobPending)
        with pytest.raises(BoxDisconnected):
            await stage.gateway.retire_firm_key(FIRM_CODE)
        for _ in range(2):
            with pytest.raises(FirmKeyMissing):
                await stage.gateway.find("trf_1")
            box.come_back()
        assert (box.given, box.status().firm_codes) == ([], HELD)
        assert stage.gateway.pools()[0].waiting == 0

    play(stage, body)


def test_job_in_doubt_is_not_taken_over_with_a_retired_key_and_fails_when_its_box_has_not_done_it(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        one = await stage.add("box-1", keys={})
        two = await add(stage, "box-2")
        await install(stage)
        two.go_away()
        await stage.send("lost")
        await stage.at_work(one, "lost")
        one.go_away()
        await stage.until(lambda: stage.gateway.pools()[0].unknown, "the job to be unknown")
        with pytest.raises(BoxDisconnected):
            await stage.gateway.retire_firm_key(FIRM_CODE)
        two.come_back()
        clock.advance(10 * SLOW)
        # Whatever is due is done when a box is put.
        await stage.gateway.ensure_box(two.spec)
        assert (await stage.pending("lost")).state == "unknown"
        one.come_back()
        with pytest.raises(FirmKeyMissing):
            await stage.gateway.find("lost", wait=LONG)
        assert (one.given, two.given) == (["lost"], [])

    play(stage, body)

"""A gateway that starts: with the boxes of last time, from whom it hears first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fsb_gateway import ProgrammingResult
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import make_job
from tests.unit.fsb_gateway.gateway.stage import LONG, Stage, play

SLOW = timedelta(seconds=1)


@pytest.fixture
def stage(tmp_path: Path, clock: FakeClock) -> Stage:
    return Stage(tmp_path, clock)


def test_gateway_that_starts_anew_brings_its_boxes_up_by_itself(stage: Stage, clock: FakeClock) -> None:
    async def first() -> None:
        await stage.add("box-1", operation_time=SLOW, drained=True)
        await stage.add("own-1", "own", owner="ins_2", transactions="pay_per_use", transactions_loaded=9)
        await stage.add("box-9", "own", owner="ins_2")
        await stage.gateway.remove_box("box-9")

    play(stage, first)
    (stage.folder / "box" / "broken.json").write_bytes(b'{"pool"')
    again = Stage(stage.folder, clock)

    async def second() -> None:
        await again.gateway.start()
        specs = {name: box.spec for name, box in again.boxes.items()}
        assert specs == {name: box.spec for name, box in stage.boxes.items() if name != "box-9"}
        assert {pool.name: pool.owner for pool in again.gateway.pools()} == {"shared": None, "own": "ins_2"}

    play(again, second)


def test_no_job_is_given_before_the_boxes_of_last_time_were_heard(stage: Stage, clock: FakeClock) -> None:
    done: dict[str, Any] = {}

    async def first() -> None:
        one = await stage.add("box-1", answer=lambda job: True)
        await stage.add("box-2", keys={})
        done["result"] = await stage.gateway.program(make_job(), wait=LONG)
        done["records"] = one.records

    play(stage, first)
    again = Stage(stage.folder, clock)
    again.options = {name: {"answer": lambda job: True} for name in ("box-1", "box-2")}
    again.options["box-1"]["state"] = "starting"

    async def second() -> None:
        starting = asyncio.create_task(again.gateway.start())
        await again.until(lambda: len(again.boxes) == 2, "the boxes to be made")
        await again.send("trf_2")
        again.boxes["box-1"].records = done["records"]
        assert again.boxes["box-2"].given == []
        again.boxes["box-1"].come_back()
        await starting
        assert await again.gateway.program(make_job(), wait=LONG) == done["result"]
        await again.result("trf_2")
        assert sorted(job for box in again.boxes.values() for job in box.given) == ["trf_2"]

    play(again, second)


def test_box_that_does_not_come_is_not_waited_for_longer_than_two_seconds(
    stage: Stage, clock: FakeClock
) -> None:
    async def first() -> None:
        await stage.add("box-1")
        await stage.add("box-2")

    play(stage, first)
    again = Stage(stage.folder, clock)
    again.options = {"box-1": {"state": "starting"}, "box-2": {"answer": lambda job: True}}

    async def second() -> None:
        begun = clock.monotonic()
        await again.gateway.start()
        assert 2 <= clock.monotonic() - begun < 10
        assert isinstance(await again.gateway.program(make_job(), wait=LONG), ProgrammingResult)

    play(again, second)


def test_version_of_what_was_put_last_is_reported_and_outlives_the_gateway(
    stage: Stage, clock: FakeClock
) -> None:
    async def first() -> None:
        box = await stage.add("box-1", version=3)
        await stage.gateway.ensure_box(replace(box.spec, version=2))

    play(stage, first)
    again = Stage(stage.folder, clock)

    async def second() -> None:
        await again.gateway.start()
        (found,) = again.gateway.boxes()
        assert found.version == 2, "control sees that something old was put late"

    play(again, second)

"""A box whose process stands still: noticed by its silence, whatever it was doing. One that only takes long is not."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.process import Supervised
from fsb_gateway.error import BoxDisconnected
from fsb_gateway.process import pulse
from fsb_gateway.process.box_link import BoxLink
from tests.service.box import SECONDS, BoxHouse, becomes, becomes_ready, key_binding
from tests.unit.fsb_gateway.factory import box_spec, make_job

BEAT = 0.2
LONG = replace(box_spec(), operation_time=timedelta(seconds=60))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BoxHouse:
    """Silence of one second is enough here; without it, nothing below would come to pass before half a minute."""
    monkeypatch.setattr(pulse, "_BEAT_SECONDS", BEAT)
    return BoxHouse(tmp_path)


def freeze(kept: Supervised) -> int:
    assert kept.pid is not None
    os.kill(kept.pid, signal.SIGSTOP)
    return kept.pid


async def is_replaced(box: BoxLink, kept: Supervised, frozen: int) -> None:
    await becomes_ready(box)
    assert kept.pid not in (None, frozen)
    assert kept.restarts == 1
    with pytest.raises(ProcessLookupError):
        os.kill(frozen, 0)


def test_idle_box_that_freezes_is_noticed_without_being_asked_for_anything(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (box, kept):
            frozen = freeze(kept)
            async with asyncio.timeout(15):
                await becomes(box, "disconnected")
            await is_replaced(box, kept, frozen)
            await box.program(make_job(), "digest")

    asyncio.run(body())


def test_box_that_freezes_at_work_is_noticed_long_before_its_work_should_be_done(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(LONG) as (box, kept):
            asked = [asyncio.create_task(box.program(make_job(f"trf_{number}"), "d")) for number in range(2)]
            await asyncio.sleep(0)
            assert await box.recall("no-such-job") is None, "it has read what was sent before"
            frozen = freeze(kept)
            async with asyncio.timeout(15):
                answers = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(answer) for answer in answers] == [BoxDisconnected, BoxDisconnected]
            await is_replaced(box, kept, frozen)
            assert await box.recall("trf_0", "d") is None

    asyncio.run(body())


def test_key_that_a_frozen_box_should_make_is_not_waited_for(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (box, kept):
            frozen = freeze(kept)
            async with asyncio.timeout(15):
                with pytest.raises(BoxDisconnected):
                    await box.generate_key(key_binding("key-2"))
            await is_replaced(box, kept, frozen)
            assert await box.generate_key(key_binding("key-2"))

    asyncio.run(body())


def test_long_operation_does_not_look_frozen(house: BoxHouse) -> None:
    async def body() -> None:
        spec = replace(LONG, operation_time=timedelta(seconds=4))
        async with house.at_work(spec) as (box, kept):
            pid = kept.pid
            async with asyncio.timeout(SECONDS):
                asked = asyncio.create_task(box.program(make_job(), "digest"))
                made = asyncio.create_task(box.generate_key(key_binding("key-2")))
                assert (await asked).job_id == "trf_1"
                assert await made
            assert (kept.pid, kept.restarts) == (pid, 0)
            assert box.status().jobs_done == 1

    asyncio.run(body())

"""A box in this process, seen from the event loop while its own threads work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.engine.box_worker import BoxWorker
from fsb_gateway.error import BoxOccupied, JobIdReused, PoolWithoutBox
from tests.fake.box_driver import ScriptedDriver
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, box_spec, journal_path, make_authority, make_job


@asynccontextmanager
async def at_work(
    folder: Path, clock: FakeClock, driver: ScriptedDriver, spec: BoxSpec | None = None
) -> AsyncIterator[BoxWorker]:
    box = BoxWorker(spec or box_spec(), driver.open, journal_path=journal_path(folder), clock=clock)
    async with asyncio.timeout(20):
        await box.opened()
        try:
            yield box
        finally:
            await box.close()


@pytest.fixture
def driver() -> ScriptedDriver:
    return ScriptedDriver(make_authority())


def test_box_is_starting_then_ready_and_listeners_hear_it_on_the_loop(
    tmp_path: Path, clock: FakeClock, driver: ScriptedDriver
) -> None:
    async def body() -> None:
        heard: list[tuple[int, bool]] = []
        box = BoxWorker(box_spec(), driver.open, journal_path=journal_path(tmp_path), clock=clock)
        box.on_change(lambda: heard.append((threading.get_ident(), box.ready)))
        await box.opened()
        assert heard[-1] == (threading.get_ident(), True)
        assert (box.status().state, box.status().firm_codes) == ("ready", (FIRM_CODE,))
        await box.close()
        await asyncio.sleep(0)
        assert (box.ready, box.status().state) == (False, "closed")

    asyncio.run(body())


def test_results_recall_and_refusals_come_back_to_the_loop(
    tmp_path: Path, clock: FakeClock, driver: ScriptedDriver
) -> None:
    async def body() -> None:
        async with at_work(tmp_path, clock, driver) as box:
            jobs = [make_job(f"trf_{number}") for number in range(20)]
            results = await asyncio.gather(*(box.program(job, "digest") for job in jobs))
            assert [result.job_id for result in results] == [job.job_id for job in jobs]
            assert [await box.recall(job.job_id, "digest") for job in jobs] == results
            assert box.has_recorded("trf_3")
            assert await box.recall("trf_99") is None
            with pytest.raises(JobIdReused):
                await box.program(jobs[0], "other")
            with pytest.raises(JobIdReused):
                await box.recall("trf_0", "other")
            driver.script.append(BoxOccupied("busy"))
            with pytest.raises(BoxOccupied):
                await box.program(make_job("trf_busy"), "digest")
            assert box.status().jobs_done == 20
        with pytest.raises(PoolWithoutBox):
            await box.program(make_job("trf_late"), "digest")

    asyncio.run(body())


def test_caller_that_goes_away_leaves_the_job_and_the_box_alone(
    tmp_path: Path, clock: FakeClock, driver: ScriptedDriver
) -> None:
    async def body() -> None:
        async with at_work(tmp_path, clock, driver) as box:
            hold = threading.Event()
            driver.script.append(lambda: None if hold.wait(20) else pytest.fail("never let go"))
            leaving = asyncio.create_task(box.program(make_job(), "digest"))
            await asyncio.to_thread(driver.begun.acquire)
            leaving.cancel()
            asked = asyncio.create_task(box.recall("trf_1"))
            await asyncio.sleep(0)
            hold.set()
            result = await asked
            assert result is not None
            assert result == await box.program(make_job(), "digest")
            assert driver.signed == 1

    asyncio.run(body())


def test_configured_box_keeps_its_new_pace_and_forgets_a_key(
    tmp_path: Path, clock: FakeClock, driver: ScriptedDriver
) -> None:
    async def body() -> None:
        async with at_work(tmp_path, clock, driver) as box:
            slower = replace(box.spec, operation_time=timedelta(milliseconds=15))
            await box.configure(slower)
            assert box.spec == slower
            await box.program(make_job(), "digest")
            assert box.status().busy_seconds >= 0.015
            changes: list[object] = []
            box.on_change(lambda: changes.append(box.slot(FIRM_CODE)))
            await box.forget_key(FIRM_CODE)
            assert box.slot(FIRM_CODE) is None
            assert changes[-1:] == [None]

    asyncio.run(body())

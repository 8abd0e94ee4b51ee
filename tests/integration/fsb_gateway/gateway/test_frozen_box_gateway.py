"""A gateway one of whose box processes is frozen: with the times that hold in earnest."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from fsb_gateway import BoxSpec, FsbClient, ProgrammingJob, ProgrammingResult
from tests.service.gateway import ServedGateway, processes_of
from tests.service.wait import until
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, make_job

CLOCK = SystemClock()
# Five seconds of silence, one more for the beat, and room for a busy machine; it took half a minute and more before.
NOTICED_SECONDS = 15
"""Within this a frozen box is seen to be away."""


def job(number: int) -> ProgrammingJob:
    return make_job(f"trf_{number}", deadline_at=CLOCK.now() + timedelta(hours=1))


async def conditions(control: FsbClient) -> dict[str, str]:
    return {box.name: box.condition for box in await control.boxes()}


@pytest.mark.timeout(180)
def test_frozen_box_is_away_within_seconds_idle_or_at_work_and_its_job_is_done(tmp_path: Path) -> None:
    async def main(gateway: ServedGateway) -> None:
        async with gateway.clients() as (control, line):

            async def box_is(wanted: str) -> bool:
                return (await conditions(control))["box-1"] == wanted

            await control.ensure_box(
                BoxSpec(name="box-1", pool="shared", operation_time=timedelta(seconds=2))
            )
            await until(lambda: box_is("ready"), "the box to be ready")
            await control.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")

            frozen = processes_of(gateway.data_dir)["box-1"]
            os.kill(frozen, signal.SIGSTOP)
            async with asyncio.timeout(NOTICED_SECONDS):
                await until(lambda: box_is("disconnected"), "the idle box to be missed")
            await until(lambda: box_is("ready"), "the box to be started again")
            assert processes_of(gateway.data_dir)["box-1"] != frozen

            asked = asyncio.create_task(line.program(job(1), wait=timedelta(seconds=40)))

            async def is_at_work() -> bool:
                (pool,) = await control.pools()
                return pool.running == 1

            await until(is_at_work, "the job to be given to the box")
            os.kill(processes_of(gateway.data_dir)["box-1"], signal.SIGSTOP)
            async with asyncio.timeout(NOTICED_SECONDS + 10):
                answer = await asked
            assert isinstance(answer, ProgrammingResult)
            assert answer.job_id == "trf_1"

    with ServedGateway(tmp_path / "data") as gateway:
        asyncio.run(main(gateway))

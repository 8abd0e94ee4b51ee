"""The gateway behind a real Unix socket and a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509

from fsb_gateway import (
    FirmCodeNotOwned,
    FsbClient,
    FsbUnavailable,
    Gateway,
    Keystore,
    ProgrammingResult,
    create_gateway_app,
    read_update,
)
from tests.fake.clock import START, FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, box_spec, make_job, p256

LONG = timedelta(seconds=20)


@pytest.fixture
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("fsb") / "s")


@asynccontextmanager
async def serve(folder: Path, clock: FakeClock, socket_path: str) -> AsyncIterator[FsbClient]:
    gateway = Gateway(Keystore(folder / "keys", clock=clock), folder / "boxes", clock=clock)
    config = uvicorn.Config(create_gateway_app(gateway), uds=socket_path, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(
        server._serve()
    )  # without its signal handlers, which belong to the test run
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0)
    client = FsbClient.unix_socket(socket_path)
    try:
        await client.ensure_box(box_spec())
        await client.ensure_firm_key("ins_1", FIRM_CODE, pool="shared")
        yield client
    finally:
        await client.close()
        server.should_exit = True
        await serving


def test_jobs_of_many_callers_and_a_restart(tmp_path: Path, clock: FakeClock, socket_path: str) -> None:
    async def main() -> None:
        jobs = [make_job(f"trf_{number}") for number in range(32)]
        async with serve(tmp_path, clock, socket_path) as client:
            results = await asyncio.gather(*(client.program(job, wait=LONG) for job in jobs + jobs))
            assert results[:32] == results[32:]
            root = x509.load_pem_x509_certificate((await client.root_certificate()).encode())
            with pytest.raises(FirmCodeNotOwned):
                await client.program(make_job("trf_x", instance_id="ins_2"), wait=LONG)
            (box,) = await client.boxes()
            assert box.jobs_done == 32
        async with serve(tmp_path, clock, socket_path) as client:
            again = await asyncio.gather(*(client.program(job, wait=LONG) for job in jobs))
            assert again == results[:32]
            assert (await client.boxes())[0].jobs_done == 0
        for job, result in zip(jobs, again, strict=True):
            assert isinstance(result, ProgrammingResult)
            update = read_update(result.update, p256("container"), root=root, at=START)
            assert update.job_id == job.job_id

    asyncio.run(main())


def test_gateway_that_is_not_there_is_unavailable(socket_path: str) -> None:
    async def main() -> None:
        client = FsbClient.unix_socket(socket_path)
        with pytest.raises(FsbUnavailable):
            await client.program(make_job(), wait=LONG)
        await client.close()

    asyncio.run(main())


def test_gateway_that_hangs_up_is_unavailable(socket_path: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_unix_server(hang_up, socket_path):
            client = FsbClient.unix_socket(socket_path)
            with pytest.raises(FsbUnavailable):
                await client.program(make_job(), wait=LONG)
            await client.close()

    asyncio.run(main())

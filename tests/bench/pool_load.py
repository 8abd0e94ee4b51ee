"""Customers of a pool in a process of their own: some that send as much as they are given, one that floods.

`python -m tests.bench.pool_load SOCKET`: one JSON object a line on standard input, one on standard output.

- `{do: "work", seconds, customers: [{instance, firm_code, pool, clients, planned: [[at, operations], …]}]}`: each of
  the clients sends its next job of one operation when its last is back; what is planned is sent at its time. The answer
  has, for each customer, `[at, seconds, operations]` of every job that was sent within these seconds.
- `{do: "flood", customer, clients}`: so many clients send one job after the other, and come back soon when the queue is
  full, until the next line; the answer to that has `{done, refused}`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop

from fsb_gateway import BoxQueueFull, FsbClient, JobPending, ProgrammingJob
from tests.bench.result import settle_memory
from tests.bench.signed_job import JobMaker

Record = list[tuple[float, float, int]]

_PATIENCE = timedelta(seconds=20)
# Faster than the queue empties, and no attack on the processor that the boxes of this machine share with it.
_COME_BACK_SECONDS = 0.25


class Load:
    """Everything that one process sends."""

    def __init__(self, socket: Path) -> None:
        self._client = FsbClient.unix_socket(socket)

    async def work(self, seconds: float, customers: Iterable[dict[str, Any]]) -> list[Record]:
        """Send what customers have, for so long; wait for all of it."""
        found = []
        async with asyncio.TaskGroup() as group:
            started = time.perf_counter()
            for each in customers:
                record: Record = []
                found.append(record)
                maker = _maker(each)
                for _ in range(each["clients"]):
                    group.create_task(self._loop(maker, record, started, seconds))
                for at, operations in each["planned"]:
                    group.create_task(self._later(maker.make(operations), record, started, at))
        return found

    async def flood(
        self, customer: dict[str, Any], clients: int, stop: asyncio.Future[str]
    ) -> dict[str, int]:
        """Keep the queue full until the future is done; then take back what waits."""
        maker = _maker(customer)
        open_ones: dict[str, ProgrammingJob] = {}
        counts = {"done": 0, "refused": 0}

        async def client() -> None:
            while True:
                job = maker.make()
                open_ones[job.job_id] = job
                try:
                    await self._finish(job)
                except BoxQueueFull:
                    counts["refused"] += 1
                    await asyncio.sleep(_COME_BACK_SECONDS)
                else:
                    counts["done"] += 1
                del open_ones[job.job_id]

        tasks = [asyncio.create_task(client()) for _ in range(clients)]
        ends: list[asyncio.Future[Any]] = [stop, *tasks]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for each in ended:
            if not isinstance(each, asyncio.CancelledError):
                raise RuntimeError("a flooding client gave up") from each
        await asyncio.gather(*map(self._client.cancel, open_ones), return_exceptions=True)
        return counts

    async def _loop(self, maker: JobMaker, record: Record, started: float, seconds: float) -> None:
        while (sent := time.perf_counter()) < started + seconds:
            job = maker.make()
            await self._finish(job)
            record.append((sent - started, time.perf_counter() - sent, job.cost))

    async def _later(self, job: ProgrammingJob, record: Record, started: float, at: float) -> None:
        await asyncio.sleep(started + at - time.perf_counter())
        # What the timer is late is this process's own affair, and no wait of the job's.
        sent = time.perf_counter()
        await self._finish(job)
        record.append((sent - started, time.perf_counter() - sent, job.cost))

    async def _finish(self, job: ProgrammingJob) -> None:
        while isinstance(await self._client.program(job, wait=_PATIENCE), JobPending):
            pass

    async def close(self) -> None:
        """Give connections back."""
        await self._client.close()


def _maker(customer: dict[str, Any]) -> JobMaker:
    return JobMaker(instance=customer["instance"], pool=customer["pool"], firm_code=customer["firm_code"])


async def serve(socket: Path) -> None:
    """Do what the lines say until they end."""
    load, lines = Load(socket), _Lines()
    while line := await lines.next():
        asked = json.loads(line)
        settle_memory()
        if asked["do"] == "work":
            _say(await load.work(asked["seconds"], asked["customers"]))
        else:
            stop = asyncio.ensure_future(lines.next())
            _say(await load.flood(asked["customer"], asked["clients"], stop))
    await load.close()


class _Lines:
    """Lines of standard input, read beside what goes on."""

    async def next(self) -> str:
        return await asyncio.to_thread(sys.stdin.readline)


def _say(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))

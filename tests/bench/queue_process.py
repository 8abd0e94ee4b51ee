"""Worker and clients of a queue, or clients of the gateway, as processes of their own.

`python -m tests.bench.queue_process work SYSTEM SOCKET FOLDER` serves jobs until it is told to stop.
`python -m tests.bench.queue_process call SYSTEM SOCKET`: one JSON object a line on standard input says what to send,
one on standard output what it took: `{clients, jobs}` → `{whole: […], inside: […], wall}`, all in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from fsb_gateway import FsbClient, ProgrammingJob, ProgrammingResult
from tests.bench import queue_arq, queue_celery, queue_rq
from tests.bench.queue_turn import Caller, Turn, send_async
from tests.bench.result import settle_memory
from tests.bench.signed_job import JobMaker

GATEWAY: Final = "gateway"
_PATIENCE = timedelta(seconds=20)
_WORKERS: Mapping[str, Callable[[Path, Path], None]] = {
    "arq": partial(queue_arq.work, tell=False),
    "arq_told": partial(queue_arq.work, tell=True),
    "celery_redis": partial(queue_celery.work, results="redis"),
    "celery_rpc": partial(queue_celery.work, results="rpc"),
    "rq": queue_rq.work,
}
QUEUES: Final = tuple(_WORKERS)
"""Celery with both of its ways to bring results back that Redis has."""


class GatewayCaller:
    """Clients as lines are: through the gateway's client and its socket."""

    def __init__(self, socket: Path) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._client = FsbClient.unix_socket(socket)

    def send(self, jobs: Iterable[ProgrammingJob], clients: int) -> Turn:
        """Have the jobs done by so many clients."""
        return self._runner.run(send_async(jobs, clients, self._send))

    async def _send(self, job: ProgrammingJob) -> str:
        result = await self._client.program(job, wait=_PATIENCE)
        if not isinstance(result, ProgrammingResult):
            raise TypeError(f"job {job.job_id} is not done: {result}")
        return result.update

    def close(self) -> None:
        """Give connections back."""
        self._runner.run(self._client.close())
        self._runner.close()


_CALLERS: Mapping[str, Callable[[Path], Caller]] = {
    GATEWAY: GatewayCaller,
    "arq": queue_arq.ArqCaller,
    "arq_told": queue_arq.ToldArqCaller,
    "celery_redis": partial(queue_celery.CeleryCaller, results="redis"),
    "celery_rpc": partial(queue_celery.CeleryCaller, results="rpc"),
    "rq": queue_rq.RqCaller,
}


def call(system: str, socket: Path) -> None:
    """Serve commands until standard input ends."""
    maker = JobMaker()
    with closing(_CALLERS[system](socket)) as caller:
        for line in sys.stdin:
            asked = json.loads(line)
            jobs = [maker.make() for _ in range(asked["jobs"])]
            settle_memory()
            print(json.dumps(asdict(caller.send(jobs, asked["clients"]))), flush=True)


def main(role: str, system: str, *where: str) -> None:
    """Do what the arguments say."""
    if role == "work":
        socket, folder = where
        _WORKERS[system](Path(socket), Path(folder))
    else:
        call(system, Path(where[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])

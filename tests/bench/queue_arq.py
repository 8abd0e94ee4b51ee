"""arq: one worker, clients in one event loop that look for results, or are told of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.jobs import Job
from arq.worker import Worker, func

from fsb_gateway import ProgrammingJob
from fsb_gateway.wire import encode_job
from tests.bench.queue_turn import Turn, send_async
from tests.bench.signed_job import load_signer

# Found by measuring 0.2 to 10 ms: shorter polling takes the processor from the job, longer polling is waited for.
_POLL_SECONDS = 0.001
_POLL_SECONDS_TOLD = 0.002
# The worker signs one job at a time, whatever this is; meanwhile it fetches the next ones.
_AT_ONCE = 32
_KEEP_SECONDS = 60
_CHANNEL = "done"


def work(socket: Path, folder: Path, *, tell: bool) -> None:
    """Serve jobs until a signal comes.

    Args:
        tell: whether to publish the ids of finished jobs.
    """
    signer = load_signer(folder)

    async def program(ctx: dict[Any, Any], body: bytes) -> tuple[str, float]:
        return signer.program(body)

    async def publish(ctx: dict[Any, Any]) -> None:
        await ctx["redis"].publish(_CHANNEL, ctx["job_id"])

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    Worker(
        [func(program, name="program", keep_result=_KEEP_SECONDS)],
        redis_settings=RedisSettings(unix_socket_path=str(socket)),
        max_jobs=_AT_ONCE,
        poll_delay=_POLL_SECONDS_TOLD if tell else _POLL_SECONDS,
        log_results=False,
        after_job_end=publish if tell else None,
    ).run()


class ArqCaller:
    """Clients that enqueue and look for the result."""

    def __init__(self, socket: Path) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        settings = RedisSettings(unix_socket_path=str(socket))
        self._redis: ArqRedis = self._runner.run(create_pool(settings))

    def send(self, jobs: Iterable[ProgrammingJob], clients: int) -> Turn:
        """Have the jobs done by so many clients."""
        return self._runner.run(send_async(jobs, clients, self._send))

    async def _send(self, job: ProgrammingJob) -> tuple[str, float]:
        queued = await self._redis.enqueue_job("program", encode_job(job), _job_id=job.job_id)
        assert isinstance(queued, Job)
        update, seconds = await queued.result(poll_delay=_POLL_SECONDS)
        return str(update), float(seconds)

    def close(self) -> None:
        """Give connections back."""
        self._runner.run(self._redis.aclose())
        self._runner.close()


class ToldArqCaller(ArqCaller):
    """Clients that enqueue and are told by Redis when the result is there."""

    def __init__(self, socket: Path) -> None:
        super().__init__(socket)
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._listening = self._runner.run(self._listen())

    async def _listen(self) -> asyncio.Task[None]:
        channel = self._redis.pubsub(ignore_subscribe_messages=True)
        await channel.subscribe(_CHANNEL)

        async def hear() -> None:
            async for message in channel.listen():
                waiting = self._waiting.pop(message["data"].decode(), None)
                if waiting is not None:
                    waiting.set_result(None)

        return asyncio.get_running_loop().create_task(hear())

    async def _send(self, job: ProgrammingJob) -> tuple[str, float]:
        done = self._waiting[job.job_id] = asyncio.get_running_loop().create_future()
        queued = await self._redis.enqueue_job("program", encode_job(job), _job_id=job.job_id)
        assert isinstance(queued, Job)
        await done
        found = await queued.result_info()
        assert found is not None
        update, seconds = found.result
        return str(update), float(seconds)

    def close(self) -> None:
        """Give connections back."""
        self._listening.cancel()
        super().close()

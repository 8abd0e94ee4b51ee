"""Celery: one worker, clients in one thread."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Literal

from celery import Celery  # type: ignore[import-untyped]
from celery.result import AsyncResult  # type: ignore[import-untyped]

from fsb_gateway import ProgrammingJob
from fsb_gateway.wire import encode_job
from tests.bench.queue_turn import Turn
from tests.bench.signed_job import load_signer

Results = Literal["redis", "rpc"]
_SECONDS = 60


def make_app(socket: Path, results: Results) -> Celery:
    """Set up for speed: nothing is tracked, acknowledged late, retried or told to anybody."""
    address = f"redis+socket://{socket}"
    app = Celery("bench", broker=address, backend=address if results == "redis" else "rpc://")
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_expires=_SECONDS,
        result_persistent=False,
        task_acks_late=False,
        task_track_started=False,
        task_send_sent_event=False,
        worker_send_task_events=False,
        worker_prefetch_multiplier=32,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_pool_limit=64,
        redis_max_connections=256,
        enable_utc=True,
    )
    return app


def work(socket: Path, folder: Path, results: Results) -> None:
    """Serve jobs until a signal comes."""
    signer = load_signer(folder)
    app = make_app(socket, results)

    @app.task(name="program")  # type: ignore[untyped-decorator]
    def program(body: str) -> tuple[str, float]:
        return signer.program(body.encode())

    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    app.worker_main(["--quiet", "worker", "--pool", "solo", "--concurrency", "1", *quiet])


class CeleryCaller:
    """Clients in one thread: the library tells of results one after the other.

    Blocking in `get` in 8 threads is slower, and in 32 it sometimes never ends.
    """

    def __init__(self, socket: Path, results: Results) -> None:
        self._app = make_app(socket, results)

    def send(self, jobs: Iterable[ProgrammingJob], clients: int) -> Turn:
        """Have the jobs done by so many clients."""
        turn, remaining = Turn(), iter(jobs)
        sent = done = 0

        def follow() -> None:
            nonlocal sent
            job = next(remaining, None)
            if job is not None:
                sent += 1
                started = time.perf_counter()
                queued = self._app.send_task("program", args=(encode_job(job).decode(),), task_id=job.job_id)
                queued.then(partial(finish, started), on_error=_fail)

        def finish(started: float, queued: AsyncResult) -> None:
            nonlocal done
            done += 1
            update, seconds = queued.result
            turn.note((str(update), float(seconds)), started)
            follow()

        started = time.perf_counter()
        for _ in range(clients):
            follow()
        while done < sent:
            self._app.backend.result_consumer.drain_events(timeout=1)
        turn.wall = time.perf_counter() - started
        return turn

    def close(self) -> None:
        """Give connections back."""
        self._app.close()


def _fail(queued: AsyncResult) -> None:
    raise RuntimeError(f"a job failed: {queued.result!r}")

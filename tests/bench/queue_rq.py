"""RQ: one worker that does its jobs itself, clients in threads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from redis import Redis
from rq import Queue, SimpleWorker
from rq.results import Result
from rq.timeouts import BaseDeathPenalty

from fsb_gateway import ProgrammingJob
from fsb_gateway.wire import encode_job
from tests.bench.queue_turn import Turn, send_threaded
from tests.bench.signed_job import Signer, load_signer

_SECONDS = 60
_signer: list[Signer] = []


def program(body: bytes) -> tuple[str, float]:
    """What the worker is asked to do."""
    return _signer[0].program(body)


class _NoTimeLimit(BaseDeathPenalty):
    """Spares the worker a system call or two for each job."""

    def setup_death_penalty(self) -> None:
        """Nothing is set up."""

    def cancel_death_penalty(self) -> None:
        """Nothing is cancelled."""


class _BareWorker(SimpleWorker):
    death_penalty_class = _NoTimeLimit


def work(socket: Path, folder: Path) -> None:
    """Serve jobs until a signal comes."""
    _signer.append(load_signer(folder))
    redis = Redis(unix_socket_path=str(socket))
    _BareWorker(["bench"], connection=redis, log_job_description=False).work(logging_level="ERROR")


class RqCaller:
    """Clients that block until their result is there (XREAD)."""

    def __init__(self, socket: Path) -> None:
        self._redis = Redis(unix_socket_path=str(socket))
        self._queue = Queue("bench", connection=self._redis)

    def send(self, jobs: Iterable[ProgrammingJob], clients: int) -> Turn:
        """Have the jobs done by so many clients."""
        return send_threaded(jobs, clients, self._send)

    def _send(self, job: ProgrammingJob) -> tuple[str, float]:
        queued = self._queue.enqueue_call(
            program, args=(encode_job(job),), job_id=job.job_id, description="", result_ttl=_SECONDS
        )
        found = queued.latest_result(timeout=_SECONDS)
        if found is None or found.type != Result.Type.SUCCESSFUL:
            raise RuntimeError(f"job {job.job_id} has no result")
        update, seconds = found.return_value or ("", 0.0)
        return str(update), float(seconds)

    def close(self) -> None:
        """Give connections back."""
        self._redis.close()

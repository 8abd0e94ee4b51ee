"""One pool: the jobs that wait, the jobs that run, the boxes that serve them. Lives on the event loop's thread."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from fsb_gateway.box_worker import Box, refusal
from fsb_gateway.error import FsbUnavailable, JobDeadlinePassed, PoolWithoutBox
from fsb_gateway.job import JobPending, ProgrammingJob, ProgrammingResult
from fsb_gateway.queue import FifoQueue, JobQueue

# Until a pool has done its first jobs: a software box signs, encrypts and records in about this time [measured].
_FIRST_GUESS_SECONDS = 0.001
# Weight of the newest job in the mean service time: follows a change of pace within some ten jobs.
_NEWEST_WEIGHT = 0.1


class Entry:
    """A job that waits or runs, and everybody who waits for it."""

    __slots__ = ("box", "future", "job", "pool", "request")

    def __init__(self, job: ProgrammingJob, request: str, pool: Pool) -> None:
        self.job = job
        self.request = request
        self.pool = pool
        self.box: str | None = None
        self.future: asyncio.Future[ProgrammingResult] = asyncio.get_running_loop().create_future()
        # Nobody may be waiting when a job fails; the reason is kept elsewhere.
        self.future.add_done_callback(_retrieve)


def _retrieve(future: asyncio.Future[ProgrammingResult]) -> None:
    if not future.cancelled():
        future.exception()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """A pool at this moment.

    Attributes:
        expected_wait: for a job of one operation that came now.
    """

    name: str
    boxes: tuple[str, ...]
    ready_boxes: int
    waiting: int
    running: int
    expected_wait: timedelta


class Pool:
    """The state of one pool; the gateway moves the jobs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: JobQueue = FifoQueue()
        self.boxes: dict[str, Box] = {}
        self.running: dict[str, Entry] = {}
        self._seconds_per_operation = _FIRST_GUESS_SECONDS

    def free_box(self) -> Box | None:
        """A box that takes work and has none."""
        for name, box in self.boxes.items():
            if name not in self.running and box.ready:
                return box
        return None

    def ready_boxes(self) -> int:
        """How many boxes take work."""
        return sum(box.ready for box in self.boxes.values())

    def why_idle(self) -> FsbUnavailable:
        """Why none of the boxes takes work."""
        for box in self.boxes.values():
            return refusal(box.status())
        return PoolWithoutBox(f"pool {self.name} has no box", pool=self.name)

    def observe(self, cost: int, seconds: float) -> None:
        """Learn from a served job how long an operation takes."""
        self._seconds_per_operation += _NEWEST_WEIGHT * (seconds / cost - self._seconds_per_operation)

    def expected_wait(self, cost: int) -> timedelta:
        """Until so many operations, and those that boxes are working on, are done."""
        running = sum(entry.job.cost for entry in self.running.values())
        return timedelta(seconds=self._seconds_per_operation * (cost + running) / max(1, self.ready_boxes()))

    def pending(self, entry: Entry) -> JobPending:
        """Where a job stands."""
        if entry.box is not None:
            return JobPending(job_id=entry.job.job_id, position=0, expected_wait=self.expected_wait(0))
        ahead, cost = self.queue.cost_ahead(entry.job.job_id)
        return JobPending(
            job_id=entry.job.job_id,
            position=ahead + len(self.running),
            expected_wait=self.expected_wait(cost + entry.job.cost),
        )

    def status(self) -> PoolStatus:
        """The pool at this moment."""
        return PoolStatus(
            name=self.name,
            boxes=tuple(self.boxes),
            ready_boxes=self.ready_boxes(),
            waiting=len(self.queue),
            running=len(self.running),
            expected_wait=self.expected_wait(self.queue.cost() + 1),
        )


def check_deadline(job: ProgrammingJob, now: datetime) -> None:
    """Refuse a job that waited too long.

    Raises:
        JobDeadlinePassed: nothing was programmed.
    """
    if now >= job.deadline_at:
        raise JobDeadlinePassed(f"job {job.job_id} waited until its deadline", job_id=job.job_id)

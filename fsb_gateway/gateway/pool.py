"""One pool: the jobs that wait, the jobs that boxes work on, and what has been measured. On the event loop's thread."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from app.core.alarm import Alarm
from fsb_gateway.error import JobDeadlinePassed
from fsb_gateway.gateway.seat import Seat
from fsb_gateway.job import JobState, ProgrammingJob, ProgrammingResult
from fsb_gateway.scheduler import FairQueue
from fsb_gateway.scheduling.delay import DelayAccount
from fsb_gateway.scheduling.expectation import ServiceTime


class Entry:
    """A job that is not finished, and everybody who waits for it.

    Attributes:
        seat: the box that works on it.
        is_queued: it waits in its pool's queue.
        held_until: it waits outside the queue, after failures, until this monotonic time.
        doubt: boxes that may have done it, by name: they went away while they had it.
        lost_at: when the last of them went.
        avoid: boxes that failed in it; others are tried first.
        failed_at: when it first failed.
        reason: code of the last failure.
    """

    __slots__ = (
        "arrived_at", "avoid", "doubt", "failed_at", "failures", "future", "given_at", "held_until", "is_queued", "job",
        "lost_at", "pool", "reason", "request", "seat",
    )  # fmt: skip

    def __init__(self, job: ProgrammingJob, request: str, pool: Pool, *, at: float) -> None:
        self.job = job
        self.request = request
        self.pool = pool
        self.seat: Seat | None = None
        self.is_queued = False
        self.held_until: float | None = None
        self.doubt: dict[str, Seat] = {}
        self.avoid: set[str] = set()
        self.failures = 0
        self.arrived_at = self.given_at = self.failed_at = self.lost_at = at
        self.reason: str | None = None
        self.future: asyncio.Future[ProgrammingResult] = asyncio.get_running_loop().create_future()
        # Nobody may be waiting when a job fails; the reason is kept elsewhere.
        self.future.add_done_callback(_retrieve)

    @property
    def state(self) -> JobState:
        """Where the job stands."""
        if self.seat is not None:
            return "running"
        return "unknown" if self.doubt else "waiting"


def _retrieve(future: asyncio.Future[ProgrammingResult]) -> None:
    if not future.cancelled():
        future.exception()


class Pool:
    """The state of one pool; the dispatcher moves the jobs.

    Attributes:
        owner: the instance whose own it is; None for a shared pool.
        held: jobs that wait outside the queue, after failures.
        lost: jobs that wait for the box that went away with them, and for nothing else.
        running: jobs that boxes work on, lent ones included.
        paced_at: what was given to boxes until then tells nothing of their pace: it was set anew.
        alarm: rings when a box of it has nearly done what it has; None before the first time.
    """

    def __init__(self, name: str, owner: str | None, *, operation_time: timedelta) -> None:
        """Make a pool without jobs.

        Args:
            operation_time: the set pace of its first box: what is expected before anything is measured.
        """
        self.name = name
        self.owner = owner
        self.queue = FairQueue()
        self.held: dict[str, Entry] = {}
        self.lost: dict[str, Entry] = {}
        self.running: dict[str, Entry] = {}
        self.service = ServiceTime()
        self.paced_at = -math.inf
        self.alarm: Alarm | None = None
        self.delay = DelayAccount()
        self.jobs_done = 0
        self.jobs_failed = 0
        self.operations_done = 0
        self.set_pace([operation_time], at=-math.inf)

    def __len__(self) -> int:
        """How many jobs are not finished."""
        return len(self.queue) + len(self.held) + len(self.lost) + len(self.running)

    def instances(self) -> set[str]:
        """Whose jobs are not finished."""
        elsewhere = (*self.held.values(), *self.lost.values(), *self.running.values())
        return {*self.queue.waiting_by_instance(), *(entry.job.instance_id for entry in elsewhere)}

    def waiting(self, instance_id: str) -> int:
        """How many jobs of an instance wait."""
        held = sum(entry.job.instance_id == instance_id for entry in self.held.values())
        return self.queue.waiting(instance_id) + held

    def set_pace(self, operation_times: Sequence[timedelta], *, at: float) -> None:
        """Expect what the boxes are set to, on average; what was measured of them before holds no more."""
        self.service.restart([each.total_seconds() for each in operation_times])
        self.paced_at = at

    def rest(self) -> None:
        """Tell the queue when nothing waits and nothing runs."""
        if not self.running and not len(self.queue):
            self.queue.rest()


def check_deadline(job: ProgrammingJob, now: datetime) -> None:
    """Refuse a job that waited too long.

    Raises:
        JobDeadlinePassed: nothing was programmed.
    """
    if now >= job.deadline_at:
        raise JobDeadlinePassed(f"job {job.job_id} waited until its deadline", job_id=job.job_id)

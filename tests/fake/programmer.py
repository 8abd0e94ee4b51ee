"""Gateways as a line sees them, with trouble at a point the test chooses."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from app.licensing import Programmer
from fsb_gateway import (
    InstanceQueueReport,
    JobCancelled,
    JobPending,
    JobReport,
    JobRunning,
    JobState,
    JobUnknown,
    ProgrammingJob,
    ProgrammingResult,
)


class PassedOn:
    """Passes everything on to a real client; a test overrides what it tampers with."""

    def __init__(self, client: Programmer) -> None:
        self.client = client

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        return await self.client.program(job, wait=wait)

    async def find(self, job_id: str, *, wait: timedelta = timedelta(0)) -> ProgrammingResult | JobPending:
        return await self.client.find(job_id, wait=wait)

    async def cancel(self, job_id: str) -> None:
        await self.client.cancel(job_id)

    async def queue(self, instance_id: str, *, pool: str | None = None) -> InstanceQueueReport:
        return await self.client.queue(instance_id, pool=pool)


class QueueingGateway(PassedOn):
    """A gateway whose box begins when the test says so: jobs wait, run, or are with a box that is away.

    Attributes:
        state: of every job that the box has not done.
        jobs: all that were sent, in that order, again and again.
        cancelled: ids of those that were taken back.
        trouble: what every call ends with, until the test takes it away.
    """

    def __init__(self, client: Programmer) -> None:
        super().__init__(client)
        self.state: JobState = "waiting"
        self.jobs: list[ProgrammingJob] = []
        self.cancelled: list[str] = []
        self.trouble: BaseException | None = None
        self.queue_limit_of_list = 100
        self._open: dict[str, asyncio.Future[ProgrammingResult]] = {}
        self._sent: dict[str, ProgrammingJob] = {}

    @property
    def open_jobs(self) -> list[str]:
        """Ids of what it has and no box has done."""
        return [job_id for job_id, result in self._open.items() if not result.done()]

    def start_anew(self) -> None:
        """Forget everything, as a gateway that was killed; whoever waits goes on waiting."""
        self._open.clear()

    async def do(self, job_id: str) -> ProgrammingResult:
        """Let the box do a job, and tell."""
        made = await self.make(job_id)
        self._open[job_id].set_result(made)
        return made

    async def make(self, job_id: str) -> ProgrammingResult:
        """Let the box do a job, and go away before it tells."""
        made = await self.client.program(self._sent[job_id], wait=timedelta(seconds=20))
        assert isinstance(made, ProgrammingResult)
        return made

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        self.jobs.append(job)
        self._sent[job.job_id] = job
        self._meet_trouble()
        result = self._open.setdefault(job.job_id, asyncio.get_running_loop().create_future())
        return await self._wait_for(job.job_id, result, wait)

    async def find(self, job_id: str, *, wait: timedelta = timedelta(0)) -> ProgrammingResult | JobPending:
        self._meet_trouble()
        return await self._wait_for(job_id, self._known(job_id), wait)

    async def cancel(self, job_id: str) -> None:
        self._meet_trouble()
        result = self._known(job_id)
        if self.state != "waiting" or result.done():
            raise JobRunning("a box works on it", job_id=job_id)
        del self._open[job_id]
        self.cancelled.append(job_id)
        result.set_exception(JobCancelled("cancelled", job_id=job_id))
        # Nobody may be waiting for it.
        result.exception()

    async def queue(self, instance_id: str, *, pool: str | None = None) -> InstanceQueueReport:
        self._meet_trouble()
        found = [self._report(job_id) for job_id in self.open_jobs]
        count = dict.fromkeys(("waiting", "running", "unknown"), 0) | {self.state: len(found)}
        return InstanceQueueReport(
            instance_id=instance_id,
            pool="shared",
            reason=None,
            waiting=count["waiting"],
            running=count["running"],
            unknown=count["unknown"],
            position=len(found),
            expected_wait_seconds=1.0,
            expected_wait_p95_seconds=2.0,
            others_share=0.0,
            jobs_done=0,
            operations_done=0,
            waited_seconds=0.0,
            caused_by_others_seconds=0.0,
            jobs=tuple(found[: self.queue_limit_of_list]),
        )

    def pending(self, job_id: str) -> JobPending:
        """What it says of a job that is not done."""
        return JobPending(
            job_id=job_id,
            state=self.state,
            position=3 if self.state == "waiting" else 0,
            expected_wait=timedelta(seconds=7),
            expected_wait_p95=timedelta(seconds=11),
            others_share=0.25,
            reason="box_disconnected" if self.state == "unknown" else None,
            waited=timedelta(seconds=5),
            caused_by_others=timedelta(seconds=2),
        )

    def _meet_trouble(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def _known(self, job_id: str) -> asyncio.Future[ProgrammingResult]:
        if job_id not in self._open:
            raise JobUnknown("not known here", job_id=job_id)
        return self._open[job_id]

    async def _wait_for(
        self, job_id: str, result: asyncio.Future[ProgrammingResult], wait: timedelta
    ) -> ProgrammingResult | JobPending:
        if wait and not result.done():
            await asyncio.wait((result,), timeout=wait.total_seconds())
        return result.result() if result.done() else self.pending(job_id)

    def _report(self, job_id: str) -> JobReport:
        pending = self.pending(job_id)
        return JobReport(
            job_id=job_id,
            state=pending.state,
            position=pending.position,
            operations=1,
            expected_wait_seconds=pending.expected_wait.total_seconds(),
            expected_wait_p95_seconds=pending.expected_wait_p95.total_seconds(),
            others_share=pending.others_share,
            reason=pending.reason,
            waited_seconds=pending.waited.total_seconds(),
            caused_by_others_seconds=pending.caused_by_others.total_seconds(),
        )

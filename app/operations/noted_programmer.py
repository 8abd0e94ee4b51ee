"""Which instances may have transfers in the making, so that nobody has to look into the databases of all others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from app.licensing import Programmer
from fsb_gateway import InstanceQueueReport, JobPending, ProgrammingJob, ProgrammingResult


class NotedProgrammer:
    """Sends jobs on and tells of each: only what has been sent can be waiting for its result."""

    def __init__(self, programmer: Programmer, note: Callable[[], None]) -> None:
        self._programmer = programmer
        self._note = note

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        """Have a job programmed; see `Programmer`."""
        self._note()
        return await self._programmer.program(job, wait=wait)

    async def find(self, job_id: str, *, wait: timedelta = timedelta(0)) -> ProgrammingResult | JobPending:
        """Ask for a job; see `Programmer`."""
        return await self._programmer.find(job_id, wait=wait)

    async def cancel(self, job_id: str) -> None:
        """Cancel a job; see `Programmer`."""
        await self._programmer.cancel(job_id)

    async def queue(self, instance_id: str) -> InstanceQueueReport:
        """Read a queue; see `Programmer`."""
        return await self._programmer.queue(instance_id)

"""Which instances may have transfers in the making, so that nobody has to look into the databases of all others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from app.licensing import Programmer
from fsb_gateway import JobPending, ProgrammingJob, ProgrammingResult


class NotedProgrammer:
    """Sends jobs on and tells of each: only what has been sent can be waiting for its result."""

    def __init__(self, programmer: Programmer, note: Callable[[], None]) -> None:
        self._programmer = programmer
        self._note = note

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        """Have a job programmed; see `Programmer`."""
        self._note()
        return await self._programmer.program(job, wait=wait)

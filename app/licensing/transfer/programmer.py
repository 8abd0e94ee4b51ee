"""The part of the gateway that the licence path needs, and how long it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final, Protocol, TypeVar

from fsb_gateway import FsbUnavailable, InstanceQueueReport, JobPending, ProgrammingJob, ProgrammingResult

T = TypeVar("T")

ANSWER_WITHIN: Final = timedelta(seconds=2)
"""For a question that the gateway answers from memory; whoever asks is kept no longer by one that hangs. Our own
decision."""


class Programmer(Protocol):
    """The gateway's client. Every call may raise `FsbError`."""

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        """Have a job programmed, waiting at most `wait` for it."""
        ...

    async def find(self, job_id: str, *, wait: timedelta = ...) -> ProgrammingResult | JobPending:
        """A job's result, or where it stands.

        Raises:
            JobUnknown: the gateway has never had it, or has been started anew since.
        """
        ...

    async def cancel(self, job_id: str) -> None:
        """Take a job out of its queue.

        Raises:
            JobRunning: a box works on it, or may do so.
            JobUnknown: the gateway has never had it, or has been started anew since.
        """
        ...

    async def queue(self, instance_id: str, *, pool: str | None = None) -> InstanceQueueReport:
        """Where an instance stands.

        Args:
            pool: where it sends its jobs: an instance that has sent none yet is known to the gateway by nothing else.
        """
        ...


async def answered(question: Awaitable[T], *, within: timedelta = ANSWER_WITHIN) -> T:
    """The answer to a question that needs no waiting.

    Raises:
        FsbUnavailable: none came in time.
    """
    try:
        async with asyncio.timeout(within.total_seconds()):
            return await question
    except TimeoutError:
        raise FsbUnavailable("The gateway did not answer in time.") from None

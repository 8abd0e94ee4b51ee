"""A job that a box has and has not answered yet."""

from __future__ import annotations

from collections.abc import Callable

from fsb_gateway.engine.journal import Finished
from fsb_gateway.error import FsbError
from fsb_gateway.job import ProgrammingJob, ProgrammingResult
from fsb_gateway.wire import encode_result

Answer = ProgrammingResult | FsbError
Done = Callable[[Answer], None]


class JobUnderWay:
    """A job under way, and everybody who waits for it."""

    __slots__ = ("_finished", "done", "is_recorded", "job", "request", "result", "transactions")

    def __init__(self, job: ProgrammingJob, request: str, done: Done) -> None:
        self.job = job
        self.request = request
        self.done = [done]
        self.transactions = 0
        self.is_recorded = False
        self.result: ProgrammingResult | None = None
        self._finished: Finished | None = None

    @property
    def finished(self) -> Finished:
        """What is to be recorded, once there is a result."""
        if self.result is None:
            raise RuntimeError("a job is recorded when it has a result")
        if self._finished is None:
            self._finished = Finished(
                job_id=self.job.job_id,
                request=self.request,
                result=encode_result(self.result),
                transactions=self.transactions,
            )
        return self._finished

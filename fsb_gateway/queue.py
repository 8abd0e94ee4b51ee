"""Who is served next. The queue of one pool, behind a port: fair queueing takes this one's place later. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Protocol

from fsb_gateway.job import ProgrammingJob


class JobQueue(Protocol):
    """The waiting jobs of one pool. No I/O, no time; used by one thread."""

    def put(self, job: ProgrammingJob) -> None:
        """Let a job wait."""
        ...

    def put_back(self, job: ProgrammingJob) -> None:
        """Let a job that was taken, and could not be served, wait at the front."""
        ...

    def take(self) -> ProgrammingJob | None:
        """Remove and return the job to serve next, or nothing."""
        ...

    def remove(self, job_id: str) -> None:
        """Forget a waiting job; nothing happens if it does not wait here."""
        ...

    def cost_ahead(self, job_id: str) -> tuple[int, int]:
        """How many jobs are served before this one, and how many operations they have together."""
        ...

    def waiting(self, instance_id: str) -> int:
        """How many jobs of one instance wait."""
        ...

    def cost(self) -> int:
        """Operations of all waiting jobs together."""
        ...

    def __len__(self) -> int:
        """How many jobs wait."""
        ...


class FifoQueue:
    """First come, first served."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, ProgrammingJob] = OrderedDict()
        self._per_instance: Counter[str] = Counter()
        self._cost = 0

    def put(self, job: ProgrammingJob) -> None:
        """Let a job wait."""
        self._jobs[job.job_id] = job
        self._count(job, 1)

    def put_back(self, job: ProgrammingJob) -> None:
        """Let a job that was taken, and could not be served, wait at the front."""
        self.put(job)
        self._jobs.move_to_end(job.job_id, last=False)

    def take(self) -> ProgrammingJob | None:
        """Remove and return the oldest job, or nothing."""
        if not self._jobs:
            return None
        _, job = self._jobs.popitem(last=False)
        self._count(job, -1)
        return job

    def remove(self, job_id: str) -> None:
        """Forget a waiting job; nothing happens if it does not wait here."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self._count(job, -1)

    def cost_ahead(self, job_id: str) -> tuple[int, int]:
        """How many jobs are served before this one, and how many operations they have together."""
        cost = 0
        for position, job in enumerate(self._jobs.values()):
            if job.job_id == job_id:
                return position, cost
            cost += job.cost
        return len(self._jobs), cost

    def waiting(self, instance_id: str) -> int:
        """How many jobs of one instance wait."""
        return self._per_instance[instance_id]

    def cost(self) -> int:
        """Operations of all waiting jobs together."""
        return self._cost

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._jobs)

    def _count(self, job: ProgrammingJob, sign: int) -> None:
        self._cost += sign * job.cost
        self._per_instance[job.instance_id] += sign
        if not self._per_instance[job.instance_id]:
            del self._per_instance[job.instance_id]

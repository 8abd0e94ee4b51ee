"""Who is served next in a pool: start-time fair queueing over instances with weights. Pure.

Every instance's next job has a start tag in virtual time: where its last one ended (start + operations / weight), or
the virtual time itself after a pause. The lowest tag is taken, and the virtual time is the highest tag taken so far.
Then, for any two instances f and g while both have jobs waiting, and l the operations of their largest job:

    |taken(f) / weight(f) − taken(g) / weight(g)| ≤ l(f) / weight(f) + l(g) / weight(g)

whatever the others do and however many boxes take jobs. With r, the instance's part of all weights, it follows that
of W operations taken while f waits, f gets at least r·W − (1 − r)·l(f) − r·(sum of l over all others).
**Source:** Goyal, Vin, Cheng, "Start-time fair queuing", SIGCOMM 1996; Jin, Chase, Kaur, "Interposed proportional
sharing for a storage service utility", SIGMETRICS 2004 (several servers).

Beyond them: tags are whole numbers, so nothing drifts; ties follow a fixed rank, so that all jobs are served by (tag,
rank) and what is ahead of one is counted without playing it through; an instance that boxes had to pass over keeps its
turn but gathers no credit; what a box gave back is not charged twice.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from fsb_gateway.job import Priority, ProgrammingJob
from fsb_gateway.scheduling.backlog import SCALE, Backlog, CanServe, Waiting

# Entries of jobs that left before their deadline are cleared away when they outnumber the rest by so many.
_STALE_MAX = 64


_Place = tuple[int, int, Backlog]


def _place(entry: _Place) -> tuple[int, int]:
    return entry[0], entry[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What is served before a job if no other comes and every box can serve everything.

    Attributes:
        own_operations: of the same instance.
    """

    jobs: int
    own_operations: int
    other_operations: int

    @property
    def operations(self) -> int:
        """All of them."""
        return self.own_operations + self.other_operations

    @property
    def others_share(self) -> float:
        """How much of it is other instances' work (0–1)."""
        return self.other_operations / self.operations if self.operations else 0.0


class FairQueue:
    """The waiting jobs of one pool, for any number of boxes. Used by one thread."""

    def __init__(self) -> None:
        self._jobs: dict[str, Waiting] = {}
        self._backlogs: dict[str, Backlog] = {}
        # Instances with waiting jobs, by (start tag, rank).
        self._line: list[_Place] = []
        # Instances that were without waiting jobs and still had a debt, by finish tag.
        self._parked: list[tuple[int, str]] = []
        self._deadlines: list[tuple[datetime, str]] = []
        self._virtual = 0
        self._rank = 0
        self._operations = 0

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._jobs)

    def put(self, job: ProgrammingJob, *, at: float, tried: bool = False) -> None:
        """Let a job wait behind the others of its instance. Its weight holds for its instance from now on.

        Args:
            at: when it arrived, in seconds of any clock that does not go back.
            tried: whether a box has tried it before; see `take`.

        Raises:
            ValueError: it waits already.
        """
        backlog, waiting = self._admit(job, at, tried=tried)
        backlog.unit = SCALE // job.weight
        if not len(backlog):
            self._resume(backlog, job)
            self._enter(backlog)
        backlog.add(waiting)

    def put_back(self, job: ProgrammingJob, *, at: float, refund: bool = True) -> None:
        """Let a job that was taken, and not served, wait before the others of its instance.

        Args:
            at: when it arrived first: several that are put back keep that order.
            refund: whether its instance gets its cost back, and thereby its turn. Without, a job that cost a box time
                and came to nothing is charged, and others go before it is tried again.

        Raises:
            ValueError: it waits already.
        """
        backlog, waiting = self._admit(job, at, tried=True)
        if len(backlog):
            self._leave(backlog)
        else:
            self._resume(backlog, job)
        if refund:
            backlog.refund += waiting.cost * backlog.unit
            backlog.start -= waiting.cost * backlog.unit
        self._enter(backlog)
        backlog.add_returned(waiting)

    def take(self, *, can_serve: CanServe | None = None) -> ProgrammingJob | None:
        """Remove and return the job to serve next, or nothing.

        Args:
            can_serve: whether the box that asks can do a job. Who is passed over keeps the turn. Jobs that were tried
                before are asked for one by one, all others of an instance by the first of each firm code and cost.
        """
        for index, (_, _, backlog) in enumerate(self._line):
            waiting = backlog.choose(can_serve)
            if waiting is not None:
                del self._line[index]
                self._serve(backlog, waiting)
                return waiting.job
        return None

    def remove(self, job_id: str) -> ProgrammingJob | None:
        """Take out a waiting job; nobody's tag changes. Nothing happens if it does not wait here."""
        waiting = self._jobs.pop(job_id, None)
        if waiting is None:
            return None
        self._operations -= waiting.cost
        backlog = self._backlogs[waiting.job.instance_id]
        backlog.discard(waiting)
        if not len(backlog):
            self._leave(backlog)
            self._park(backlog)
        return waiting.job

    def expire(self, now: datetime) -> list[ProgrammingJob]:
        """Take out every job whose deadline has come."""
        expired: list[ProgrammingJob] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, job_id = heapq.heappop(self._deadlines)
            waiting = self._jobs.get(job_id)
            if waiting is not None and waiting.job.deadline_at <= now:
                self.remove(job_id)
                expired.append(waiting.job)
        return expired

    def next_deadline(self) -> datetime | None:
        """When to call `expire`."""
        while self._deadlines and self._deadlines[0][1] not in self._jobs:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def rest(self) -> None:
        """No job waits and no box works: nobody owes anything any more. Nothing happens while jobs wait.

        The virtual time may stay: relative to what is remembered, it is the highest finish tag.
        """
        if not self._jobs:
            self._backlogs.clear()
            self._parked.clear()

    def ahead(self, job_id: str, *, can_serve: CanServe | None = None) -> Ahead:
        """What is served before a waiting job.

        Args:
            can_serve: whether any of the boxes that matter can do a job. Instances of whose next job that is not so
                are in nobody's way there, and are left out.

        Raises:
            KeyError: it does not wait here.
        """
        waiting = self._jobs[job_id]
        backlog = self._backlogs[waiting.job.instance_id]
        return self._ahead(backlog, backlog.plan().jobs.index(waiting), can_serve)

    def ahead_of_new(
        self,
        instance_id: str,
        *,
        weight: int | None = None,
        priority: Priority = "interactive",
        can_serve: CanServe | None = None,
    ) -> Ahead:
        """What would be served before a job that came now.

        Args:
            weight: of its instance; None for the one that its waiting jobs have, or else 1.
            can_serve: see `ahead`.
        """
        backlog = self._backlogs.get(instance_id)
        if backlog is not None and len(backlog):
            weight = SCALE // backlog.unit if weight is None else weight
            return self._ahead(*backlog.with_newcomer(weight=weight, priority=priority), can_serve)
        if backlog is None or backlog.start <= self._virtual:
            backlog = self._newcomer(instance_id, weight or 1)
        return self._ahead(backlog, 0, can_serve)

    def standing(self, instance_id: str, *, limit: int) -> tuple[tuple[ProgrammingJob, Ahead], ...]:
        """The first waiting jobs of an instance in the order of service, with what is ahead of each."""
        backlog = self._backlogs.get(instance_id)
        if backlog is None:
            return ()
        jobs = backlog.plan().jobs[:limit]
        return tuple((waiting.job, self._ahead(backlog, index)) for index, waiting in enumerate(jobs))

    def jobs_of(self, instance_id: str) -> Iterator[ProgrammingJob]:
        """The waiting jobs of an instance, the one that is served last first."""
        backlog = self._backlogs.get(instance_id)
        return iter(()) if backlog is None else (waiting.job for waiting in reversed(backlog.plan().jobs))

    def waiting(self, instance_id: str) -> int:
        """How many jobs of an instance wait."""
        backlog = self._backlogs.get(instance_id)
        return len(backlog) if backlog is not None else 0

    def waiting_by_instance(self) -> dict[str, int]:
        """How many jobs wait, of every instance that has any."""
        return {backlog.instance_id: len(backlog) for _, _, backlog in self._line}

    def operations(self) -> int:
        """Operations of all waiting jobs together."""
        return self._operations

    def oldest(self, at: float) -> float:
        """For how many seconds the job has waited that waits longest; 0 if none does."""
        return at - min((waiting.at for waiting in self._jobs.values()), default=at)

    def _admit(self, job: ProgrammingJob, at: float, *, tried: bool) -> tuple[Backlog, Waiting]:
        if job.job_id in self._jobs:
            raise ValueError(f"job {job.job_id} waits already")
        waiting = Waiting(job=job, at=at, cost=job.cost, tried=tried)
        self._jobs[job.job_id] = waiting
        self._operations += waiting.cost
        self._note_deadline(job)
        backlog = self._backlogs.get(job.instance_id)
        if backlog is None:
            backlog = self._newcomer(job.instance_id, job.weight)
            self._backlogs[job.instance_id] = backlog
        return backlog, waiting

    def _newcomer(self, instance_id: str, weight: int) -> Backlog:
        return Backlog(instance_id, rank=self._rank, start=self._virtual, weight=weight)

    def _note_deadline(self, job: ProgrammingJob) -> None:
        heapq.heappush(self._deadlines, (job.deadline_at, job.job_id))
        if len(self._deadlines) > 2 * len(self._jobs) + _STALE_MAX:
            self._deadlines = [(waiting.job.deadline_at, job_id) for job_id, waiting in self._jobs.items()]
            heapq.heapify(self._deadlines)

    def _resume(self, backlog: Backlog, job: ProgrammingJob) -> None:
        """After a pause: nothing was saved up meanwhile, and what is owed is still owed."""
        backlog.refund = 0
        if backlog.start <= self._virtual:
            backlog.start, backlog.rank, backlog.unit = self._virtual, self._rank, SCALE // job.weight
            self._rank += 1

    def _enter(self, backlog: Backlog) -> None:
        insort(self._line, (backlog.start, backlog.rank, backlog))

    def _leave(self, backlog: Backlog) -> None:
        del self._line[self._count_before(backlog.start, backlog.rank)]

    def _count_before(self, tag: int, rank: int) -> int:
        return bisect_left(self._line, (tag, rank), key=_place)

    def _serve(self, backlog: Backlog, waiting: Waiting) -> None:
        del self._jobs[waiting.job.job_id]
        self._operations -= waiting.cost
        backlog.pop(waiting)
        base = backlog.base(self._virtual)
        self._virtual = max(self._virtual, backlog.start)
        backlog.start = base + waiting.cost * backlog.unit
        backlog.refund = min(backlog.refund, max(0, self._virtual - backlog.start))
        if len(backlog):
            self._enter(backlog)
        else:
            self._park(backlog)
        self._forget()

    def _park(self, backlog: Backlog) -> None:
        """Remember who has nothing waiting for as long as there is a debt."""
        if backlog.parked:
            return
        if backlog.start <= self._virtual:
            del self._backlogs[backlog.instance_id]
        else:
            backlog.parked = True
            heapq.heappush(self._parked, (backlog.start, backlog.instance_id))

    def _forget(self) -> None:
        while self._parked and self._parked[0][0] <= self._virtual:
            _, instance_id = heapq.heappop(self._parked)
            backlog = self._backlogs[instance_id]
            backlog.parked = False
            if not len(backlog):
                self._park(backlog)

    def _ahead(self, backlog: Backlog, index: int, can_serve: CanServe | None = None) -> Ahead:
        tag = backlog.tag(index, virtual=self._virtual)
        jobs, own, others = index, backlog.plan().before[index], 0
        for _, _, other in self._line[: self._count_before(tag, backlog.rank)]:
            if other.instance_id != backlog.instance_id and (
                can_serve is None or can_serve(other.head().job)
            ):
                other_jobs, operations = other.before(tag, backlog.rank, virtual=self._virtual)
                jobs += other_jobs
                others += operations
        return Ahead(jobs=jobs, own_operations=own, other_operations=others)

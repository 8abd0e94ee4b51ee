"""The waiting jobs of one instance in one pool: which of them is next, and what is served before each. Pure.

Interactive jobs go before batch jobs, each kind in the order of arrival. Jobs that a box gave back go before both.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from fsb_gateway.job import WEIGHT_MAX, Priority, ProgrammingJob

# One operation at weight 1 in units of virtual time. Every weight divides it, so that tags are whole numbers: nothing
# is ever rounded, however long the gateway runs and however large the tags become.
SCALE = math.lcm(*range(1, WEIGHT_MAX + 1))
# So many operations of interactive jobs pass waiting batch jobs, then one batch job has its turn: batch gets at least
# every second job, or a fifth of the operations where all have one. Our own decision.
BATCH_AFTER = 4

CanServe = Callable[[ProgrammingJob], bool]
Kind = str | tuple[int, bool, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiting:
    """A waiting job; equal to itself only.

    Attributes:
        at: when it arrived first, in seconds of the caller's clock.
        cost: in programming operations; the job would count them anew each time.
        tried: whether a box has tried it: what a box can serve may then depend on the job itself.
    """

    job: ProgrammingJob
    at: float
    cost: int
    tried: bool

    @property
    def kind(self) -> Kind:
        """A box can serve all jobs of a kind or none: it has their key, and transactions enough, or not."""
        return self.job.job_id if self.tried else (self.job.firm_code, self.job.base_fuc == 0, self.cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The order in which the jobs are served; `before[k]` is the operations before the k-th, the last one is all."""

    jobs: tuple[Waiting, ...]
    before: tuple[int, ...]


class Backlog:
    """What one instance has waiting, and where it stands in virtual time.

    Attributes:
        start: start tag of the next job; with nothing waiting, the finish tag of the job last taken.
        rank: who goes first among equal tags; kept as long as the instance is remembered.
        refund: how far `start` may stay behind the virtual time, because jobs were given back.
        unit: virtual time of one operation.
        parked: whether the queue has noted it among those to forget.
    """

    __slots__ = (
        "_batch",
        "_interactive",
        "_kinds",
        "_passed",
        "_plan",
        "_returned",
        "instance_id",
        "operations",
        "parked",
        "rank",
        "refund",
        "start",
        "unit",
    )

    def __init__(self, instance_id: str, *, rank: int, start: int, weight: int) -> None:
        self.instance_id = instance_id
        self.rank = rank
        self.start = start
        self.refund = 0
        self.unit = SCALE // weight
        self.operations = 0
        self.parked = False
        self._returned: OrderedDict[str, Waiting] = OrderedDict()
        self._interactive: OrderedDict[str, Waiting] = OrderedDict()
        self._batch: OrderedDict[str, Waiting] = OrderedDict()
        self._kinds: Counter[Kind] = Counter()
        self._passed = 0
        self._plan: Plan | None = None

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._returned) + len(self._interactive) + len(self._batch)

    def add(self, waiting: Waiting) -> None:
        """Let a job wait behind the others of its kind."""
        lane = self._batch if waiting.job.priority == "batch" else self._interactive
        lane[waiting.job.job_id] = waiting
        self._count(waiting, 1)

    def add_returned(self, waiting: Waiting) -> None:
        """Let a job wait before all others, except those given back that came earlier."""
        ordered = sorted([waiting, *self._returned.values()], key=lambda entry: entry.at)
        self._returned = OrderedDict((entry.job.job_id, entry) for entry in ordered)
        self._count(waiting, 1)

    def head(self) -> Waiting:
        """The job that is next; there is one."""
        return next(iter(self._next_lane().values()))

    def choose(self, can_serve: CanServe | None) -> Waiting | None:
        """The first job, in order, that can be served.

        Jobs that were tried before are asked for one by one, the others by the first of each kind.
        """
        head = self.head()
        if can_serve is None or can_serve(head.job):
            return head
        if len(self._kinds) == 1:
            return None
        refused: set[Kind] = set()
        for waiting in self.plan().jobs:
            if waiting.kind not in refused:
                if can_serve(waiting.job):
                    return waiting
                refused.add(waiting.kind)
        return None

    def pop(self, waiting: Waiting) -> None:
        """Take a job out in order to serve it."""
        self.discard(waiting)
        if waiting.job.priority == "batch" or not self._batch:
            self._passed = 0
        else:
            self._passed += waiting.cost

    def discard(self, waiting: Waiting) -> None:
        """Take a job out that is not going to be served; nobody else's turn changes."""
        job_id = waiting.job.job_id
        if self._returned.pop(job_id, None) is None:
            lane = self._batch if waiting.job.priority == "batch" else self._interactive
            del lane[job_id]
        if not self._batch:
            self._passed = 0
        self._count(waiting, -1)

    def plan(self) -> Plan:
        """The order in which the jobs are served if no other comes."""
        if self._plan is None:
            self._plan = self.twin()._drain()
        return self._plan

    def twin(self) -> Backlog:
        """The same once more, to try something out."""
        twin = Backlog(self.instance_id, rank=self.rank, start=self.start, weight=SCALE // self.unit)
        twin.refund = self.refund
        twin.operations = self.operations
        twin._returned = self._returned.copy()
        twin._interactive = self._interactive.copy()
        twin._batch = self._batch.copy()
        twin._kinds = self._kinds.copy()
        twin._passed = self._passed
        return twin

    def with_newcomer(self, *, weight: int, priority: Priority) -> tuple[Backlog, int]:
        """What would be if one more job came: as a twin, with the number of own jobs before the new one."""
        twin = self.twin()
        twin.unit = SCALE // weight
        # No job has this id: it is no name.
        job = replace(self.head().job, job_id="", priority=priority)
        waiting = Waiting(job=job, at=math.inf, cost=1, tried=False)
        twin.add(waiting)
        return twin, twin.plan().jobs.index(waiting)

    def base(self, virtual: int) -> int:
        """From where the next job is charged: who was passed over gathers no credit, who got jobs back has some."""
        return max(self.start, virtual - self.refund)

    def tag(self, index: int, *, virtual: int) -> int:
        """Start tag of the job that is served as the `index`-th, from 0."""
        return self.base(virtual) + self.plan().before[index] * self.unit if index else self.start

    def before(self, tag: int, rank: int, *, virtual: int) -> tuple[int, int]:
        """How many of these jobs, and how many operations, are served before another instance's job of this tag."""
        if (self.start, self.rank) > (tag, rank):
            return 0, 0
        before = self.plan().before
        limit = (tag - self.base(virtual) - (self.rank > rank)) // self.unit
        jobs = max(1, bisect_right(before, limit, 0, len(before) - 1))
        return jobs, before[jobs]

    def _next_lane(self) -> OrderedDict[str, Waiting]:
        if self._returned:
            return self._returned
        if self._batch and (not self._interactive or self._passed >= BATCH_AFTER):
            return self._batch
        return self._interactive

    def _drain(self) -> Plan:
        jobs: list[Waiting] = []
        before = [0]
        while len(self):
            waiting = self.head()
            self.pop(waiting)
            jobs.append(waiting)
            before.append(before[-1] + waiting.cost)
        return Plan(jobs=tuple(jobs), before=tuple(before))

    def _count(self, waiting: Waiting, sign: int) -> None:
        self.operations += sign * waiting.cost
        self._kinds[waiting.kind] += sign
        if not self._kinds[waiting.kind]:
            del self._kinds[waiting.kind]
        self._plan = None

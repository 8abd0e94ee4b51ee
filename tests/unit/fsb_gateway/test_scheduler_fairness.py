"""What the fair queue promises, proved against sums of its own services and against fluid sharing.

W(f) is the operations of instance f taken in an interval, w its weight, l the operations of its largest job, r its part
of all weights. A *busy interval* of f: at every take in it, f has a job waiting.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from fsb_gateway.job import Priority, ProgrammingJob
from fsb_gateway.scheduler import FairQueue
from tests.unit.fsb_gateway.fair_oracle import FluidShare, queued_job

# Instance, operations, priority; None: a box takes a job; an int: the waiting job of that number is cancelled.
Event = tuple[str, int, Priority] | int | None
NAMES = ("a", "b", "c", "d")

weights = st.fixed_dictionaries({name: st.sampled_from((1, 1, 2, 5, 100)) for name in NAMES})
arrivals = st.tuples(st.sampled_from(NAMES), st.integers(1, 9), st.sampled_from(("interactive", "batch")))
scripts: st.SearchStrategy[list[Event]] = st.lists(
    st.one_of(arrivals, arrivals, st.none(), st.none(), st.integers(0, 50)), min_size=30, max_size=120
)


@dataclass
class Take:
    """One job taken, and who had jobs waiting just before."""

    job: ProgrammingJob
    waiting: frozenset[str]


@dataclass
class Run:
    """What a queue was asked for, and what it did."""

    weights: dict[str, int]
    takes: list[Take] = field(default_factory=list)
    largest: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))

    def play(self, script: list[Event]) -> Run:
        queue = FairQueue()
        for number, event in enumerate(script):
            if event is None:
                self.take(queue)
            elif isinstance(event, int):
                queue.remove(f"job-{event}")
            else:
                name, cost, priority = event
                self.largest[name] = max(self.largest[name], cost)
                weight = self.weights[name]
                queue.put(queued_job(number, name, cost=cost, weight=weight, priority=priority), at=number)
        while len(queue):
            self.take(queue)
        return self

    def take(self, queue: FairQueue) -> None:
        waiting = frozenset(queue.waiting_by_instance())
        job = queue.take()
        assert (job is None) == (not waiting)
        if job is not None:
            self.takes.append(Take(job, waiting))

    def busy_intervals(self, *names: str) -> list[list[ProgrammingJob]]:
        """The jobs taken in every longest interval in which all of these had jobs waiting."""
        intervals: list[list[ProgrammingJob]] = [[]]
        for take in self.takes:
            if take.waiting.issuperset(names):
                intervals[-1].append(take.job)
            elif intervals[-1]:
                intervals.append([])
        return intervals


def largest_rise(steps: list[Fraction]) -> Fraction:
    """The largest sum of consecutive steps."""
    best = current = Fraction(0)
    for step in steps:
        current = max(Fraction(0), current + step)
        best = max(best, current)
    return best


@settings(max_examples=60, deadline=None)
@given(weights=weights, script=scripts)
def test_two_busy_instances_never_differ_by_more_than_a_job_each(
    weights: dict[str, int], script: list[Event]
) -> None:
    """|W(f)/w(f) − W(m)/w(m)| ≤ l(f)/w(f) + l(m)/w(m) in every interval that is busy for both."""
    run = Run(weights).play(script)
    for f, m in combinations(NAMES, 2):
        bound = Fraction(run.largest[f], weights[f]) + Fraction(run.largest[m], weights[m])
        for jobs in run.busy_intervals(f, m):
            signs = {f: 1, m: -1}
            steps = [
                Fraction(signs.get(job.instance_id, 0) * job.cost, weights[job.instance_id]) for job in jobs
            ]
            assert largest_rise(steps) <= bound
            assert largest_rise([-step for step in steps]) <= bound


@settings(max_examples=60, deadline=None)
@given(weights=weights, script=scripts)
def test_busy_instance_gets_its_share_whatever_the_others_do(
    weights: dict[str, int], script: list[Event]
) -> None:
    """W(f) ≥ r·W − (1 − r)·l(f) − r·Σ l(others) in every busy interval of f, though others come and go."""
    run = Run(weights).play(script)
    known = {name for name in NAMES if run.largest[name]}
    for f in known:
        r = Fraction(weights[f], sum(weights[name] for name in known))
        missing = (1 - r) * run.largest[f] + r * sum(run.largest[name] for name in known - {f})
        for jobs in run.busy_intervals(f):
            steps = [r * job.cost - (job.cost if job.instance_id == f else 0) for job in jobs]
            assert largest_rise(steps) <= missing


@settings(max_examples=60, deadline=None)
@given(
    cost=st.integers(1, 9), script=st.lists(st.sampled_from((*NAMES, None, None)), min_size=20, max_size=150)
)
def test_equal_instances_with_equal_jobs_get_their_share_minus_less_than_one_job(
    cost: int, script: list[str | None]
) -> None:
    """|W(f) − W(m)| ≤ l in every interval that is busy for both; of n that are all busy, W(f) ≥ W/n − l·(n − 1)/n."""
    weights = dict.fromkeys(NAMES, 1)
    events: list[Event] = [None if name is None else (name, cost, "interactive") for name in script]
    run = Run(weights).play(events)
    for f, m in combinations(NAMES, 2):
        for jobs in run.busy_intervals(f, m):
            steps = [Fraction({f: 1, m: -1}.get(job.instance_id, 0)) for job in jobs]
            assert max(largest_rise(steps), largest_rise([-step for step in steps])) <= 1
    for jobs in run.busy_intervals(*NAMES):
        for f in NAMES:
            steps = [Fraction(cost, len(NAMES)) - (cost if job.instance_id == f else 0) for job in jobs]
            assert largest_rise(steps) <= Fraction(cost * (len(NAMES) - 1), len(NAMES))


@settings(max_examples=40, deadline=None)
@given(
    weights=weights,
    costs=st.fixed_dictionaries(
        {name: st.lists(st.integers(1, 9), min_size=8, max_size=20) for name in NAMES}
    ),
    boxes=st.integers(1, 4),
)
def test_boxes_serve_as_fluid_sharing_would_but_for_a_few_jobs(
    weights: dict[str, int], costs: dict[str, list[int]], boxes: int
) -> None:
    """Done(f) ≥ fluid(f) − (1 − r)·l(f) − r·Σ l(others) − boxes·l(f): the last for the jobs that boxes are doing.

    As long as everybody has work left in both.
    """
    queue = FairQueue()
    jobs = [(name, cost) for name in NAMES for cost in costs[name]]
    for number, (name, cost) in enumerate(jobs):
        queue.put(queued_job(number, name, cost=cost, weight=weights[name]), at=0.0)
    largest = {name: max(costs[name]) for name in NAMES}
    fluid = FluidShare(weights=weights, work={name: sum(costs[name]) for name in NAMES}, capacity=boxes)
    for moment, done in at_work(queue, boxes):
        ideal = fluid.served(Fraction(moment))
        if any(ideal[name] == fluid.work[name] for name in NAMES):
            return
        for f in NAMES:
            r = Fraction(weights[f], sum(weights.values()))
            others = sum(largest[name] for name in NAMES if name != f)
            assert done[f] >= ideal[f] - (1 - r) * largest[f] - r * others - boxes * largest[f]


def at_work(queue: FairQueue, boxes: int) -> Iterator[tuple[int, Counter[str]]]:
    """Boxes at one operation a second, while every instance has jobs waiting: what is done whenever one is free."""
    busy: list[tuple[int, int, ProgrammingJob]] = []
    finished: Counter[str] = Counter()
    now = 0
    while len(queue.waiting_by_instance()) == len(NAMES):
        while len(busy) < boxes and (job := queue.take()) is not None:
            heapq.heappush(busy, (now + job.cost, len(queue), job))
        now, _, job = heapq.heappop(busy)
        finished[job.instance_id] += job.cost
        done = finished.copy()
        for end, _, other in busy:
            done[other.instance_id] += other.cost - (end - now)
        yield now, done


@settings(max_examples=60, deadline=None)
@given(script=scripts, weights=weights)
def test_no_instance_and_no_batch_job_starves(weights: dict[str, int], script: list[Event]) -> None:
    """While f waits, n others together get at most Σ (w/w(f)·l(f) + l) before f; 4 operations and a job pass batch."""
    run = Run(weights).play(script)
    for f in NAMES:
        allowed = sum(
            Fraction(weights[n] * run.largest[f], weights[f]) + run.largest[n] for n in NAMES if n != f
        )
        for jobs in run.busy_intervals(f):
            passed = 0
            for job in jobs:
                passed = 0 if job.instance_id == f else passed + job.cost
                assert passed <= allowed


@settings(max_examples=60, deadline=None)
@given(costs=st.lists(st.integers(1, 9), min_size=1, max_size=30), batch=st.integers(1, 5))
def test_interactive_jobs_pass_batch_jobs_for_four_operations_and_no_longer(
    costs: list[int], batch: int
) -> None:
    queue = FairQueue()
    for number in range(batch):
        queue.put(queued_job(1000 + number, "a", priority="batch"), at=0.0)
    for number, cost in enumerate(costs):
        queue.put(queued_job(number, "a", cost=cost), at=1.0)
    passed, order = 0, list(iter(queue.take, None))
    for job, following in pairwise(order):
        passed = 0 if job.priority == "batch" else passed + job.cost
        batch_waits = any(other.priority == "batch" for other in order[order.index(job) + 1 :])
        interactive_waits = any(other.priority == "interactive" for other in order[order.index(job) + 1 :])
        if batch_waits and interactive_waits:
            assert following.priority == ("batch" if passed >= 4 else "interactive")
    for priority in ("interactive", "batch"):
        numbers = [int(job.job_id.removeprefix("job-")) for job in order if job.priority == priority]
        assert numbers == sorted(numbers)


@settings(max_examples=40, deadline=None)
@given(
    weights=weights,
    script=st.lists(arrivals, min_size=20, max_size=60),
    staged=st.integers(1, 8),
    data=st.data(),
)
def test_what_a_box_gives_back_is_served_as_if_it_had_never_been_taken(
    weights: dict[str, int], script: list[tuple[str, int, Priority]], staged: int, data: st.DataObject
) -> None:
    def filled() -> FairQueue:
        queue = FairQueue()
        for number, (name, cost, _) in enumerate(script):
            queue.put(queued_job(number, name, cost=cost, weight=weights[name]), at=number)
        # Nobody runs empty while the box has jobs: an instance without any would begin anew.
        for number, name in enumerate(NAMES * 8):
            queue.put(queued_job(1000 + number, name, weight=weights[name]), at=1000.0 + number)
        return queue

    queue, undisturbed = filled(), filled()
    taken = [job for _ in range(staged) if (job := queue.take()) is not None]
    for job in data.draw(st.permutations(taken)):
        number = float(job.job_id.removeprefix("job-"))
        queue.put_back(job, at=number)
    assert [job.job_id for job in iter(queue.take, None)] == [
        job.job_id for job in iter(undisturbed.take, None)
    ]

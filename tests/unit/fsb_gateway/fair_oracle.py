"""Start-time fair queueing written down as simply as possible, to compare the real queue with.

Fractions for virtual time, lists that are searched from end to end, no instance is ever forgotten, and what is ahead
of a job is found by playing it through.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

from fsb_gateway.job import Priority, ProgrammingJob, ProgrammingOperation, ProgrammingStep
from tests.fake.clock import START

OPERATION = ProgrammingOperation(op="add_product_item", license_id="lic_1", generation=1, product={})


def queued_job(
    number: int,
    instance: str,
    *,
    cost: int = 1,
    weight: int = 1,
    priority: Priority = "interactive",
    firm_code: int = 10,
    deadline_at: datetime = START + timedelta(hours=1),
) -> ProgrammingJob:
    return ProgrammingJob(
        job_id=f"job-{number}",
        instance_id=instance,
        pool="shared",
        firm_code=firm_code,
        container_serial="130-1",
        container_key={},
        base_fuc=0,
        context_digest="a" * 64,
        steps=(ProgrammingStep(fuc=1, operations=(OPERATION,) * cost),),
        deadline_at=deadline_at,
        priority=priority,
        weight=weight,
    )


@dataclass
class OracleFlow:
    """One instance, from its first job on."""

    weight: int
    start: Fraction = Fraction(0)
    refund: Fraction = Fraction(0)
    rank: int = -1
    passed: int = 0
    returned: list[tuple[float, ProgrammingJob]] = field(default_factory=list)
    arrived: list[tuple[float, ProgrammingJob]] = field(default_factory=list)

    def waiting(self) -> list[tuple[float, ProgrammingJob]]:
        return self.returned + self.arrived

    def next_job(self) -> ProgrammingJob:
        if self.returned:
            return min(self.returned, key=lambda entry: entry[0])[1]
        interactive = [job for _, job in self.arrived if job.priority == "interactive"]
        batch = [job for _, job in self.arrived if job.priority == "batch"]
        if batch and (not interactive or self.passed >= 4):
            return batch[0]
        return interactive[0]

    def delete(self, job: ProgrammingJob) -> None:
        self.returned = [entry for entry in self.returned if entry[1] is not job]
        self.arrived = [entry for entry in self.arrived if entry[1] is not job]
        if not self.batch_waits():
            self.passed = 0

    def serve(self, job: ProgrammingJob) -> None:
        self.delete(job)
        if job.priority == "batch":
            self.passed = 0
        elif self.batch_waits():
            self.passed += job.cost

    def batch_waits(self) -> bool:
        return any(job.priority == "batch" for _, job in self.arrived)

    def order(self) -> list[ProgrammingJob]:
        twin = copy.deepcopy(self, {id(job): job for _, job in self.waiting()})
        jobs: list[ProgrammingJob] = []
        while twin.waiting():
            jobs.append(twin.next_job())
            twin.serve(jobs[-1])
        return jobs


class OracleQueue:
    """What the real queue has to do."""

    def __init__(self) -> None:
        self.flows: dict[str, OracleFlow] = {}
        self.virtual = Fraction(0)
        self.highest = Fraction(0)
        self.ranks = 0

    def jobs(self) -> list[ProgrammingJob]:
        return [job for flow in self.flows.values() for _, job in flow.waiting()]

    def put(self, job: ProgrammingJob, *, at: float) -> None:
        flow = self._flow(job)
        flow.weight = job.weight
        flow.arrived.append((at, job))

    def put_back(self, job: ProgrammingJob, *, at: float, refund: bool) -> None:
        flow = self._flow(job)
        if refund:
            flow.refund += Fraction(job.cost, flow.weight)
            flow.start -= Fraction(job.cost, flow.weight)
        flow.returned.insert(0, (at, job))

    def take(self, can_serve: Callable[[ProgrammingJob], bool]) -> ProgrammingJob | None:
        waiting = [flow for flow in self.flows.values() if flow.waiting()]
        for flow in sorted(waiting, key=lambda flow: (flow.start, flow.rank)):
            for job in flow.order():
                if can_serve(job):
                    self._serve(flow, job)
                    return job
        return None

    def remove(self, job: ProgrammingJob) -> None:
        self.flows[job.instance_id].delete(job)

    def rest(self) -> None:
        if not self.jobs():
            self.virtual = self.highest
            self.flows.clear()

    def service_order(self) -> list[ProgrammingJob]:
        """All waiting jobs as they would be taken if no other came."""
        twin = copy.deepcopy(self, {id(job): job for job in self.jobs()})
        order: list[ProgrammingJob] = []
        while (job := twin.take(lambda _: True)) is not None:
            order.append(job)
        return order

    def _flow(self, job: ProgrammingJob) -> OracleFlow:
        flow = self.flows.setdefault(job.instance_id, OracleFlow(weight=job.weight, start=self.virtual))
        if not flow.waiting():
            flow.refund = Fraction(0)
            if flow.start <= self.virtual:
                flow.start, flow.rank, flow.weight = self.virtual, self.ranks, job.weight
                self.ranks += 1
        return flow

    def _serve(self, flow: OracleFlow, job: ProgrammingJob) -> None:
        flow.serve(job)
        charged_from = max(flow.start, self.virtual - flow.refund)
        self.virtual = max(self.virtual, flow.start)
        flow.start = charged_from + Fraction(job.cost, flow.weight)
        flow.refund = min(flow.refund, max(Fraction(0), self.virtual - flow.start))
        self.highest = max(self.highest, flow.start)


@dataclass(frozen=True, kw_only=True)
class FluidShare:
    """Generalised processor sharing: every instance with work left is served at once, each by its weight."""

    weights: dict[str, int]
    work: dict[str, int]
    capacity: int

    def served(self, until: Fraction) -> dict[str, Fraction]:
        """Operations of each instance by a moment, all work being there from 0 on; one box does one per second."""
        done = dict.fromkeys(self.work, Fraction(0))
        now = Fraction(0)
        while now < until and (active := [name for name in done if done[name] < self.work[name]]):
            rate = Fraction(self.capacity, sum(self.weights[name] for name in active))
            first_end = min((self.work[name] - done[name]) / (rate * self.weights[name]) for name in active)
            passed = min(first_end, until - now)
            for name in active:
                done[name] += passed * rate * self.weights[name]
            now += passed
        return done

"""The fair queue does at every step what the oracle does, whatever is put, taken, given back, cancelled or expires."""

from __future__ import annotations

import copy
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fsb_gateway.job import Priority, ProgrammingJob
from fsb_gateway.scheduler import Ahead, FairQueue
from tests.fake.clock import START
from tests.unit.fsb_gateway.fair_oracle import OracleQueue, queued_job

INSTANCES = ("a", "b", "c", "d")

arrivals = st.tuples(
    st.sampled_from(INSTANCES),
    st.integers(1, 7),
    st.sampled_from((1, 1, 2, 3, 100)),
    st.sampled_from(("interactive", "interactive", "batch")),
    st.sampled_from((10, 20)),
    st.integers(1, 60),
)


class SchedulerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.queue = FairQueue()
        self.oracle = OracleQueue()
        self.taken: list[ProgrammingJob] = []
        self.arrived_at: dict[str, float] = {}
        self.came_back: set[str] = set()
        self.now = 0.0

    @rule(arriving=st.lists(arrivals, min_size=1, max_size=6), seconds=st.integers(0, 2))
    def put(self, arriving: list[tuple[str, int, int, Priority, int, int]], seconds: int) -> None:
        self.now += seconds
        for instance, cost, weight, priority, firm_code, deadline in arriving:
            job = queued_job(
                len(self.arrived_at),
                instance,
                cost=cost,
                weight=weight,
                priority=priority,
                firm_code=firm_code,
                deadline_at=START + timedelta(seconds=self.now + deadline),
            )
            self.arrived_at[job.job_id] = self.now
            expected = self.ahead_of_new(job)
            assert self.queue.ahead_of_new(instance, weight=weight, priority=priority) == expected
            self.queue.put(job, at=self.now)
            self.oracle.put(job, at=self.now)

    def ahead_of_new(self, job: ProgrammingJob) -> Ahead:
        oracle = copy.deepcopy(self.oracle)
        oracle.put(job, at=self.now)
        return ahead_in([other.job_id for other in oracle.service_order()], oracle.jobs(), job.job_id)

    @rule(
        count=st.integers(1, 8),
        codes=st.sampled_from(({10, 20}, {10, 20}, {10}, {20}, set())),
        refuses_tried=st.booleans(),
    )
    def take(self, count: int, codes: set[int], refuses_tried: bool) -> None:
        def can_serve(job: ProgrammingJob) -> bool:
            return job.firm_code in codes and not (refuses_tried and job.job_id in self.came_back)

        serves_all = len(codes) == 2 and not refuses_tried
        for _ in range(count):
            servable = any(can_serve(job) for job in self.oracle.jobs())
            job = self.queue.take(can_serve=None if serves_all else can_serve)
            assert (job is not None) == servable
            assert job is self.oracle.take(can_serve)
            if job is not None:
                self.taken.append(job)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), count=st.integers(1, 3), how=st.sampled_from(("refund", "charge", "behind")))
    def give_back(self, data: st.DataObject, count: int, how: str) -> None:
        for _ in range(min(count, len(self.taken))):
            job = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
            at = self.arrived_at[job.job_id]
            self.came_back.add(job.job_id)
            if how == "behind":
                self.queue.put(job, at=at, tried=True)
                self.oracle.put(job, at=at)
            else:
                self.queue.put_back(job, at=at, refund=how == "refund")
                self.oracle.put_back(job, at=at, refund=how == "refund")

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([*self.oracle.jobs(), *self.taken, None]))
        if job is None or job in self.taken:
            assert self.queue.remove(job.job_id if job else "unknown") is None
            return
        assert self.queue.remove(job.job_id) is job
        self.oracle.remove(job)

    @rule(passed=st.integers(1, 40))
    def expire(self, passed: int) -> None:
        self.now += passed
        now = START + timedelta(seconds=self.now)
        late = [job for job in self.oracle.jobs() if job.deadline_at <= now]
        expired = self.queue.expire(now)
        assert [job.deadline_at for job in expired] == sorted(job.deadline_at for job in late)
        assert {job.job_id for job in expired} == {job.job_id for job in late}
        for job in late:
            self.oracle.remove(job)

    @rule()
    def rest(self) -> None:
        self.queue.rest()
        self.oracle.rest()

    @invariant()
    def counts_are_those_of_the_oracle(self) -> None:
        jobs = self.oracle.jobs()
        assert len(self.queue) == len(jobs)
        assert self.queue.operations() == sum(job.cost for job in jobs)
        counts = {name: sum(job.instance_id == name for job in jobs) for name in INSTANCES}
        assert {name: self.queue.waiting(name) for name in INSTANCES} == counts
        assert self.queue.waiting_by_instance() == {name: count for name, count in counts.items() if count}
        assert self.queue.next_deadline() == min((job.deadline_at for job in jobs), default=None)
        oldest = max((self.now - self.arrived_at[job.job_id] for job in jobs), default=0.0)
        assert self.queue.oldest(self.now) == oldest

    @invariant()
    def what_is_ahead_is_what_is_served_before(self) -> None:
        jobs = self.oracle.jobs()
        order = [job.job_id for job in self.oracle.service_order()]
        expected = {job_id: ahead_in(order, jobs, job_id) for job_id in order}
        assert {job_id: self.queue.ahead(job_id) for job_id in order} == expected
        for name in INSTANCES:
            own = [job_id for job_id in order if job_id in {j.job_id for j in jobs if j.instance_id == name}]
            standing = self.queue.standing(name, limit=3)
            assert [(job.job_id, ahead) for job, ahead in standing] == [(i, expected[i]) for i in own[:3]]

    def teardown(self) -> None:
        """Everything that waits is served in the order that was foretold."""
        order = [job.job_id for job in self.oracle.service_order()]
        served: list[str] = []
        while (job := self.queue.take()) is not None:
            served.append(job.job_id)
        assert served == order


def ahead_in(order: list[str], jobs: list[ProgrammingJob], job_id: str) -> Ahead:
    by_id = {job.job_id: job for job in jobs}
    before = [by_id[other] for other in order[: order.index(job_id)]]
    own = sum(job.cost for job in before if job.instance_id == by_id[job_id].instance_id)
    return Ahead(jobs=len(before), own_operations=own, other_operations=sum(job.cost for job in before) - own)


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)

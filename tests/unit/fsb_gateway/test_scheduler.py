"""Situations of the fair queue by example; what it promises in general is in the modules beside."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import fields
from datetime import timedelta

import pytest

from fsb_gateway.job import ProgrammingJob
from fsb_gateway.scheduler import Ahead, FairQueue
from tests.fake.clock import START
from tests.unit.fsb_gateway.fair_oracle import queued_job


def drained(queue: FairQueue) -> list[str]:
    return [job.job_id for job in iter(queue.take, None)]


def fill(queue: FairQueue, instance: str, count: int, *, first: int, cost: int = 1, weight: int = 1) -> None:
    for number in range(first, first + count):
        queue.put(queued_job(number, instance, cost=cost, weight=weight), at=float(number))


def served(queue: FairQueue, count: int) -> Counter[str]:
    return Counter(job.instance_id for job in (queue.take() for _ in range(count)) if job)


def test_flood_of_one_instance_delays_another_by_one_job() -> None:
    queue = FairQueue()
    fill(queue, "flood", 200, first=0)
    for _ in range(50):
        queue.take()
    fill(queue, "quiet", 1, first=1000)
    assert queue.ahead("job-1000").jobs <= 1
    assert "job-1000" in [job.job_id for job in (queue.take(), queue.take()) if job]


def test_weight_three_gets_three_times_as_much_as_weight_one() -> None:
    queue = FairQueue()
    fill(queue, "heavy", 60, first=0, weight=3)
    fill(queue, "light", 60, first=100)
    assert served(queue, 40) == {"heavy": 30, "light": 10}


def test_newest_weight_of_an_instance_holds_for_what_waits_already() -> None:
    queue = FairQueue()
    fill(queue, "a", 60, first=0)
    fill(queue, "b", 60, first=100)
    queue.put(queued_job(99, "a", weight=4), at=1.0)
    assert served(queue, 50) == {"a": 40, "b": 10}


def test_big_jobs_count_by_their_operations() -> None:
    queue = FairQueue()
    fill(queue, "big", 20, first=0, cost=10)
    fill(queue, "small", 200, first=100)
    assert served(queue, 110) == {"big": 10, "small": 100}


def test_instance_that_paused_has_saved_nothing_up() -> None:
    queue = FairQueue()
    fill(queue, "a", 1, first=0)
    fill(queue, "b", 100, first=100)
    for _ in range(51):
        queue.take()
    fill(queue, "a", 20, first=1)
    assert served(queue, 20)["a"] in (10, 11)


def test_instance_that_paused_still_owes_what_it_had_in_advance() -> None:
    queue = FairQueue()
    fill(queue, "a", 1, first=0, cost=9)
    fill(queue, "b", 30, first=100)
    assert queue.take() is not None
    fill(queue, "a", 1, first=1)
    assert queue.ahead("job-1") == Ahead(jobs=9, own_operations=0, other_operations=9)


def test_after_a_rest_nobody_owes_anything() -> None:
    queue = FairQueue()
    fill(queue, "a", 1, first=0, cost=9)
    queue.rest()
    assert drained(queue) == ["job-0"], "a rest with jobs waiting changes nothing"
    queue.rest()
    fill(queue, "a", 1, first=1)
    fill(queue, "b", 30, first=100)
    assert queue.ahead("job-1").jobs == 0


def test_box_without_its_key_passes_an_instance_over_which_keeps_its_turn() -> None:
    queue = FairQueue()
    queue.put(queued_job(0, "a", firm_code=10), at=0.0)
    queue.put(queued_job(1, "b", firm_code=20), at=0.0)
    queue.put(queued_job(2, "b", firm_code=20), at=0.0)
    first = queue.take(can_serve=lambda job: job.firm_code == 20)
    assert first is not None
    assert first.job_id == "job-1"
    assert drained(queue) == ["job-0", "job-2"]


def test_instance_that_was_passed_over_for_long_gathers_no_credit() -> None:
    queue = FairQueue()
    fill(queue, "b", 200, first=1000)
    for number in range(50):
        queue.put(queued_job(number, "a", firm_code=20), at=0.0)
    for _ in range(100):
        queue.take(can_serve=lambda job: job.firm_code == 10)
    first = queue.take()
    assert first is not None
    assert first.instance_id == "a"
    assert served(queue, 20) == {"a": 10, "b": 10}


def test_job_that_no_box_can_do_does_not_hold_up_its_instance() -> None:
    queue = FairQueue()
    fill(queue, "a", 3, first=0)
    bad = queue.take()
    assert bad is not None
    queue.put_back(bad, at=0.0)
    other = queue.take(can_serve=lambda job: job is not bad)
    assert other is not None
    assert other.job_id == "job-1"
    assert queue.take(can_serve=lambda job: job.firm_code != 10) is None
    assert drained(queue) == ["job-0", "job-2"]


def test_firm_code_that_a_box_lacks_does_not_hold_up_another_of_the_same_instance() -> None:
    queue = FairQueue()
    asked: list[str] = []
    for number, code in enumerate((10, 10, 20, 10)):
        queue.put(queued_job(number, "a", firm_code=code), at=0.0)

    def can_serve(job: ProgrammingJob) -> bool:
        asked.append(job.job_id)
        return job.firm_code == 20

    taken = queue.take(can_serve=can_serve)
    assert taken is not None
    assert taken.job_id == "job-2"
    assert "job-1" not in asked


def test_jobs_given_back_are_served_first_in_the_order_of_their_arrival() -> None:
    queue = FairQueue()
    fill(queue, "a", 5, first=0)
    taken = [queue.take(), queue.take(), queue.take()]
    for job in taken:
        assert job is not None
        queue.put_back(job, at=float(job.job_id[-1]))
    assert drained(queue) == ["job-0", "job-1", "job-2", "job-3", "job-4"]


def test_job_given_back_without_refund_lets_others_go_before() -> None:
    queue = FairQueue()
    fill(queue, "a", 3, first=0, cost=2)
    fill(queue, "b", 3, first=10)
    job = queue.take()
    assert job is not None
    queue.put_back(job, at=0.0, refund=False)
    assert drained(queue) == ["job-10", "job-11", "job-0", "job-12", "job-1", "job-2"]


def pass_over(queue: FairQueue, instance: str, count: int) -> None:
    for _ in range(count):
        assert queue.take(can_serve=lambda job: job.instance_id != instance) is not None


def test_refund_is_used_up_when_the_job_is_served() -> None:
    queue = FairQueue()
    fill(queue, "a", 30, first=0, cost=9)
    fill(queue, "b", 300, first=1000)
    job = queue.take()
    assert job is not None
    queue.put_back(job, at=0.0)
    assert queue.take() is job
    pass_over(queue, "a", 100)
    assert served(queue, 19) == {"a": 2, "b": 17}


def test_refund_of_a_cancelled_job_is_no_credit_for_later() -> None:
    queue = FairQueue()
    fill(queue, "a", 1, first=0, cost=9)
    fill(queue, "b", 300, first=1000)
    job = queue.take()
    assert job is not None
    queue.put_back(job, at=0.0)
    queue.remove(job.job_id)
    fill(queue, "a", 30, first=1)
    pass_over(queue, "a", 100)
    assert served(queue, 20) == {"a": 10, "b": 10}


def test_instance_whose_only_job_was_cancelled_after_a_refund_begins_anew() -> None:
    queue = FairQueue()
    fill(queue, "a", 1, first=0, cost=9)
    job = queue.take()
    assert job is not None
    queue.put_back(job, at=0.0)
    queue.remove(job.job_id)
    fill(queue, "b", 3, first=10)
    fill(queue, "c", 3, first=20)
    assert served(queue, 3) == {"b": 2, "c": 1}
    foretold = queue.ahead_of_new("a")
    fill(queue, "a", 1, first=1)
    assert queue.ahead("job-1") == foretold == Ahead(jobs=1, own_operations=0, other_operations=1)


def test_instances_whose_next_job_the_boxes_cannot_do_are_not_ahead_of_anybody() -> None:
    queue = FairQueue()
    fill(queue, "a", 3, first=0)
    fill(queue, "b", 5, first=100)
    fill(queue, "c", 5, first=200)

    def can_serve(job: ProgrammingJob) -> bool:
        return job.instance_id != "b"

    assert queue.ahead("job-2") == Ahead(jobs=6, own_operations=2, other_operations=4)
    assert queue.ahead("job-2", can_serve=can_serve) == Ahead(jobs=4, own_operations=2, other_operations=2)
    assert queue.ahead_of_new("a", can_serve=can_serve) == Ahead(jobs=6, own_operations=3, other_operations=3)
    assert queue.ahead_of_new("d", can_serve=can_serve).other_operations == 2


def test_new_job_is_foretold_by_the_weight_of_those_that_wait() -> None:
    queue = FairQueue()
    fill(queue, "light", 20, first=100)
    fill(queue, "heavy", 8, first=0, weight=4)
    assert queue.ahead_of_new("heavy") == queue.ahead_of_new("heavy", weight=4)
    assert queue.ahead_of_new("heavy").jobs < queue.ahead_of_new("heavy", weight=1).jobs
    assert [job.job_id for job in queue.jobs_of("heavy")][:2] == ["job-7", "job-6"]


def test_batch_job_that_comes_after_a_cancelled_one_waits_for_four_operations_of_its_own() -> None:
    queue = FairQueue()
    queue.put(queued_job(100, "a", priority="batch"), at=0.0)
    fill(queue, "a", 8, first=0)
    assert served(queue, 3) == {"a": 3}
    queue.remove("job-100")
    queue.put(queued_job(101, "a", priority="batch"), at=0.0)
    assert drained(queue) == ["job-3", "job-4", "job-5", "job-6", "job-101", "job-7"]


def test_cancelled_job_leaves_the_turn_of_everybody_else_as_it_was() -> None:
    queue = FairQueue()
    fill(queue, "a", 3, first=0)
    fill(queue, "b", 3, first=10)
    removed = queue.remove("job-0")
    assert removed is not None
    assert removed.job_id == "job-0"
    assert queue.remove("job-0") is None
    assert drained(queue) == ["job-1", "job-10", "job-2", "job-11", "job-12"]


def test_job_at_its_deadline_is_taken_out_and_a_later_one_stays() -> None:
    queue = FairQueue()
    for number, seconds in enumerate((30, 10, 20)):
        queue.put(queued_job(number, "a", deadline_at=START + timedelta(seconds=seconds)), at=0.0)
    assert queue.next_deadline() == START + timedelta(seconds=10)
    assert queue.expire(START + timedelta(seconds=9)) == []
    assert [job.job_id for job in queue.expire(START + timedelta(seconds=20))] == ["job-1", "job-2"]
    assert queue.next_deadline() == START + timedelta(seconds=30)
    assert drained(queue) == ["job-0"]
    assert queue.next_deadline() is None


def test_job_that_waits_already_is_refused() -> None:
    queue = FairQueue()
    fill(queue, "a", 1, first=0)
    with pytest.raises(ValueError, match="waits already"):
        queue.put(queued_job(0, "a"), at=1.0)
    with pytest.raises(ValueError, match="waits already"):
        queue.put_back(queued_job(0, "a"), at=1.0)
    assert (len(queue), queue.operations()) == (1, 1)


def test_what_is_ahead_of_an_unknown_job_is_no_answer() -> None:
    with pytest.raises(KeyError):
        FairQueue().ahead("job-0")


def test_share_of_others_is_none_when_nothing_is_ahead() -> None:
    assert Ahead(jobs=0, own_operations=0, other_operations=0).others_share == 0.0
    assert Ahead(jobs=2, own_operations=1, other_operations=3).others_share == 0.75


def test_thousands_of_passing_instances_leave_nothing_behind() -> None:
    queue = FairQueue()
    sizes: list[int] = []
    for number in range(4000):
        queue.put(queued_job(number, f"i{number}", cost=1 + number % 5), at=float(number))
        queue.put(queued_job(10_000 + number, "steady"), at=float(number))
        if number % 3:
            queue.take()
        else:
            queue.remove(f"job-{number}")
        queue.take()
        if number in (999, 3999):
            drained(queue)
            assert queue.next_deadline() is None
            sizes.append(len(pickle.dumps(queue)))
    # What is kept is that of the last few, who had their jobs in advance.
    assert max(sizes) < 5_000
    queue.rest()
    size = len(pickle.dumps(queue))
    assert size < 500


def test_deadlines_of_jobs_long_served_are_forgotten_though_an_older_one_waits() -> None:
    queue = FairQueue()
    queue.put(queued_job(0, "a", firm_code=20, deadline_at=START), at=0.0)
    for number in range(1, 1000):
        queue.put(queued_job(number, "a"), at=0.0)
        assert queue.take(can_serve=lambda job: job.firm_code == 10) is not None
    assert queue.next_deadline() == START
    size = len(pickle.dumps(queue))
    assert size < 5_000


class _HugeJob(ProgrammingJob):
    @property
    def cost(self) -> int:
        return 10**30


def test_shares_are_exact_after_more_work_than_a_float_could_count() -> None:
    orders: list[list[str]] = []
    for queue in (FairQueue(), FairQueue()):
        if orders:
            job = queued_job(999, "a")
            queue.put(_HugeJob(**{name.name: getattr(job, name.name) for name in fields(job)}), at=0.0)
            queue.take()
            queue.rest()
        fill(queue, "a", 30, first=0, weight=3)
        fill(queue, "b", 30, first=100, weight=7)
        fill(queue, "c", 30, first=200, weight=9)
        orders.append(drained(queue))
    assert orders[0] == orders[1]


def test_job_that_costs_too_much_does_not_hold_up_a_cheaper_one_of_the_same_instance() -> None:
    queue = FairQueue()
    asked: list[str] = []
    for number, cost in enumerate((11, 11, 1, 11)):
        queue.put(queued_job(number, "a", cost=cost), at=0.0)

    def can_serve(job: ProgrammingJob) -> bool:
        asked.append(job.job_id)
        return job.cost <= 10

    taken = queue.take(can_serve=can_serve)
    assert taken is not None
    assert taken.job_id == "job-2"
    assert "job-1" not in asked

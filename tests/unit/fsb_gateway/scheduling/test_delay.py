from __future__ import annotations

from collections import defaultdict, deque
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsb_gateway.scheduling.delay import Delay, DelayAccount, InstanceDelay


def test_wait_behind_another_instance_is_caused_by_it() -> None:
    account = DelayAccount()
    account.arrive("job-1", "a", at=0.0)
    account.give("job-1", "box-1", at=0.0)
    account.arrive("job-2", "b", at=2.0)
    account.finish("job-1", operations=1, at=10.0)
    account.give("job-2", "box-1", at=10.0)
    assert account.finish("job-2", operations=3, at=14.0) == Delay(waited=8.0, by_others=8.0, by_own=0.0)
    assert account.total("b") == InstanceDelay(
        jobs=1, operations=3, waited_seconds=8.0, caused_by_others_seconds=8.0
    )
    assert account.total("a") == InstanceDelay(jobs=1, operations=1)
    assert account.instances() == ("a", "b")


def test_wait_behind_own_jobs_is_nobody_elses_fault() -> None:
    account = DelayAccount()
    for job_id in ("job-1", "job-2"):
        account.arrive(job_id, "a", at=0.0)
    account.give("job-1", "box-1", at=0.0)
    account.finish("job-1", operations=1, at=10.0)
    account.give("job-2", "box-1", at=12.0)
    assert account.finish("job-2", operations=1, at=13.0) == Delay(waited=12.0, by_others=0.0, by_own=10.0)


def test_wait_can_be_read_while_it_lasts_and_reading_changes_nothing() -> None:
    account = DelayAccount()
    account.arrive("job-1", "a", at=0.0)
    account.give("job-1", "box-1", at=0.0)
    account.arrive("job-2", "b", at=2.0)
    assert account.so_far("job-1", at=5.0) == Delay(waited=0.0, by_others=0.0, by_own=0.0)
    assert account.so_far("job-2", at=5.0) == Delay(waited=3.0, by_others=3.0, by_own=0.0)
    account.finish("job-1", operations=1, at=10.0)
    assert account.so_far("job-2", at=11.0) == Delay(waited=9.0, by_others=8.0, by_own=0.0)
    account.give("job-2", "box-1", at=12.0)
    assert account.so_far("job-2", at=20.0) == account.finish("job-2", operations=1, at=20.0)
    with pytest.raises(KeyError):
        account.so_far("job-2", at=21.0)


def test_two_boxes_share_the_blame() -> None:
    account = DelayAccount()
    for job_id, instance in (("job-1", "a"), ("job-2", "b"), ("job-3", "b")):
        account.arrive(job_id, instance, at=0.0)
    account.give("job-1", "box-1", at=0.0)
    account.give("job-2", "box-2", at=0.0)
    account.finish("job-1", operations=1, at=10.0)
    account.give("job-3", "box-1", at=10.0)
    assert account.finish("job-3", operations=1, at=20.0) == Delay(waited=10.0, by_others=5.0, by_own=5.0)


def test_job_held_in_reserve_still_waits() -> None:
    account = DelayAccount()
    for job_id, instance in (("job-1", "a"), ("job-2", "b")):
        account.arrive(job_id, instance, at=0.0)
    for job_id in ("job-1", "job-2"):
        account.give(job_id, "box-1", at=1.0)
    account.finish("job-1", operations=1, at=11.0)
    assert account.finish("job-2", operations=1, at=15.0) == Delay(waited=11.0, by_others=10.0, by_own=0.0)


def test_job_that_a_box_gave_back_waits_again_and_its_time_there_is_no_wait() -> None:
    account = DelayAccount()
    account.arrive("job-1", "a", at=0.0)
    account.give("job-1", "box-1", at=4.0)
    account.give_back("job-1", at=9.0)
    account.give("job-1", "box-2", at=10.0)
    assert account.finish("job-1", operations=1, at=20.0).waited == 5.0


def test_job_given_back_out_of_reserve_has_waited_all_the_time() -> None:
    account = DelayAccount()
    for job_id, instance in (("job-1", "a"), ("job-2", "b")):
        account.arrive(job_id, instance, at=0.0)
    for job_id in ("job-1", "job-2"):
        account.give(job_id, "box-1", at=1.0)
    account.give_back("job-2", at=5.0)
    account.give("job-2", "box-2", at=6.0)
    assert account.finish("job-2", operations=1, at=9.0) == Delay(waited=6.0, by_others=5.0, by_own=0.0)


def test_dropped_job_counts_nowhere_and_its_box_goes_on_with_the_next() -> None:
    account = DelayAccount()
    for job_id, instance in (("job-1", "a"), ("job-2", "b"), ("job-3", "c")):
        account.arrive(job_id, instance, at=0.0)
    account.give("job-1", "box-1", at=0.0)
    account.give("job-2", "box-1", at=0.0)
    account.drop("job-1", at=5.0)
    account.drop("job-3", at=5.0)
    account.drop("unknown", at=5.0)
    assert account.finish("job-2", operations=1, at=8.0) == Delay(waited=5.0, by_others=5.0, by_own=0.0)
    assert account.instances() == ("b",)


def test_share_is_that_of_the_last_five_minutes() -> None:
    account = DelayAccount()
    assert account.share("a", at=0.0) == 0.0
    for number, (instance, operations, at) in enumerate((("a", 6, 10.0), ("b", 2, 200.0), ("a", 2, 250.0))):
        account.arrive(f"job-{number}", instance, at=at)
        account.finish(f"job-{number}", operations=operations, at=at)
    assert account.share("a", at=300.0) == pytest.approx(0.8)
    assert account.share("a", at=316.0) == pytest.approx(0.5)
    assert account.share("b", at=506.0) == 0.0
    assert account.share("a", at=560.0) == 0.0


Event = tuple[str, int, int]


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("arrive", "give", "end", "give_back")), st.integers(0, 2), st.integers(0, 5)
        ),
        min_size=20,
        max_size=80,
    )
)
def test_every_second_is_split_as_counting_second_by_second_does(script: list[Event]) -> None:
    account, count = DelayAccount(), _CountBySeconds()
    for number, (action, pick, passed) in enumerate(script):
        count.advance(passed)
        _play(account, count, action, pick, number)
    for job_id, instance in list(count.instance_of.items()):
        so_far = account.so_far(job_id, at=float(count.now))
        for queue in count.boxes:
            if job_id in queue:
                queue.remove(job_id)
        delay = account.finish(job_id, operations=1, at=float(count.now))
        expected = count.waited[job_id], count.by_others[job_id], count.by_own[job_id]
        assert (delay.waited, delay.by_others, delay.by_own) == pytest.approx(
            [float(part) for part in expected]
        )
        assert (so_far.waited, so_far.by_others, so_far.by_own) == pytest.approx(
            (delay.waited, delay.by_others, delay.by_own)
        )
        assert instance in account.instances()


def _play(account: DelayAccount, count: _CountBySeconds, action: str, pick: int, number: int) -> None:
    at, queue = float(count.now), count.boxes[pick]
    if action == "arrive":
        account.arrive(f"job-{number}", "abc"[pick], at=at)
        count.instance_of[f"job-{number}"] = "abc"[pick]
        count.waiting.append(f"job-{number}")
    elif action == "give" and count.waiting:
        job_id = count.waiting.pop(0)
        account.give(job_id, f"box-{pick}", at=at)
        queue.append(job_id)
    elif action == "give_back" and queue:
        job_id = queue.pop()
        account.give_back(job_id, at=at)
        count.waiting.append(job_id)
    elif action == "end" and queue:
        job_id = queue.popleft()
        delay = account.finish(job_id, operations=1, at=at)
        del count.instance_of[job_id]
        assert delay.waited == pytest.approx(float(count.waited[job_id]))
        assert delay.by_others == pytest.approx(float(count.by_others[job_id]))


class _CountBySeconds:
    """Three boxes; every second, everybody who waits looks at whom the boxes work for."""

    def __init__(self) -> None:
        self.now = 0
        self.instance_of: dict[str, str] = {}
        self.waiting: list[str] = []
        self.boxes: list[deque[str]] = [deque(), deque(), deque()]
        self.waited: defaultdict[str, Fraction] = defaultdict(Fraction)
        self.by_own: defaultdict[str, Fraction] = defaultdict(Fraction)
        self.by_others: defaultdict[str, Fraction] = defaultdict(Fraction)

    def advance(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            working = [self.instance_of[queue[0]] for queue in self.boxes if queue]
            at_work = {queue[0] for queue in self.boxes if queue}
            for job_id, instance in self.instance_of.items():
                if job_id not in at_work:
                    self.waited[job_id] += 1
                    for other in working:
                        part = self.by_own if other == instance else self.by_others
                        part[job_id] += Fraction(1, len(working))

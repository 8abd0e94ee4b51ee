from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsb_gateway.report import Quantiles
from fsb_gateway.scheduling.expectation import ServiceTime, Utilisation


def test_before_the_first_job_the_guess_holds() -> None:
    service = ServiceTime()
    service.restart([0.02])
    wait = service.wait(100, boxes=2, own=1)
    assert service.quantiles() is None
    assert service.mean() == 0.02
    assert (wait.p50, wait.p95) == pytest.approx((1.02, 1.02))


def test_wait_for_one_operation_is_what_was_measured() -> None:
    service = ServiceTime()
    for milliseconds in range(1, 101):
        service.add(operations=1, seconds=milliseconds / 1000)
    assert service.quantiles() == Quantiles(p50=0.05, p95=0.095, p99=0.099)
    wait = service.wait(0, own=1)
    assert (wait.p50, wait.p95) == pytest.approx((0.05, 0.095))


def test_wait_for_many_operations_is_nearly_their_mean() -> None:
    service = ServiceTime()
    for number in range(200):
        service.add(operations=1, seconds=0.01 if number % 2 else 0.03)
    wait = service.wait(10_000, boxes=4)
    assert wait.p50 == pytest.approx(50, rel=0.01)
    assert 50 < wait.p95 < 51


def test_few_very_slow_operations_are_expected_again_among_many() -> None:
    service = ServiceTime()
    for number in range(200):
        service.add(operations=1, seconds=1.0 if number % 40 == 0 else 0.001)
    assert service.wait(1000).p95 >= 1000 * service.mean()


def test_middle_of_three_times_is_the_median() -> None:
    service = ServiceTime()
    for seconds in (3.0, 1.0, 2.0):
        service.add(operations=1, seconds=seconds)
    assert service.quantiles() == Quantiles(p50=2.0, p95=3.0, p99=3.0)


def test_time_of_a_job_is_shared_by_its_operations() -> None:
    service = ServiceTime()
    service.add(operations=4, seconds=2.0)
    assert service.mean() == 0.5


def test_changed_pace_is_followed_within_two_hundred_jobs() -> None:
    service = ServiceTime()
    for _ in range(1000):
        service.add(operations=1, seconds=1.0)
    for _ in range(200):
        service.add(operations=1, seconds=0.1)
    assert service.quantiles() == Quantiles(p50=0.1, p95=0.1, p99=0.1)
    assert service.mean() == pytest.approx(0.1)


def test_set_pace_replaces_what_was_measured_and_the_histogram_goes_on() -> None:
    service = ServiceTime()
    service.restart([1.0])
    for _ in range(5):
        service.add(operations=2, seconds=0.4)
    service.restart([3.0, 1.0])
    wait = service.wait(1, own=1)
    assert (service.mean(), service.quantiles(), service.histogram().operations) == (2.0, None, 10)
    assert (wait.p50, wait.p95) == pytest.approx((4.0, 4.0))
    service.restart([0.0, 0.0])
    assert 0 < service.mean() <= 0.01, "as fast as a software box can be"
    service.add(operations=1, seconds=0.5)
    assert service.mean() == 0.5


def test_without_a_working_box_the_wait_is_that_for_one() -> None:
    service = ServiceTime()
    service.restart([1.0])
    assert service.wait(3, boxes=0) == service.wait(3, boxes=1)


def test_histogram_counts_operations_up_to_each_bound() -> None:
    service = ServiceTime()
    service.add(operations=2, seconds=0.04)
    service.add(operations=1, seconds=0.021)
    service.add(operations=1, seconds=100.0)
    histogram = service.histogram()
    counts = dict(histogram.buckets)
    assert (counts[0.01], counts[0.02], counts[0.05], counts[60.0], counts[math.inf]) == (0, 2, 3, 3, 4)
    assert histogram.operations == 4
    assert histogram.seconds == pytest.approx(100.061)


@given(
    st.lists(st.floats(0.0001, 100), min_size=1, max_size=250),
    st.integers(0, 1000),
    st.integers(1, 4),
    st.integers(0, 9),
)
def test_wait_is_never_negative_and_cautious_figures_are_not_below_others(
    seconds: list[float], operations: int, boxes: int, own: int
) -> None:
    service = ServiceTime()
    for each in seconds:
        service.add(operations=1, seconds=each)
    wait = service.wait(operations, boxes=boxes, own=own)
    more = service.wait(operations + 1, boxes=boxes, own=own)
    assert -1e-9 <= wait.p50 <= wait.p95 + 1e-9
    assert wait.p95 <= more.p95 + 1e-9


def test_box_that_worked_half_of_the_last_minute() -> None:
    utilisation = Utilisation()
    utilisation.begin(1000.0)
    utilisation.end(1030.0)
    assert utilisation.share(1060.0) == pytest.approx(0.5)
    assert utilisation.share(1075.0) == pytest.approx(0.25)
    assert utilisation.share(1090.0) == 0.0
    assert utilisation.share(9999.0) == 0.0


def test_job_at_hand_counts_while_it_runs() -> None:
    utilisation = Utilisation()
    utilisation.begin(1000.0)
    assert utilisation.share(1015.0) == pytest.approx(0.25)
    assert utilisation.share(5000.0) == 1.0


def test_jobs_in_reserve_count_once() -> None:
    utilisation = Utilisation()
    utilisation.begin(0.0)
    utilisation.begin(5.0)
    utilisation.end(10.0)
    utilisation.end(30.0)
    assert utilisation.share(60.0) == pytest.approx(0.5)


def test_minute_that_begins_after_a_short_job_does_not_count_it() -> None:
    utilisation = Utilisation()
    for begin, end in ((0.0, 2.0), (4.0, 4.0)):
        utilisation.begin(begin)
        utilisation.end(end)
    assert utilisation.share(62.0) == pytest.approx(0.0, abs=0.009)


def test_box_that_never_worked() -> None:
    assert Utilisation().share(1000.0) == 0.0


lengths = st.one_of(st.integers(0, 3000), st.integers(0, 100))


@given(st.lists(st.tuples(lengths, lengths), min_size=1, max_size=80), st.integers(0, 7000))
def test_share_is_within_one_percent_of_what_was_worked(jobs: list[tuple[int, int]], later: int) -> None:
    """Pauses and jobs in hundredths of seconds; the truth is summed up from the intervals themselves."""
    utilisation, now = Utilisation(), 0.0
    worked: list[tuple[float, float]] = []
    for pause, length in jobs:
        now += pause / 100
        utilisation.begin(now)
        worked.append((now, now + length / 100))
        now += length / 100
        utilisation.end(now)
    now += later / 100
    truth = sum(max(0.0, end - max(begin, now - 60)) for begin, end in worked) / 60
    assert utilisation.share(now) == pytest.approx(truth, abs=0.01)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.access.client.record import Rate
from tenancy.access.rate import RateBuckets, RateLimited, RateState, limit_field, policy_field

FAST = Rate(per_second=10, burst=3)


def test_burst_is_let_through_and_the_next_told_when_to_come_back() -> None:
    buckets = RateBuckets()
    assert [buckets.take("erp", FAST, 0.0).remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(RateLimited) as refused:
        buckets.take("erp", FAST, 0.0)
    assert refused.value.detail == {"burst": 3, "per_second": 10, "expected_wait_seconds": 1}
    assert buckets.take("erp", FAST, 0.1).remaining == 0


def test_buckets_of_two_clients_are_apart() -> None:
    buckets = RateBuckets()
    for _ in range(3):
        buckets.take("erp", FAST, 0.0)
    assert buckets.take("crm", FAST, 0.0).remaining == 2


def test_changed_rate_holds_at_once() -> None:
    buckets = RateBuckets()
    buckets.take("erp", Rate(per_second=1, burst=100), 0.0)
    assert buckets.take("erp", FAST, 0.0).remaining == 2


def test_memory_is_bounded() -> None:
    buckets = RateBuckets()
    for n in range(10_000):
        buckets.take(str(n), FAST, 0.0)
    assert len(buckets._buckets) <= 2000


@given(
    rate=st.builds(Rate, per_second=st.integers(1, 100), burst=st.integers(1, 100)),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_in_no_stretch_of_time_come_more_than_burst_and_rate(rate: Rate, pauses: list[float]) -> None:
    buckets, now, let_in = RateBuckets(), 0.0, []
    for pause in pauses:
        now += pause
        try:
            buckets.take("erp", rate, now)
        except RateLimited:
            continue
        let_in.append(now)
    for first, begin in enumerate(let_in):
        for last in range(first, len(let_in)):
            allowed = rate.burst + (let_in[last] - begin) * rate.per_second
            assert last - first + 1 <= allowed + 1e-6


def test_headers_name_the_burst() -> None:
    assert policy_field(Rate(per_second=50, burst=50)) == '"burst";q=50;w=1'
    assert policy_field(Rate(per_second=10, burst=25)) == '"burst";q=25;w=3'
    assert limit_field(RateState(FAST, 2, 1)) == '"burst";r=2;t=1'

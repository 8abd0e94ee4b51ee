"""The ideal that `shared_pool_fairness` is measured against, on cases worked out by hand."""

from __future__ import annotations

import pytest

from tests.bench.fair_ideal import Arrival, Source, simulate


def test_whoever_is_alone_never_waits() -> None:
    alone = Source(planned=[Arrival(at=0.5, work=1.0), Arrival(at=2.0, work=0.25)])
    simulate([alone, Source()], boxes=1, until=10.0)
    assert alone.waits == pytest.approx([0.0, 0.0])


def test_two_at_once_take_twice_as_long_each() -> None:
    sources = [Source(planned=[Arrival(at=0.0, work=1.0)]) for _ in range(2)]
    simulate(sources, boxes=1, until=10.0)
    for source in sources:
        assert source.waits == pytest.approx([1.0])


def test_shorter_job_is_done_first_and_the_other_has_all_from_then_on() -> None:
    short, long = Source(planned=[Arrival(at=0.0, work=1.0)]), Source(planned=[Arrival(at=0.0, work=3.0)])
    simulate([short, long], boxes=1, until=10.0)
    # Both at half speed until 2, when the long one has 2 left: it ends at 4.
    assert short.waits == pytest.approx([1.0])
    assert long.waits == pytest.approx([1.0])


def test_jobs_of_one_instance_wait_for_each_other() -> None:
    source = Source(planned=[Arrival(at=0.0, work=1.0), Arrival(at=0.0, work=1.0)])
    simulate([source], boxes=1, until=10.0)
    assert source.waits == pytest.approx([0.0, 1.0])


def test_flood_of_many_clients_takes_no_more_than_one_share() -> None:
    flood, other = Source(clients=50, work=0.1), Source(planned=[Arrival(at=1.0, work=1.0)])
    simulate([flood, other], boxes=1, until=5.0)
    assert other.waits == pytest.approx([1.0])
    # 1 s alone, 2 s at half speed, 2 s alone: 4 s of programming in all.
    assert len(flood.waits) == pytest.approx(40, abs=1)

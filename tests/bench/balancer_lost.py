"""Seconds until requests succeed again after the load balancer that has the address is lost. Method: README."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from app.core.json import JsonObject
from tests.bench.result import BenchPlace, BenchResult, median, rounded
from tests.service.open_loop import Load
from tests.service.pair import Balancer, Pair, running_pair
from tests.service.wait import wait_until

NAME: Final = "balancer_lost"
_MARK: Final = 1.0
_KILLED_MARK: Final = 1.5
_ROUNDS: Final = 7
_RATE: Final = 200.0
_CHECK_SECONDS: Final = 1.0
"""Between two questions to HAProxy: a kill comes at any moment of it."""

_Act = Callable[[Balancer], None]
_LOSSES: Final[dict[str, tuple[_Act, _Act]]] = {
    "cut": (lambda one: one.machine.cut(), lambda one: one.machine.mend()),
    "silent": (lambda one: one.machine.isolate(), lambda one: one.machine.mend()),
    "haproxy_killed": (Balancer.kill_worker, Balancer.start_haproxy),
    "keepalived_killed": (Balancer.kill_keepalived, lambda _one: None),
    "handed_over": (Balancer.step_aside, Balancer.step_back),
}


def run(_place: BenchPlace) -> BenchResult:
    """Lose one load balancer after the other, in every way in turn."""
    lost: dict[str, list[float]] = {name: [] for name in _LOSSES}
    failed: dict[str, list[int]] = {name: [] for name in _LOSSES}
    twice = 0.0
    with running_pair() as pair:
        for _ in range(_ROUNDS):
            for name, (lose, mend) in _LOSSES.items():
                before = pair.watch.overlap()
                outage, failures = _lose(pair, lose, mend)
                lost[name].append(outage)
                failed[name].append(failures)
                # Two that cannot hear each other both have it, each on its side of the cut: that is not counted here.
                twice += 0.0 if name == "silent" else pair.watch.overlap() - before
    value = median(lost["cut"])
    detail: JsonObject = {
        "median": {name: round(median(seconds), 3) for name, seconds in lost.items()},
        "worst": {name: round(max(seconds), 3) for name, seconds in lost.items()},
        "cut": list(rounded(lost["cut"])),
        "failed_requests": {name: median(counts) for name, counts in failed.items()},
        "requests_per_second": _RATE,
        "haproxy_killed_mark": f"<= {_KILLED_MARK}",
        "seconds_with_two_owners": round(twice, 6),
    }
    ok = value <= _MARK and max(lost["haproxy_killed"]) <= _KILLED_MARK and twice == 0.0
    return BenchResult(bench=NAME, value=value, unit="s", mark=f"<= {_MARK:g}", ok=ok, detail=detail)


def _lose(pair: Pair, lose: _Act, mend: _Act) -> tuple[float, int]:
    losing = pair.owner()
    taking = pair.other(losing)
    with pair.load(pair.plan(rate=_RATE)) as load:
        load.wait_for(20)
        load.wait_seconds(random.uniform(0, _CHECK_SECONDS))
        at = time.monotonic()
        lose(losing)
        wait_until(lambda: taking.name in pair.watch.owners, "the other one to take over")
        load.wait_for(40, after=time.monotonic())
        mended = time.monotonic()
        mend(losing)
        pair.wait_spare(pair.other(pair.owner()))
    # Until it is mended; what the two do to each other when they meet again is not this.
    return _outage(load, at, mended), sum(
        at - load.plan.timeout_seconds <= each.scheduled < mended for each in load.failed
    )


def _outage(load: Load, at: float, mended: float) -> float:
    """From the loss to the first good answer to whatever was sent after the last request that failed."""
    seen = [each for each in load.answered if at - load.plan.timeout_seconds <= each.scheduled < mended]
    last = max((each.scheduled for each in seen if not each.ok), default=at)
    return min(each.finished for each in seen if each.ok and each.scheduled > last) - at

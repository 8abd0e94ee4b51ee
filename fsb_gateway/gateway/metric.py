"""The gateway's figures as Prometheus reads them. Made when asked for, from what the gateway keeps anyhow.

    wops_fsb_pool_*       {pool}             queue, utilisation, expected wait, jobs and operations done
    wops_fsb_operation_seconds {pool}        histogram: seconds per programming operation
    wops_fsb_box_*        {box, pool}        condition, utilisation, work done, failures {code}, transactions
    wops_fsb_instance_*   {pool, instance}   jobs and operations, share of the pool, waiting, who caused it

Base units; counters begin anew with the gateway, a box's own with its process. What each of them means is said below,
and in the HELP line that Prometheus gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from fsb_gateway.gateway.gateway import Gateway
from fsb_gateway.report import BoxCondition, BoxReport, InstanceShare, PoolReport

_POOL = ("pool",)
_BOX = ("box", "pool")
_INSTANCE = ("pool", "instance")

T = TypeVar("T")
Figures = dict[str, tuple[str, Callable[[T], float]]]
"""What is said of something: by name, what it means and how it is read."""
Share = tuple[PoolReport, InstanceShare]

_POOL_GAUGES: Figures[PoolReport] = {
    "waiting_jobs": ("Jobs that wait.", lambda pool: pool.waiting),
    "waiting_operations": (
        "Programming operations of the jobs that wait.",
        lambda pool: pool.waiting_operations,
    ),
    "running_jobs": ("Jobs that boxes have been given.", lambda pool: pool.running),
    "unknown_jobs": ("Jobs whose box went away while it had them.", lambda pool: pool.unknown),
    "oldest_job_seconds": ("How long the oldest waiting job has waited.", lambda pool: pool.oldest_seconds),
    "ready_boxes": ("Boxes that take work.", lambda pool: pool.ready_boxes),
    "boxes": ("Boxes that work for the pool.", lambda pool: len(pool.boxes)),
    "utilisation_ratio": ("Share of the last minute spent programming.", lambda pool: pool.utilisation),
}
_POOL_COUNTERS: Figures[PoolReport] = {
    "jobs": ("Jobs done.", lambda pool: pool.jobs_done),
    "failed_jobs": ("Jobs that ended without a result.", lambda pool: pool.jobs_failed),
    "operations": ("Programming operations done.", lambda pool: pool.operations_done),
}
_BOX_GAUGES: Figures[BoxReport] = {
    "utilisation_ratio": ("Share of the last minute spent programming.", lambda box: box.utilisation),
    "running_jobs": ("Jobs that the box has been given.", lambda box: box.running),
    "consecutive_failures": ("Failures since the last success.", lambda box: box.consecutive_failures),
    "transactions_low": ("1 if transactions run out soon.", lambda box: box.transactions_low),
}
_BOX_COUNTERS: Figures[BoxReport] = {
    "jobs": ("Jobs done.", lambda box: box.jobs_done),
    "operations": ("Programming operations done.", lambda box: box.operations_done),
    "busy_seconds": ("Time spent programming.", lambda box: box.busy_seconds),
}
_INSTANCE_GAUGES: Figures[InstanceShare] = {
    "waiting_jobs": ("Jobs that wait.", lambda share: share.waiting),
    "running_jobs": ("Jobs that boxes have been given.", lambda share: share.running),
    "unknown_jobs": ("Jobs whose box went away while it had them.", lambda share: share.unknown),
    "share_ratio": ("Share of the pool's operations of the last five minutes.", lambda share: share.share),
}
_INSTANCE_COUNTERS: Figures[InstanceShare] = {
    "jobs": ("Jobs done.", lambda share: share.jobs_done),
    "operations": ("Programming operations done.", lambda share: share.operations_done),
    "waited_seconds": ("Time that finished jobs had waited.", lambda share: share.waited_seconds),
    "caused_by_others_seconds": (
        "The part of it during which boxes worked for other instances.",
        lambda share: share.caused_by_others_seconds,
    ),
}


def write_metrics(gateway: Gateway) -> bytes:
    """Everything, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_GatewayCollector(gateway))
    return generate_latest(registry)


class _GatewayCollector(Collector):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """Read the gateway."""
        pools, boxes = self._gateway.pools(), self._gateway.boxes()
        yield from _pool_metrics(pools)
        yield self._operation_seconds()
        yield from _box_metrics(boxes)
        yield from _instance_metrics([(pool, share) for pool in pools for share in pool.instances])

    def _operation_seconds(self) -> Metric:
        family = HistogramMetricFamily(
            "wops_fsb_operation_seconds", "Seconds per programming operation.", labels=_POOL
        )
        for name, histogram in self._gateway.service_times().items():
            # "inf" is not how Prometheus writes the last bound.
            bounds = [f"{bound:g}".replace("inf", "+Inf") for bound, _ in histogram.buckets]
            buckets = [
                (bound, float(count)) for bound, (_, count) in zip(bounds, histogram.buckets, strict=True)
            ]
            family.add_metric((name,), buckets=buckets, sum_value=histogram.seconds)
        return family


def _pool_metrics(pools: Sequence[PoolReport]) -> Iterator[Metric]:
    rows = [((pool.name,), pool) for pool in pools]
    yield from _families("wops_fsb_pool", _POOL, rows, gauges=_POOL_GAUGES, counters=_POOL_COUNTERS)
    wait = GaugeMetricFamily(
        "wops_fsb_pool_expected_wait_seconds",
        "Until the result of a job of one operation that came now.",
        labels=(*_POOL, "quantile"),
    )
    for pool in pools:
        wait.add_metric((pool.name, "0.5"), pool.expected_wait_seconds)
        wait.add_metric((pool.name, "0.95"), pool.expected_wait_p95_seconds)
    yield wait


def _box_metrics(boxes: Sequence[BoxReport]) -> Iterator[Metric]:
    rows = [((box.name, box.pool), box) for box in boxes]
    yield from _families("wops_fsb_box", _BOX, rows, gauges=_BOX_GAUGES, counters=_BOX_COUNTERS)
    condition = GaugeMetricFamily(
        "wops_fsb_box_condition", "1 for the condition that the box is in.", labels=(*_BOX, "condition")
    )
    failures = CounterMetricFamily(
        "wops_fsb_box_failures", "Jobs that the box could not do.", labels=(*_BOX, "code")
    )
    left = GaugeMetricFamily("wops_fsb_box_transactions_left", "Transactions left.", labels=_BOX)
    for box in boxes:
        for name in get_args(BoxCondition):
            condition.add_metric((box.name, box.pool, name), box.condition == name)
        for code, count in box.failures.items():
            failures.add_metric((box.name, box.pool, code), count)
        if box.transactions_left is not None:
            left.add_metric((box.name, box.pool), box.transactions_left)
    yield from (condition, failures, left)


def _instance_metrics(shares: Sequence[Share]) -> Iterator[Metric]:
    rows = [((pool.name, share.instance_id), share) for pool, share in shares]
    return _families(
        "wops_fsb_instance", _INSTANCE, rows, gauges=_INSTANCE_GAUGES, counters=_INSTANCE_COUNTERS
    )


def _families(
    prefix: str,
    labels: Sequence[str],
    rows: Iterable[tuple[tuple[str, ...], T]],
    *,
    gauges: Figures[T],
    counters: Figures[T],
) -> Iterator[Metric]:
    """One family per figure, with a sample for each row."""
    rows = list(rows)
    for kind, figures in ((GaugeMetricFamily, gauges), (CounterMetricFamily, counters)):
        for name, (text, read) in figures.items():
            family = kind(f"{prefix}_{name}", text, labels=labels)
            for values, row in rows:
                family.add_metric(values, float(read(row)))
            yield family

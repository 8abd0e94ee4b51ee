"""Pools of boxes, and where instances stand in them, as the admin API shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from app.http.schema.model import AnswerModel
from app.http.schema.queue import InstanceQueueRead
from fsb_gateway.report import InstanceQueueReport, InstanceShare, Quantiles
from tenancy.box.control import PoolView


class QuantilesRead(AnswerModel):
    """50th, 95th and 99th percentile, in seconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, found: Quantiles) -> QuantilesRead:
        """From the gateway's value."""
        return cls(p50=found.p50, p95=found.p95, p99=found.p99)


class InstanceShareRead(AnswerModel):
    """One instance in one pool."""

    instance_id: str
    waiting: int
    running: int
    jobs_done: int
    operations_done: int = Field(description="Since the gateway started.")
    share: float = Field(description="Of the pool's operations of the last five minutes.")
    waited_seconds: float = Field(description="All its finished jobs together, before their start.")
    caused_by_others_seconds: float = Field(description="The part of it in which boxes worked for others.")

    @classmethod
    def of(cls, found: InstanceShare) -> InstanceShareRead:
        """From the gateway's value."""
        return cls(
            instance_id=found.instance_id,
            waiting=found.waiting,
            running=found.running,
            jobs_done=found.jobs_done,
            operations_done=found.operations_done,
            share=found.share,
            waited_seconds=found.waited_seconds,
            caused_by_others_seconds=found.caused_by_others_seconds,
        )


class PoolRead(AnswerModel):
    """A pool as its gateway sees it."""

    name: str
    owner: str | None = Field(description="The instance whose own it is; null for a shared one.")
    boxes: list[str] = Field(description="That work for it now, lent ones included.")
    ready_boxes: int
    reason: str | None = Field(description="Why no box takes work; null while one does.")
    without_box_since: datetime | None = Field(description="Since when, once it was noticed.")
    waiting: int
    waiting_operations: int
    running: int
    unknown: int = Field(description="Jobs whose box went away while it worked on them.")
    oldest_seconds: float = Field(description="How long the oldest waiting job has waited.")
    expected_wait_seconds: float = Field(description="Of a job of one operation that came now, p50.")
    expected_wait_p95_seconds: float
    utilisation: float = Field(description="Share of the last minute that its boxes spent programming.")
    jobs_done: int
    jobs_failed: int
    operations_done: int
    operation_seconds: QuantilesRead | None = Field(description="Per operation; null before the first.")

    @classmethod
    def of(cls, view: PoolView) -> PoolRead:
        """From the domain's value."""
        return cls.model_validate(_pool(view))


class PoolDetailRead(PoolRead):
    """A pool, and each instance in it."""

    instances: list[InstanceShareRead]

    @classmethod
    def of(cls, view: PoolView) -> PoolDetailRead:
        """From the domain's value."""
        shares = [InstanceShareRead.of(each) for each in view.report.instances]
        return cls.model_validate({**_pool(view), "instances": shares})


def _pool(view: PoolView) -> dict[str, object]:
    report, times = view.report, view.report.operation_seconds
    return {
        "name": report.name,
        "owner": report.owner,
        "boxes": list(report.boxes),
        "ready_boxes": report.ready_boxes,
        "reason": report.reason,
        "without_box_since": view.without_box_since,
        "waiting": report.waiting,
        "waiting_operations": report.waiting_operations,
        "running": report.running,
        "unknown": report.unknown,
        "oldest_seconds": report.oldest_seconds,
        "expected_wait_seconds": report.expected_wait_seconds,
        "expected_wait_p95_seconds": report.expected_wait_p95_seconds,
        "utilisation": round(report.utilisation, 4),
        "jobs_done": report.jobs_done,
        "jobs_failed": report.jobs_failed,
        "operations_done": report.operations_done,
        "operation_seconds": None if times is None else QuantilesRead.of(times),
    }


class FleetQueueRead(InstanceQueueRead):
    """Where an instance stands, as its customer sees it, and whose and where that is."""

    instance_id: str
    pool: str

    @classmethod
    def at(cls, report: InstanceQueueReport, *, pool: str) -> FleetQueueRead:
        """From the gateway's value, which names no pool while the gateway does not know the instance's."""
        shown = InstanceQueueRead.of(report).model_dump()
        return cls.model_validate({**shown, "instance_id": report.instance_id, "pool": report.pool or pool})

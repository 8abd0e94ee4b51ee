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

    p50: float = Field(description="Seconds: half of all took no longer.")
    p95: float = Field(description="Seconds: 19 of 20 took no longer.")
    p99: float = Field(description="Seconds: 99 of 100 took no longer.")

    @classmethod
    def of(cls, found: Quantiles) -> QuantilesRead:
        """From the gateway's value."""
        return cls(p50=found.p50, p95=found.p95, p99=found.p99)


class InstanceShareRead(AnswerModel):
    """One instance in one pool."""

    instance_id: str = Field(description="Whose jobs they are.")
    waiting: int = Field(description="Jobs that wait.")
    running: int = Field(description="Jobs that boxes have been given.")
    unknown: int = Field(description="Jobs whose box went away while it worked on them.")
    jobs_done: int = Field(description="Jobs, since the gateway started.")
    operations_done: int = Field(description="Programming operations, since the gateway started.")
    share: float = Field(description="Of the pool's operations of the last five minutes, 0–1.")
    waited_seconds: float = Field(
        description="Seconds that all its finished jobs together waited for their start."
    )
    caused_by_others_seconds: float = Field(
        description="The part of it, in seconds, in which boxes worked for others."
    )

    @classmethod
    def of(cls, found: InstanceShare) -> InstanceShareRead:
        """From the gateway's value."""
        return cls(
            instance_id=found.instance_id,
            waiting=found.waiting,
            running=found.running,
            unknown=found.unknown,
            jobs_done=found.jobs_done,
            operations_done=found.operations_done,
            share=found.share,
            waited_seconds=found.waited_seconds,
            caused_by_others_seconds=found.caused_by_others_seconds,
        )


class PoolRead(AnswerModel):
    """A pool as its gateway sees it."""

    name: str = Field(description="Of the pool.")
    owner: str | None = Field(description="The instance whose own it is; null for a shared one.")
    boxes: list[str] = Field(description="That work for it now, lent ones included.")
    ready_boxes: int = Field(description="How many of them take work.")
    without_key: list[str] = Field(
        description="Boxes that lack a firm key which another box of the pool has: for its instance they do nothing."
    )
    reason: str | None = Field(
        description="Why no box takes work, in an instance's own pool why none does its owner's; null while one does."
    )
    without_box_since: datetime | None = Field(description="Since when, once it was noticed.")
    waiting: int = Field(description="Jobs that wait.")
    waiting_operations: int = Field(description="Programming operations of the jobs that wait.")
    running: int = Field(description="Jobs that boxes have been given and have not finished.")
    unknown: int = Field(description="Jobs whose box went away while it worked on them.")
    oldest_seconds: float = Field(description="Seconds that the oldest waiting job has waited.")
    expected_wait_seconds: float = Field(
        description="Seconds until the update of a job of one operation that came now, in half of all cases: of "
        "the owner's, as his queue has it; in a shared pool of an instance that has nothing waiting, and whose key "
        "all boxes hold. An hour and more, with a reason: at least that; somebody has to do something first."
    )
    expected_wait_p95_seconds: float = Field(description="The same in 19 of 20 cases.")
    utilisation: float = Field(description="Share of the last minute that its boxes spent programming, 0–1.")
    jobs_done: int = Field(description="Jobs, since the gateway started.")
    jobs_failed: int = Field(description="Jobs that ended without an update, since the gateway started.")
    operations_done: int = Field(description="Programming operations, since the gateway started.")
    operation_seconds: QuantilesRead | None = Field(
        description="Seconds per programming operation; null before the first."
    )

    @classmethod
    def of(cls, view: PoolView) -> PoolRead:
        """From the domain's value."""
        return cls.model_validate(_pool(view))


class PoolDetailRead(PoolRead):
    """A pool, and each instance in it."""

    instances: list[InstanceShareRead] = Field(description="That have sent jobs since the gateway started.")

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
        "without_key": list(report.without_key),
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

    instance_id: str = Field(description="Whose place it is.")
    pool: str = Field(description="Where its jobs go.")

    @classmethod
    def at(cls, report: InstanceQueueReport, *, pool: str) -> FleetQueueRead:
        """From the gateway's value, which names no pool while the gateway does not know the instance's."""
        shown = InstanceQueueRead.of(report).model_dump()
        return cls.model_validate({**shown, "instance_id": report.instance_id, "pool": report.pool or pool})

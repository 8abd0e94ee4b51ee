"""Where everybody stands: the gateway's state as reports. Reads, changes nothing. On the event loop's thread."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from app.core.clock import Clock
from fsb_gateway.error import PoolForeign, PoolUnknown
from fsb_gateway.gateway.box_set import BoxSet
from fsb_gateway.gateway.job_book import JobBook
from fsb_gateway.gateway.outlook import NO_WAIT, NOTHING_AHEAD, UNKNOWN_WAIT, Forecast, Outlook
from fsb_gateway.gateway.pool import Entry, Pool
from fsb_gateway.gateway.seat import Seat, loan_end
from fsb_gateway.job import JobPending
from fsb_gateway.report import (
    BoxReport,
    InstanceQueueReport,
    InstanceShare,
    JobReport,
    PoolReport,
    Temperature,
)
from fsb_gateway.scheduling.delay import InstanceDelay

_WARM_SHARE = 0.5
_HOT_SHARE = 0.95
_JOBS_SHOWN = 100


def describe_pool(outlook: Outlook, pool: Pool) -> PoolReport:
    """A pool at this moment."""
    at = outlook.clock.monotonic()
    crew = outlook.boxes.crew(pool.name, outlook.clock.now())
    found = outlook.next_in(pool)
    return PoolReport(
        name=pool.name,
        owner=pool.owner,
        boxes=tuple(seat.name for seat in crew),
        ready_boxes=sum(seat.works for seat in crew),
        without_key=outlook.without_key(pool),
        reason=found.reason,
        waiting=len(pool.queue) + len(pool.held),
        waiting_operations=pool.queue.operations() + sum(entry.job.cost for entry in pool.held.values()),
        running=len(pool.running),
        unknown=len(pool.lost),
        oldest_seconds=max([pool.queue.oldest(at), *(at - entry.arrived_at for entry in pool.held.values())]),
        expected_wait_seconds=found.expected.p50,
        expected_wait_p95_seconds=found.expected.p95,
        utilisation=sum(seat.utilisation.share(at) for seat in crew) / max(1, len(crew)),
        jobs_done=pool.jobs_done,
        jobs_failed=pool.jobs_failed,
        operations_done=pool.operations_done,
        operation_seconds=pool.service.quantiles(),
        instances=_shares(pool, at),
    )


def describe_box(boxes: BoxSet, seat: Seat, *, clock: Clock) -> BoxReport:
    """A box at this moment."""
    now, at = clock.now(), clock.monotonic()
    status, spec = seat.box.status(), seat.spec
    tried_at = seat.health.retry_at
    works_for = spec.pool_at(now)
    return BoxReport(
        name=seat.name,
        pool=spec.pool,
        works_for=works_for,
        owner=spec.owner,
        driver=spec.driver,
        condition=seat.condition,
        temperature=_temperature(seat, boxes.pools.get(works_for), at),
        utilisation=seat.utilisation.share(at),
        running=len(seat.outstanding),
        jobs_done=status.jobs_done,
        operations_done=status.operations_done,
        busy_seconds=status.busy_seconds,
        failures=dict(seat.failures),
        consecutive_failures=seat.health.consecutive,
        error=seat.error or status.error,
        retry_at=status.retry_at if tried_at is None else now + timedelta(seconds=tried_at - at),
        lent_until=loan_end(spec, now),
        transactions=spec.transactions,
        transactions_left=status.transactions_left,
        transactions_low=seat.transactions_low(at),
        firm_codes=status.firm_codes,
        version=spec.version,
    )


def describe_job(outlook: Outlook, entry: Entry) -> JobPending:
    """Where a job stands that is not finished."""
    found = outlook.job(entry)
    delay = entry.pool.delay.so_far(entry.job.job_id, at=outlook.clock.monotonic())
    return JobPending(
        job_id=entry.job.job_id,
        state=entry.state,
        position=found.before.jobs,
        expected_wait=timedelta(seconds=found.expected.p50),
        expected_wait_p95=timedelta(seconds=found.expected.p95),
        others_share=found.before.others_share,
        reason=found.reason,
        waited=timedelta(seconds=delay.waited),
        caused_by_others=timedelta(seconds=delay.by_others),
    )


def describe_running(boxes: BoxSet, seat: Seat, job_id: str, *, clock: Clock) -> JobPending:
    """A job that a box has been doing since before the gateway started."""
    pool = boxes.pools.get(seat.spec.pool_at(clock.now())) or boxes.pool(seat.spec.pool)
    expected = pool.service.wait(0, own=1)
    return JobPending(
        job_id=job_id,
        state="running",
        position=0,
        expected_wait=timedelta(seconds=expected.p50),
        expected_wait_p95=timedelta(seconds=expected.p95),
    )


def describe_queue(
    outlook: Outlook, book: JobBook, instance_id: str, *, pool: str | None = None
) -> InstanceQueueReport:
    """Where an instance stands: in its own pool, in the one that it says, or else in the one that had its last job.

    A pool that would not take its jobs is not described to it; the reason says which kind of refusal it would get.
    """
    entries = [entry for entry in book.entries.values() if entry.job.instance_id == instance_id]
    place, reason = _pool_of(outlook.boxes, entries, instance_id, named=pool)
    states = Counter(entry.state for entry in entries)
    found = Forecast(
        reason=reason, before=NOTHING_AHEAD, expected=NO_WAIT if reason is None else UNKNOWN_WAIT
    )
    total = InstanceDelay()
    if place is not None:
        found, total = outlook.new(place, instance_id), place.delay.total(instance_id)
    return InstanceQueueReport(
        instance_id=instance_id,
        pool=None if place is None else place.name,
        reason=found.reason,
        waiting=states["waiting"],
        running=states["running"],
        unknown=states["unknown"],
        position=found.before.jobs,
        expected_wait_seconds=found.expected.p50,
        expected_wait_p95_seconds=found.expected.p95,
        others_share=found.before.others_share,
        jobs_done=total.jobs,
        operations_done=total.operations,
        waited_seconds=total.waited_seconds,
        caused_by_others_seconds=total.caused_by_others_seconds,
        jobs=_job_reports(outlook, book, entries),
    )


def _job_reports(outlook: Outlook, book: JobBook, entries: list[Entry]) -> tuple[JobReport, ...]:
    """With boxes, in the queue, held or lost: in this order."""
    pools = {entry.pool.name: entry.pool for entry in entries}
    order = [entry for entry in entries if entry.seat is not None]
    for pool in pools.values():
        standing = pool.queue.standing(entries[0].job.instance_id, limit=_JOBS_SHOWN)
        order += [book.entries[job.job_id] for job, _ in standing]
    order += [entry for entry in entries if entry.seat is None and not entry.is_queued]
    return tuple(_job_report(outlook, entry) for entry in order[:_JOBS_SHOWN])


def _job_report(outlook: Outlook, entry: Entry) -> JobReport:
    pending = describe_job(outlook, entry)
    return JobReport(
        job_id=pending.job_id,
        state=pending.state,
        position=pending.position,
        operations=entry.job.cost,
        expected_wait_seconds=pending.expected_wait.total_seconds(),
        expected_wait_p95_seconds=pending.expected_wait_p95.total_seconds(),
        others_share=pending.others_share,
        reason=pending.reason,
        waited_seconds=pending.waited.total_seconds(),
        caused_by_others_seconds=pending.caused_by_others.total_seconds(),
    )


def _pool_of(
    boxes: BoxSet, entries: list[Entry], instance_id: str, *, named: str | None
) -> tuple[Pool | None, str | None]:
    """Where an instance's next job goes; or the code of why it would be refused, if that is known."""
    pool = boxes.pool_of(instance_id)
    if pool is not None:
        return pool, None
    if named is None:
        return _last_pool(boxes, entries, instance_id), None
    pool = boxes.pools.get(named)
    if pool is None:
        return None, PoolUnknown.code
    return (pool, None) if pool.owner is None else (None, PoolForeign.code)


def _last_pool(boxes: BoxSet, entries: list[Entry], instance_id: str) -> Pool | None:
    if entries:
        return entries[-1].pool
    pools = boxes.pools.values()
    return next((pool for pool in pools if pool.delay.total(instance_id).jobs), None)


def _temperature(seat: Seat, pool: Pool | None, at: float) -> Temperature:
    share = seat.utilisation.share(at)
    if share >= _HOT_SHARE and pool is not None and len(pool.queue):
        return "hot"
    return "warm" if share >= _WARM_SHARE else "cold"


def _shares(pool: Pool, at: float) -> tuple[InstanceShare, ...]:
    """Every instance that has or had jobs here."""
    running = Counter(entry.job.instance_id for entry in pool.running.values())
    unknown = Counter(entry.job.instance_id for entry in pool.lost.values())
    waiting = Counter(pool.queue.waiting_by_instance())
    waiting.update(entry.job.instance_id for entry in pool.held.values())
    names = sorted({*running, *unknown, *waiting, *pool.delay.instances()})
    totals = {name: pool.delay.total(name) for name in names}
    return tuple(
        InstanceShare(
            instance_id=name,
            waiting=waiting[name],
            running=running[name],
            unknown=unknown[name],
            jobs_done=total.jobs,
            operations_done=total.operations,
            share=pool.delay.share(name, at=at),
            waited_seconds=total.waited_seconds,
            caused_by_others_seconds=total.caused_by_others_seconds,
        )
        for name, total in totals.items()
    )

"""Where everybody stands: the gateway's state as reports. Reads, changes nothing. On the event loop's thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import takewhile

from app.core.clock import Clock
from fsb_gateway.error import (
    BoxDisconnected,
    BoxJournalDamaged,
    BoxJournalUnwritable,
    PoolDrained,
    PoolForeign,
    PoolUnknown,
    PoolWithoutBox,
    TokenAbsent,
    TokenPinWrong,
    TransactionsExhausted,
)
from fsb_gateway.gateway.box_set import BoxSet
from fsb_gateway.gateway.job_book import JobBook
from fsb_gateway.gateway.pool import Entry, Pool
from fsb_gateway.gateway.seat import Seat, loan_end
from fsb_gateway.gateway.upkeep import REOPEN_SECONDS
from fsb_gateway.job import JobPending
from fsb_gateway.report import (
    BoxCondition,
    BoxReport,
    InstanceQueueReport,
    InstanceShare,
    JobReport,
    PoolReport,
    Temperature,
)
from fsb_gateway.scheduler import Ahead
from fsb_gateway.scheduling.delay import InstanceDelay
from fsb_gateway.scheduling.expectation import Expected

_WARM_SHARE = 0.5
_HOT_SHARE = 0.95
_JOBS_SHOWN = 100
# Nobody's id: of an instance that has nothing waiting.
_STRANGER = ""
_NOTHING_AHEAD = Ahead(jobs=0, own_operations=0, other_operations=0)
# Until somebody has come to a box that needs somebody. A guess, and no more.
_STAFF_SECONDS = 3600.0
# The most hopeful first: what mends itself, what somebody has to mend, what somebody wants.
_REASONS: dict[BoxCondition, str] = {
    "starting": PoolWithoutBox.code,
    "disconnected": BoxDisconnected.code,
    "token_absent": TokenAbsent.code,
    "journal_unwritable": BoxJournalUnwritable.code,
    "journal_damaged": BoxJournalDamaged.code,
    "token_pin_wrong": TokenPinWrong.code,
    "transactions_exhausted": TransactionsExhausted.code,
    "drained": PoolDrained.code,
}
# These look again by themselves, about as often; for the others somebody has to do something.
_MENDING: tuple[BoxCondition, ...] = ("starting", "disconnected", "token_absent", "journal_unwritable")


def describe_pool(boxes: BoxSet, pool: Pool, *, clock: Clock) -> PoolReport:
    """A pool at this moment."""
    now, at = clock.now(), clock.monotonic()
    crew = boxes.crew(pool.name, now)
    expected = expect_new(boxes, pool, _STRANGER, clock=clock)
    return PoolReport(
        name=pool.name,
        owner=pool.owner,
        boxes=tuple(seat.name for seat in crew),
        ready_boxes=sum(seat.works for seat in crew),
        reason=_reason(crew),
        waiting=len(pool.queue) + len(pool.held),
        waiting_operations=pool.queue.operations() + sum(entry.job.cost for entry in pool.held.values()),
        running=len(pool.running),
        unknown=len(pool.lost),
        oldest_seconds=max([pool.queue.oldest(at), *(at - entry.arrived_at for entry in pool.held.values())]),
        expected_wait_seconds=expected.p50,
        expected_wait_p95_seconds=expected.p95,
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


def describe_job(boxes: BoxSet, entry: Entry, *, clock: Clock) -> JobPending:
    """Where a job stands that is not finished."""
    pool, job = entry.pool, entry.job
    now, at = clock.now(), clock.monotonic()
    reason, idle, workers, before = None, 0.0, 1, _NOTHING_AHEAD
    if entry.seat is not None:
        before = _before_in_box(entry, entry.seat)
    else:
        holders = [seat for seat in boxes.crew(pool.name, now) if seat.holds(job) or not seat.was_seen]
        reason, idle = _job_reason(entry, holders), _idle_seconds(boxes, entry, holders, now=now, at=at)
        workers = sum(seat.works and seat.can_pay(job) for seat in holders)
    if entry.is_queued:
        before = _with_running(pool.queue.ahead(job.job_id), pool, job.instance_id)
    expected = pool.service.wait(before.operations, boxes=workers, own=job.cost)
    delay = pool.delay.so_far(job.job_id, at=at)
    return JobPending(
        job_id=job.job_id,
        state=entry.state,
        position=before.jobs,
        expected_wait=timedelta(seconds=max(0.0, expected.p50) + idle),
        expected_wait_p95=timedelta(seconds=max(0.0, expected.p95) + idle),
        others_share=before.others_share,
        reason=reason,
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
    boxes: BoxSet, book: JobBook, instance_id: str, *, pool: str | None = None, clock: Clock
) -> InstanceQueueReport:
    """Where an instance stands: in its own pool, in the one that it says, or else in the one that had its last job.

    A pool that would not take its jobs is not described to it; the reason says which kind of refusal it would get.
    """
    entries = [entry for entry in book.entries.values() if entry.job.instance_id == instance_id]
    found, reason = _pool_of(boxes, entries, instance_id, named=pool)
    states = Counter(entry.state for entry in entries)
    idle = 0.0 if reason is None else _STAFF_SECONDS
    expected, before, total = Expected(p50=idle, p95=idle), _NOTHING_AHEAD, InstanceDelay()
    if found is not None:
        reason = _reason(boxes.crew(found.name, clock.now()))
        expected = expect_new(boxes, found, instance_id, clock=clock)
        before = _with_running(found.queue.ahead_of_new(instance_id), found, instance_id)
        total = found.delay.total(instance_id)
    return InstanceQueueReport(
        instance_id=instance_id,
        pool=None if found is None else found.name,
        reason=reason,
        waiting=states["waiting"],
        running=states["running"],
        unknown=states["unknown"],
        position=before.jobs,
        expected_wait_seconds=expected.p50,
        expected_wait_p95_seconds=expected.p95,
        others_share=before.others_share,
        jobs_done=total.jobs,
        operations_done=total.operations,
        waited_seconds=total.waited_seconds,
        caused_by_others_seconds=total.caused_by_others_seconds,
        jobs=_job_reports(boxes, book, entries, clock=clock),
    )


def expect_new(boxes: BoxSet, pool: Pool, instance_id: str, *, clock: Clock) -> Expected:
    """How long a job of one operation would take that came now, in seconds; a stranger's without an instance."""
    now, at = clock.now(), clock.monotonic()
    crew = boxes.crew(pool.name, now)
    before = _with_running(pool.queue.ahead_of_new(instance_id), pool, instance_id)
    workers = sum(seat.works and seat.condition == "ready" for seat in crew)
    expected = pool.service.wait(before.operations, boxes=workers, own=1)
    idle = 0.0 if workers else _seconds_until_work(boxes, pool, crew, now=now, at=at)
    idle = _STAFF_SECONDS if idle is None else idle
    return Expected(p50=max(0.0, expected.p50) + idle, p95=max(0.0, expected.p95) + idle)


def _job_reports(
    boxes: BoxSet, book: JobBook, entries: list[Entry], *, clock: Clock
) -> tuple[JobReport, ...]:
    """With boxes, in the queue, held or lost: in this order."""
    pools = {entry.pool.name: entry.pool for entry in entries}
    order = [entry for entry in entries if entry.seat is not None]
    for pool in pools.values():
        standing = pool.queue.standing(entries[0].job.instance_id, limit=_JOBS_SHOWN)
        order += [book.entries[job.job_id] for job, _ in standing]
    order += [entry for entry in entries if entry.seat is None and not entry.is_queued]
    return tuple(_job_report(boxes, entry, clock=clock) for entry in order[:_JOBS_SHOWN])


def _job_report(boxes: BoxSet, entry: Entry, *, clock: Clock) -> JobReport:
    pending = describe_job(boxes, entry, clock=clock)
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


def _with_running(ahead: Ahead, pool: Pool, instance_id: str) -> Ahead:
    """What boxes work on is before everything that waits."""
    own = others = 0
    for entry in pool.running.values():
        if entry.job.instance_id == instance_id:
            own += entry.job.cost
        else:
            others += entry.job.cost
    return Ahead(
        jobs=ahead.jobs + len(pool.running),
        own_operations=ahead.own_operations + own,
        other_operations=ahead.other_operations + others,
    )


def _before_in_box(entry: Entry, seat: Seat) -> Ahead:
    """What the box has been given before the job."""
    before = list(takewhile(lambda other: other is not entry, seat.outstanding.values()))
    own = sum(other.job.cost for other in before if other.job.instance_id == entry.job.instance_id)
    everything = sum(other.job.cost for other in before)
    return Ahead(jobs=len(before), own_operations=own, other_operations=everything - own)


def _reason(crew: Iterable[Seat]) -> str | None:
    """Code of why none of these boxes takes every kind of work; None if one does."""
    seats = list(crew)
    if any(seat.works and seat.condition == "ready" for seat in seats):
        return None
    for seat in seats:
        if seat.health.reason is not None and seat.box.ready and not seat.spec.drained:
            return seat.health.reason
    conditions = {seat.condition for seat in seats}
    return next(
        (code for condition, code in _REASONS.items() if condition in conditions), PoolWithoutBox.code
    )


def _seconds_until_work(
    boxes: BoxSet, pool: Pool, crew: Iterable[Seat], *, now: datetime, at: float
) -> float | None:
    """When one of these boxes may work again; None if somebody has to do something first."""
    times: list[float] = []
    for seat in crew:
        condition = seat.condition
        if condition == "out":
            times.append(max(0.0, (seat.health.retry_at or at) - at))
        elif condition in _MENDING:
            times.append(REOPEN_SECONDS)
    for seat in boxes.seats.values():
        end = loan_end(seat.spec, now)
        if seat.spec.pool == pool.name and end is not None:
            times.append((end - now).total_seconds())
    return min(times, default=None)


def _job_reason(entry: Entry, holders: list[Seat]) -> str | None:
    """What keeps a job waiting besides its turn."""
    if entry.held_until is not None:
        return entry.reason
    if entry.doubt and not entry.is_queued:
        return BoxDisconnected.code
    workers = [seat for seat in holders if seat.works]
    if workers:
        return None if any(seat.can_pay(entry.job) for seat in workers) else TransactionsExhausted.code
    return _reason(holders)


def _idle_seconds(boxes: BoxSet, entry: Entry, holders: list[Seat], *, now: datetime, at: float) -> float:
    """How long nothing will be done about a job, whoever's turn it is; until its deadline at most."""
    left = max(0.0, (entry.job.deadline_at - now).total_seconds())
    if entry.held_until is not None:
        return min(left, max(0.0, entry.held_until - at))
    if any(seat.works and seat.can_pay(entry.job) for seat in holders):
        return 0.0
    seconds = _seconds_until_work(boxes, entry.pool, holders, now=now, at=at)
    return left if seconds is None else min(left, seconds)


def _temperature(seat: Seat, pool: Pool | None, at: float) -> Temperature:
    share = seat.utilisation.share(at)
    if share >= _HOT_SHARE and pool is not None and len(pool.queue):
        return "hot"
    return "warm" if share >= _WARM_SHARE else "cold"


def _shares(pool: Pool, at: float) -> tuple[InstanceShare, ...]:
    """Every instance that has or had jobs here."""
    running = Counter(entry.job.instance_id for entry in pool.running.values())
    waiting = Counter(pool.queue.waiting_by_instance())
    waiting.update(entry.job.instance_id for entry in pool.held.values())
    names = sorted({*running, *waiting, *pool.delay.instances()})
    return tuple(_share(pool, name, waiting[name], running[name], at) for name in names)


def _share(pool: Pool, instance_id: str, waiting: int, running: int, at: float) -> InstanceShare:
    total = pool.delay.total(instance_id)
    return InstanceShare(
        instance_id=instance_id,
        waiting=waiting,
        running=running,
        jobs_done=total.jobs,
        operations_done=total.operations,
        share=pool.delay.share(instance_id, at=at),
        waited_seconds=total.waited_seconds,
        caused_by_others_seconds=total.caused_by_others_seconds,
    )

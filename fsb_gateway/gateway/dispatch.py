"""Gives waiting jobs to boxes, and takes what comes of it. On the event loop's thread.

taken ──► box ──► result
├─ refused: the job ends                    (the job's fault: malformed, its key gone)
├─ failed: another box, or this one again   (the box's fault, unless the job fails everywhere)
├─ stopped: the front of the queue          (disk full, token gone: not the job's fault)
└─ went away: the box is asked              (nobody knows: `recovery`)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Set
from functools import partial

from app.core.alarm import Alarm
from app.core.clock import Clock
from fsb_gateway.error import (
    BoxDisconnected,
    BoxFailed,
    BoxPowerLost,
    FirmKeyMissing,
    FsbError,
    FsbRejected,
    FsbUnavailable,
    JobDeadlinePassed,
    KeystoreError,
    PoolWithoutBox,
    TransactionsExhausted,
)
from fsb_gateway.gateway.box_set import BoxSet
from fsb_gateway.gateway.job_book import JobBook
from fsb_gateway.gateway.pool import Entry, Pool, check_deadline
from fsb_gateway.gateway.seat import Seat
from fsb_gateway.job import ProgrammingJob

_log = logging.getLogger(__name__)

# A box is given its next jobs when those that it has last no longer than this, so that the way to it and its journal
# never keep it idle; earlier would only fix the order of service earlier than needed. A round trip to a box process
# takes well under 1 ms.
_STAGED_SECONDS = 0.005
_STAGED_MAX = 8
# After so many failures a job waits, longer each time, instead of being tried at once: like a box that is out.
_TRIES = 3
_PAUSE_SECONDS = 5.0
_PAUSE_DOUBLINGS = 7

Allowed = Callable[[ProgrammingJob], bool]


class Dispatcher:
    """Keeps every box of every pool programming.

    Attributes:
        is_holding: nothing is given to boxes, because some are still to be heard.
        is_closed: nothing is given to boxes any more.
    """

    def __init__(
        self, boxes: BoxSet, book: JobBook, *, clock: Clock, retired: Set[int] = frozenset()
    ) -> None:
        """Give nothing to boxes yet.

        Args:
            retired: firm codes whose key signs no more, whatever a box still holds; as it is at any moment.
        """
        self._boxes = boxes
        self._book = book
        self._clock = clock
        self._retired = retired
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_lost: Callable[[Entry, Seat], None] = lambda entry, seat: None
        self._on_wait: Callable[[], None] = lambda: None
        self.is_holding = False
        self.is_closed = False

    def on_lost(self, listener: Callable[[Entry, Seat], None]) -> None:
        """Call this with each job whose box went away while it had the job."""
        self._on_lost = listener

    def on_wait(self, listener: Callable[[], None]) -> None:
        """Call this whenever jobs are left waiting."""
        self._on_wait = listener

    def wait(self) -> None:
        """Something is left for later."""
        self._on_wait()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Let some work be done, and keep hold of it until it is."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait_closed(self) -> None:
        """Let everything end that is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def dispatch_all(self) -> None:
        """Dispatch every pool that has waiting jobs."""
        for pool in list(self._boxes.pools.values()):
            self.dispatch(pool)

    def dispatch(self, pool: Pool) -> None:
        """Give waiting jobs to the boxes of a pool."""
        if self.is_holding or self.is_closed or not (len(pool.queue) or pool.held):
            return
        at = self._clock.monotonic()
        self.expire(pool)
        for entry in list(pool.held.values()):
            if entry.held_until is not None and at >= entry.held_until:
                self._book.release(entry)
        crew = self._boxes.crew(pool.name, self._clock.now())
        workers = [seat for seat in crew if seat.works]
        self._fill_idle(pool, [seat for seat in workers if not seat.outstanding], at)
        if len(pool.queue):
            self._stage(pool, [seat for seat in workers if seat.outstanding], at)
            self._try_out(pool, [seat for seat in crew if seat.may_be_tried], at)
            self._on_wait()

    def expire(self, pool: Pool) -> None:
        """End the jobs that have waited until their deadline; one in doubt waits on, for its box alone."""
        now = self._clock.now()
        late = [self._book.entries[job.job_id] for job in pool.queue.expire(now)]
        for entry in late:
            entry.is_queued = False
        late += [entry for entry in pool.held.values() if now >= entry.job.deadline_at]
        for entry in late:
            self.end_late(entry)

    def end_late(self, entry: Entry) -> None:
        """The job's deadline has passed. That nothing was programmed can only be said without doubt."""
        if entry.doubt:
            self._book.strand(entry)
            return
        try:
            check_deadline(entry.job, self._clock.now())
        except JobDeadlinePassed as error:
            self._book.fail(entry, error)

    def end_retired(self, firm_code: int) -> None:
        """End the jobs that wait for a key that signs no more; one in doubt waits on, for its box alone."""
        for entry in list(self._book.entries.values()):
            if entry.job.firm_code != firm_code or entry.seat is not None:
                continue
            if entry.doubt:
                self._book.strand(entry)
            else:
                self._book.fail(entry, _key_retired(entry))
            entry.pool.rest()

    def can_sign(self, seat: Seat, job: ProgrammingJob) -> bool:
        """Whether the box has the job's key, and the key still signs."""
        return job.firm_code not in self._retired and seat.holds(job)

    def retry(self, entry: Entry, *, refund: bool = True) -> None:
        """Let a job that no box has done be tried again: at once, or after a pause if it has failed repeatedly."""
        if self.is_closed:
            self._book.fail(entry, PoolWithoutBox("the gateway is stopping", job_id=entry.job.job_id))
        elif entry.job.firm_code in self._retired:
            self._book.fail(entry, _key_retired(entry))
        elif entry.failures < _TRIES:
            self._book.requeue(entry, refund=refund)
        else:
            entry.avoid.clear()
            doublings = min(entry.failures - _TRIES, _PAUSE_DOUBLINGS)
            self._book.hold(entry, self._clock.monotonic() + _PAUSE_SECONDS * 2**doublings)
            self._on_wait()

    def go_on(self, seat: Seat, pool: Pool) -> None:
        """A box has done something: it may take the next job, of this pool or of the one that it works for now."""
        self.dispatch(pool)
        pool.rest()
        other = self._boxes.pools.get(seat.spec.pool_at(self._clock.now()))
        if other is not None and other is not pool:
            self.dispatch(other)

    def _fill_idle(self, pool: Pool, idle: list[Seat], at: float) -> None:
        """The box that has been idle longest first: the jobs of one instance spread over its boxes."""
        idle.sort(key=lambda seat: seat.given_at)
        for seat in idle:
            if not len(pool.queue):
                return
            self._give(seat, pool, at)

    def _stage(self, pool: Pool, busy: list[Seat], at: float) -> None:
        """Give boxes their next jobs while they work.

        Only what no idle box could do (they have been asked before), and only while every working box has one more to
        take: a box that becomes idle must not see its job staged elsewhere. Only shortly before they have done what
        they have, too: a job that is staged can neither be cancelled nor dropped at its deadline, nor can one that
        comes later and is owed more go before it.
        """
        working, pace = len(busy), pool.service.mean()
        depth = 1 + max(1, min(_STAGED_MAX, int(_STAGED_SECONDS / pace)))
        left = {seat: seat.expected_seconds(pace, at) for seat in busy if len(seat.outstanding) < depth}
        while left and len(pool.queue) >= working:
            seat = min(left, key=left.__getitem__)
            if left[seat] > _STAGED_SECONDS:
                self._dispatch_in(pool, left[seat] - _STAGED_SECONDS)
                return
            if self._give(seat, pool, at) and len(seat.outstanding) < depth:
                left[seat] = seat.expected_seconds(pace, at)
            else:
                del left[seat]

    def _dispatch_in(self, pool: Pool, seconds: float) -> None:
        """Dispatch a pool in so many seconds at the latest."""
        if pool.alarm is None:
            pool.alarm = Alarm(partial(self.dispatch, pool))
        pool.alarm.ring_in(seconds)

    def _try_out(self, pool: Pool, out: list[Seat], at: float) -> None:
        """Let one job try each box that is out, when its time has come or another job may have been to blame."""
        for seat in out:
            allowed = None if seat.health.may_try(at) else seat.can_be_cleared_by
            if self._give(seat, pool, at, allowed=allowed):
                seat.health.probe()

    def _give(self, seat: Seat, pool: Pool, at: float, *, allowed: Allowed | None = None) -> bool:
        def can_serve(job: ProgrammingJob) -> bool:
            return self._can_do(seat, job) and self._suits(seat, job) and (allowed is None or allowed(job))

        job = pool.queue.take(can_serve=can_serve)
        if job is None:
            return False
        entry = self._book.entries[job.job_id]
        self._book.give(entry, seat, at)
        self.start(self._serve(seat, entry))
        return True

    def _can_do(self, seat: Seat, job: ProgrammingJob) -> bool:
        """Whether the box has what the job needs: its key, and transactions."""
        return self.can_sign(seat, job) and seat.can_pay(job)

    def _suits(self, seat: Seat, job: ProgrammingJob) -> bool:
        """Whether the job has not failed in this box, or has no other box left."""
        entry = self._book.entries[job.job_id]
        if seat.name not in entry.avoid:
            return True
        crew = self._boxes.crew(entry.pool.name, self._clock.now())
        others = (other for other in crew if other.works and other.name not in entry.avoid)
        return not any(self._can_do(other, job) for other in others)

    async def _serve(self, seat: Seat, entry: Entry) -> None:
        try:
            result = await seat.box.program(entry.job, entry.request)
        except Exception as error:
            self._book.leave(entry, seat)
            self._take_failure(seat, entry, _as_fsb_error(error, seat, entry))
        else:
            at = self._clock.monotonic()
            self._book.leave(entry, seat)
            seat.succeed(at)
            measured = seat.measure(entry, at)
            if measured is not None and entry.given_at > entry.pool.paced_at:
                entry.pool.service.add(operations=measured[0], seconds=measured[1])
            self._book.finish(entry, result)
        self.go_on(seat, entry.pool)

    def _take_failure(self, seat: Seat, entry: Entry, error: FsbError) -> None:
        """Decide whose fault it was, and what becomes of the job."""
        at = self._clock.monotonic()
        entry.reason = error.code
        if not isinstance(error, FsbRejected):
            seat.failures[error.code] += 1
            seat.error = error.code
        if isinstance(error, BoxDisconnected | BoxPowerLost) or not seat.connected:
            if seat.lose(entry, error.code, at):
                _count_failure(entry, seat, at)
            if not entry.future.done():
                self._on_lost(entry, seat)
                self._on_wait()
        elif isinstance(error, TransactionsExhausted):
            # Nobody's fault. The box knows best what it has left; asked again and again, it would say the same.
            seat.health.abandon(at)
            _count_failure(entry, seat, at)
            self._let_again(entry, refund=True)
        elif isinstance(error, FsbUnavailable) and seat.box.ready:
            seat.fail(entry, error.code, at)
            _count_failure(entry, seat, at)
            # The first time it goes straight to another box; then it costs its instance what it cost the boxes.
            self._let_again(entry, refund=entry.failures == 1)
        else:
            seat.health.abandon(at)
            self._end_or_let_again(entry, error)

    def _end_or_let_again(self, entry: Entry, error: FsbError) -> None:
        """The box has stopped, or has refused: a key that has just been dropped there may be in another box."""
        members = self._boxes.members(entry.pool.name, self._clock.now())
        if isinstance(error, FsbUnavailable) or (
            isinstance(error, FirmKeyMissing) and any(seat.holds(entry.job) for seat in members)
        ):
            self._let_again(entry, refund=True)
        else:
            self._book.fail(entry, error)

    def _let_again(self, entry: Entry, *, refund: bool) -> None:
        if not entry.future.done():
            self.retry(entry, refund=refund)


def _key_retired(entry: Entry) -> FirmKeyMissing:
    firm_code = entry.job.firm_code
    return FirmKeyMissing(f"the key of firm code {firm_code} has been retired", firm_code=firm_code)


def _count_failure(entry: Entry, seat: Seat, at: float) -> None:
    entry.failed_at = entry.failed_at if entry.failures else at
    entry.failures += 1
    entry.avoid.add(seat.name)


def _as_fsb_error(error: Exception, seat: Seat, entry: Entry) -> FsbError:
    """What a box raised; anything unforeseen is the box's failure."""
    if isinstance(error, FsbError) and not isinstance(error, KeystoreError):
        return error
    _log.error("box %s failed in job %s", seat.name, entry.job.job_id, exc_info=error)
    return BoxFailed(f"box {seat.name} failed", box=seat.name)

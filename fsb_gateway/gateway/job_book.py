"""Which jobs there are, where each of them is, and how they end. On the event loop's thread."""

from __future__ import annotations

from collections import OrderedDict

from app.core.clock import Clock
from fsb_gateway.error import FsbError
from fsb_gateway.gateway.pool import Entry
from fsb_gateway.gateway.seat import Seat
from fsb_gateway.job import ProgrammingResult

# Reasons of failed jobs are kept for callers that come back for them; a line comes back within seconds.
_FAILURES_KEPT = 4096


class JobBook:
    """Every job that is not finished, and why the last ones failed.

    A job is in exactly one place: in its pool's queue, held after failures, lost with a box, or with a box. One in the
    queue or with a box may be in doubt besides: another box, that is away, may have done it.

    Attributes:
        entries: by job id.
        failures: by job id.
    """

    def __init__(self, clock: Clock) -> None:
        self.entries: dict[str, Entry] = {}
        self.failures: OrderedDict[str, FsbError] = OrderedDict()
        self._clock = clock

    def add(self, entry: Entry) -> None:
        """Let a new job wait its turn in its pool."""
        job = entry.job
        self.failures.pop(job.job_id, None)
        self.entries[job.job_id] = entry
        entry.is_queued = True
        entry.pool.queue.put(job, at=entry.arrived_at)
        entry.pool.delay.arrive(job.job_id, job.instance_id, at=entry.arrived_at)

    def give(self, entry: Entry, seat: Seat, at: float) -> None:
        """A box works on the job, which has been taken out of the queue."""
        job_id, pool = entry.job.job_id, entry.pool
        entry.is_queued = False
        entry.seat = seat
        entry.given_at = seat.given_at = at
        seat.outstanding[job_id] = pool.running[job_id] = entry
        seat.utilisation.begin(at)
        pool.delay.give(job_id, seat.name, at=at)

    def leave(self, entry: Entry, seat: Seat) -> None:
        """The box works on the job no more."""
        at = self._clock.monotonic()
        del seat.outstanding[entry.job.job_id]
        seat.utilisation.end(at)
        seat.left_at = at
        entry.seat = None
        entry.pool.running.pop(entry.job.job_id, None)

    def requeue(self, entry: Entry, *, refund: bool) -> None:
        """Let a job that a box has not done wait at the front of its instance's jobs."""
        self.withdraw(entry)
        entry.is_queued = True
        entry.pool.queue.put_back(entry.job, at=entry.arrived_at, refund=refund)
        entry.pool.delay.give_back(entry.job.job_id, at=self._clock.monotonic())

    def hold(self, entry: Entry, until: float) -> None:
        """Let a job wait outside the queue until a monotonic time."""
        self.withdraw(entry)
        entry.held_until = until
        entry.pool.held[entry.job.job_id] = entry
        entry.pool.delay.give_back(entry.job.job_id, at=self._clock.monotonic())

    def release(self, entry: Entry) -> None:
        """Let a held job wait its turn again; what it has cost so far is charged to its instance."""
        self.withdraw(entry)
        entry.is_queued = True
        entry.pool.queue.put_back(entry.job, at=entry.arrived_at, refund=False)

    def lose(self, entry: Entry, seat: Seat) -> None:
        """A box went away while it had the job: whether it was done is not known before the box is asked."""
        entry.lost_at = self._clock.monotonic()
        entry.doubt[seat.name] = seat
        seat.unknown[entry.job.job_id] = entry
        self.strand(entry)
        entry.pool.delay.give_back(entry.job.job_id, at=entry.lost_at)

    def strand(self, entry: Entry) -> None:
        """Let a job in doubt wait for its box, and for nothing else."""
        self.withdraw(entry)
        entry.pool.lost[entry.job.job_id] = entry

    def withdraw(self, entry: Entry) -> None:
        """Take a job out of wherever it waits; a box that works on it goes on."""
        job_id = entry.job.job_id
        if entry.is_queued:
            entry.pool.queue.remove(job_id)
            entry.is_queued = False
        if entry.held_until is not None:
            del entry.pool.held[job_id]
            entry.held_until = None
        entry.pool.lost.pop(job_id, None)

    def finish(self, entry: Entry, result: ProgrammingResult) -> None:
        """Give the result to whoever waits; the first one counts if two boxes have done the job."""
        if entry.future.done():
            return
        self._end(entry)
        pool, cost = entry.pool, entry.job.cost
        pool.jobs_done += 1
        pool.operations_done += cost
        pool.delay.finish(entry.job.job_id, operations=cost, at=self._clock.monotonic())
        entry.future.set_result(result)

    def fail(self, entry: Entry, error: FsbError) -> None:
        """Give the reason to whoever waits, and to whoever asks later."""
        if entry.future.done():
            return
        self._end(entry)
        entry.pool.jobs_failed += 1
        entry.pool.delay.drop(entry.job.job_id, at=self._clock.monotonic())
        self.failures[entry.job.job_id] = error
        if len(self.failures) > _FAILURES_KEPT:
            self.failures.popitem(last=False)
        entry.future.set_exception(error)

    def _end(self, entry: Entry) -> None:
        del self.entries[entry.job.job_id]
        self.withdraw(entry)
        for seat in entry.doubt.values():
            seat.unknown.pop(entry.job.job_id, None)

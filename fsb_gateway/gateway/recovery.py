"""Jobs whose box went away while it had them: nobody knows whether they were done. On the event loop's thread.

    lost ──► the box is back ──► asked ──► recorded: that is the result
      │                            └─────► not: the job waits at the front again
      └─ 10 s ──► another box with the key does it; without one it waits until its deadline, and then for its box

A box that comes back later with a result of its own does no harm: the first result counts here, and only the
instance's database hands an update out.
"""

from __future__ import annotations

import logging

from app.core.clock import Clock
from fsb_gateway.engine.journal import KEEP
from fsb_gateway.error import BoxDisconnected, FsbError, FsbUnavailable
from fsb_gateway.gateway.box_set import BoxSet
from fsb_gateway.gateway.dispatch import Dispatcher
from fsb_gateway.gateway.job_book import JobBook
from fsb_gateway.gateway.pool import Entry, Pool
from fsb_gateway.gateway.seat import Seat

_log = logging.getLogger(__name__)

# A box process that was killed is back within a second or two, its supervisor's back-off included; a line waits 20 s
# before it tells its caller to come back.
TAKE_OVER_SECONDS = 10.0


class Recovery:
    """Asks boxes what they have done, and lets others do what cannot wait."""

    def __init__(self, boxes: BoxSet, book: JobBook, dispatcher: Dispatcher, *, clock: Clock) -> None:
        self._boxes = boxes
        self._book = book
        self._dispatcher = dispatcher
        self._clock = clock
        self._asked: set[tuple[str, str]] = set()

    def lose(self, entry: Entry, seat: Seat) -> None:
        """Let a job wait for its box. A box that lost its power for a moment only is asked at once."""
        self._book.lose(entry, seat)
        self.ask_all(seat)

    def ask_all(self, seat: Seat) -> None:
        """Ask a box that can tell about every job that it may have done."""
        if not seat.can_tell:
            return
        for entry in seat.unknown.values():
            key = (seat.name, entry.job.job_id)
            if key not in self._asked:
                self._asked.add(key)
                self._dispatcher.start(self._ask(entry, seat))

    def take_over(self, pool: Pool) -> None:
        """Let other boxes do what has waited for its box long enough; forget what nobody can come back for."""
        now, at = self._clock.now(), self._clock.monotonic()
        for entry in list(pool.lost.values()):
            if now >= entry.job.deadline_at + KEEP:
                self._give_up(entry)
            elif now < entry.job.deadline_at and at - entry.lost_at >= TAKE_OVER_SECONDS:
                crew = self._boxes.crew(pool.name, now)
                if any(
                    seat.works and seat.name not in entry.doubt and self._dispatcher.can_sign(seat, entry.job)
                    for seat in crew
                ):
                    self._book.requeue(entry, refund=True)

    def forget(self, seat: Seat) -> None:
        """The box is gone for good: nobody can say any more what it did."""
        for entry in list(seat.unknown.values()):
            self._give_up(entry)

    async def _ask(self, entry: Entry, seat: Seat) -> None:
        try:
            result = await seat.box.recall(entry.job.job_id, entry.request)
        except FsbUnavailable as error:
            entry.reason = error.code
        except FsbError as error:
            self._book.fail(entry, error)
        except Exception:
            _log.exception("box %s cannot say what became of job %s", seat.name, entry.job.job_id)
        else:
            if result is None:
                self._clear(entry, seat)
            else:
                self._book.finish(entry, result)
        finally:
            self._asked.discard((seat.name, entry.job.job_id))
        self._dispatcher.go_on(seat, entry.pool)

    def _clear(self, entry: Entry, seat: Seat) -> None:
        """The box has not done it."""
        entry.doubt.pop(seat.name, None)
        seat.unknown.pop(entry.job.job_id, None)
        if entry.doubt or entry.job.job_id not in entry.pool.lost:
            return
        if self._clock.now() >= entry.job.deadline_at:
            self._dispatcher.end_late(entry)
        else:
            self._dispatcher.retry(entry)

    def _give_up(self, entry: Entry) -> None:
        names = ", ".join(entry.doubt)
        _log.warning("nobody knows what box %s did with job %s", names, entry.job.job_id)
        self._book.fail(entry, BoxDisconnected("the box did not come back", job_id=entry.job.job_id))

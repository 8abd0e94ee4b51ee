"""What happens by the clock: deadlines, returns of lent boxes, new tries, keys that are owed. On the loop's thread."""

from __future__ import annotations

from collections.abc import Iterator

from app.core.alarm import Alarm
from app.core.clock import Clock
from fsb_gateway.error import FsbUnavailable
from fsb_gateway.gateway.box_set import BoxSet
from fsb_gateway.gateway.dispatch import Dispatcher
from fsb_gateway.gateway.key_delivery import KeyDelivery
from fsb_gateway.gateway.pool import Pool
from fsb_gateway.gateway.recovery import Recovery
from fsb_gateway.gateway.seat import Seat

# A full disk or a damaged key is looked at again this often while jobs wait for it.
REOPEN_SECONDS = 5.0
# While jobs wait, everything is looked at this often at least: the time of day may be set, and a box be late in
# telling that it has changed. Costs less than a job a second.
_LOOK_SECONDS = 1.0
_LOAN_LOOK_SECONDS = 30.0


class Upkeep:
    """One timer for the gateway; it runs while something waits, a box is lent, or is owed a key."""

    def __init__(
        self,
        boxes: BoxSet,
        dispatcher: Dispatcher,
        recovery: Recovery,
        delivery: KeyDelivery,
        *,
        clock: Clock,
    ) -> None:
        self._boxes = boxes
        self._dispatcher = dispatcher
        self._recovery = recovery
        self._delivery = delivery
        self._clock = clock
        self._alarm = Alarm(self.look)

    def look_soon(self) -> None:
        """Jobs wait: look before long, unless a look is due anyhow."""
        if not self._alarm.is_set:
            self._alarm.ring_in(_LOOK_SECONDS)

    def look_in(self, seconds: float) -> None:
        """Look in so many seconds at the latest."""
        self._alarm.ring_in(seconds)

    def look(self) -> None:
        """Do whatever is due."""
        self._alarm.stop()
        if self._dispatcher.is_closed:
            return
        for pool in list(self._boxes.pools.values()):
            self._keep(pool)
        self._delivery.look()
        self._dispatcher.dispatch_all()
        due = min(self._next_times(), default=None)
        if due is not None:
            self.look_in(due)

    def reopen(self, pool: Pool) -> None:
        """Let boxes that miss a key or stopped because of a full disk look again, now and then."""
        at = self._clock.monotonic()
        for seat in self._boxes.members(pool.name, self._clock.now()):
            is_due = seat.reloaded_at is None or at - seat.reloaded_at >= REOPEN_SECONDS
            if is_due and (seat.box.unreadable or seat.box.status().state == "journal_unwritable"):
                seat.reloaded_at = at
                self._dispatcher.start(self._reload(seat))

    def stop(self) -> None:
        """Look no more."""
        self._alarm.stop()

    def _keep(self, pool: Pool) -> None:
        self._dispatcher.expire(pool)
        self._recovery.take_over(pool)
        if len(pool.queue):
            self.reopen(pool)

    def _next_times(self) -> Iterator[float]:
        """In how many seconds something is due; not what only a change of a box can bring about."""
        now, at = self._clock.now(), self._clock.monotonic()
        end = self._boxes.next_return(now)
        if end is not None:
            yield min(_LOAN_LOOK_SECONDS, (end - now).total_seconds())
        for pool in self._boxes.pools.values():
            if len(pool):
                yield _LOOK_SECONDS
            deadline = pool.queue.next_deadline()
            if deadline is not None:
                yield (deadline - now).total_seconds()
            yield from (entry.held_until - at for entry in pool.held.values() if entry.held_until is not None)
        for seat in self._boxes.seats.values():
            if seat.health.retry_at is not None and seat.health.retry_at > at:
                yield seat.health.retry_at - at
        yield from self._delivery.next_times(at)

    async def _reload(self, seat: Seat) -> None:
        try:
            await seat.box.reload()
        except FsbUnavailable:
            return
        self._dispatcher.dispatch_all()

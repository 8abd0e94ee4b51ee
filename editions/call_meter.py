"""Web-service calls of one line, counted without a write transaction for each.

    begin ──► right from the stock in memory ──► permit ──count──► waiting ──flush (≤ 0.5 s)──► ledger, lease, counter
      │ stock empty                                 └──give_back──► stock
      └──► exchange: one transaction fills the stock (64 → 16 → 4 → 1 rights, fewer near the limit)

What holds: rights in stock count as taken, so the limit is never overshot; a killed line's rights lie in its
lease, where the next process of that line finds them; a call answered more than one second ago is in the
database, because `begin` lets nobody in while an older one waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from app.core.clock import Clock, from_us
from app.core.db import Database
from app.core.errors import DatabaseUnavailable, OperationInProgress
from app.core.ids import LineId, new_id
from app.core.origin import system_origin
from editions.catalog import WEB_SERVICE_CALLS
from editions.errors import EditionsError, LineSuperseded
from editions.lease import Exchange, HeldCall, Outcome, settle
from editions.limit import Limit
from editions.metering import find_quota
from editions.period import Month, month_of
from editions.quota import QuotaState, WebServiceCall, is_counted, refusal_of

BLOCK_SIZES = (64, 16, 4, 1)
"""Rights in stock, fewer as the limit comes near. **Source:** the brief of metering; 64 spreads a write over
as many reads."""
FLUSH_AFTER_SECONDS = 0.5
"""When a waiting call is due. Leaves half of the second within which calls must be durable (issue 2) for a
late loop."""
STOP_AFTER_SECONDS = 0.8
"""Age of the oldest waiting call at which `begin` flushes itself; the rest of the second is for that
transaction."""
LOOK_EVERY_SECONDS = 0.25
"""How often a line over its quota, or without its database, looks again."""
_COUNTING = system_origin("countCalls")
_MOST_CALLS = 2_000
"""Calls in one transaction; Galera is set to refuse more than 5,000 rows. **Source:** high availability
reference §1.6."""


@dataclass(slots=True, kw_only=True)
class _Stock:
    """Rights in memory."""

    month: Month
    free: int
    size: int
    holds_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Why nobody gets in until a certain time on the monotonic clock or of day."""

    make: Callable[[], Exception]
    until: float
    month_end: datetime


class CallPermit:
    """One call that may be served; ends by `count` or `give_back`, once.

    A permit that is lost costs its line one right until the next restart.
    """

    __slots__ = ("_meter", "_open", "month")

    def __init__(self, meter: CallMeter, month: Month) -> None:
        self._meter = meter
        self._open = True
        self.month = month

    def count(self, call: WebServiceCall) -> bool:
        """Count the call once its answer is known; our own 5xx and 429 are given back instead.

        Returns:
            Whether it counts.
        """
        if not is_counted(call.status):
            self.give_back()
            return False
        self._end()
        self._meter._add(HeldCall(call=call, month=self.month))
        return True

    def give_back(self) -> None:
        """The call was not processed: its right is free again."""
        self._end()
        self._meter._put_back(self.month)

    def _end(self) -> None:
        if not self._open:
            raise RuntimeError("a permit ends once")
        self._open = False


class CallMeter:
    """Counts the calls of one line. Thread-safe.

    Args:
        db: the instance's database.
        line: names the lease; one process at a time may use it.
        clock: time of day for months, monotonic time for the rest.
        block_sizes: rights in stock, from large to small.
        wake: called (from any thread, must return at once) when `due_in` has become shorter.
    """

    def __init__(
        self,
        db: Database,
        line: LineId,
        *,
        clock: Clock,
        block_sizes: tuple[int, ...] = BLOCK_SIZES,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self._db = db
        self._line = line
        self._clock = clock
        self._block_sizes = block_sizes
        self._wake = wake or (lambda: None)
        self._lock = threading.Lock()  # Guards everything below; held for microseconds, never during SQL.
        self._exchanging = threading.Lock()  # Held by whoever talks to the database; taken before `_lock`.
        self._stock: _Stock | None = None
        self._fences: dict[Month, int] = {}
        self._surplus = 0
        self._waiting: list[HeldCall] = []
        self._waiting_since: float | None = None
        self._sent: Exchange | None = None
        self._sent_since: float | None = None
        self._refusal: _Refusal | None = None
        self._failed_at: float | None = None
        self._superseded = False
        self._state: QuotaState | None = None

    @property
    def state(self) -> QuotaState | None:
        """The quota as this line knows it, its own waiting calls included; None before the first call."""
        with self._lock:
            state = self._state
            waiting = len(self._waiting) + (len(self._sent.calls) if self._sent else 0)
        return state if state is None or not waiting else replace(state, used=state.used + waiting)

    def begin(self) -> CallPermit:
        """Let a call in. Normally without the database; else blocks for a transaction, or until its deadline.

        Raises:
            QuotaExceeded: the limit leaves no room.
            EditionFeatureUnavailable: the edition has no web services.
            NoContractInForce: nothing is contracted.
            DatabaseUnavailable: rights are used up, or waiting calls are overdue, and the database does not
            answer.
            LineSuperseded: another process serves under this line's name.
        """
        while True:
            permit = self.try_begin()
            if permit is not None:
                return permit
            self._get_rights()

    def try_begin(self) -> CallPermit | None:
        """As `begin`, but never touches the database: None says that `begin` would."""
        with self._lock:
            if self._superseded:
                raise LineSuperseded("Another process serves this line by now.")
            if self._is_overdue():
                return None
            now = self._clock.now()
            stock = self._stock
            if stock is not None and stock.free > 0 and now < stock.holds_until:
                stock.free -= 1
                low = stock.free * 4 == stock.size
                permit = CallPermit(self, stock.month)
            else:
                self._raise_refusal(now)
                return None
        if low:
            self._wake()
        return permit

    def due_in(self) -> float | None:
        """Seconds until `flush` should be called; None: nothing to do for now."""
        with self._lock:
            since = self._oldest()
            stock = self._stock
            if self._surplus:
                return 0.0
            if since is None:
                return None
            if stock is not None and 0 < stock.free * 4 <= stock.size and stock.size > 1:
                return 0.0
            return max(0.0, since + FLUSH_AFTER_SECONDS - self._clock.monotonic())

    def flush(self) -> int:
        """Write all waiting calls and fill the stock up. Called by a worker when `due_in` says so.

        Returns:
            How many calls were written.

        Raises:
            DatabaseUnavailable: they are still waiting; call again.
        """
        written = 0
        with self._exchanging:
            while self._has_work():
                written += self._exchange(refill=True)
        return written

    def close(self) -> None:
        """Write all waiting calls and give the stock back. For an orderly end; a later `begin` starts again.

        Raises:
            DatabaseUnavailable: something is still waiting; call again, or leave it to the line's next
            process.
        """
        with self._exchanging:
            self._empty_stock()
            while self._has_work():
                self._exchange(refill=False)
                # Repeating an exchange whose outcome was unknown may have filled the stock up.
                self._empty_stock()

    def _empty_stock(self) -> None:
        with self._lock:
            if self._stock is not None:
                self._surplus += self._stock.free
                self._stock.free = 0

    # What permits call.

    def _add(self, held: HeldCall) -> None:
        with self._lock:
            self._waiting.append(held)
            first = self._waiting_since is None
            if first:
                self._waiting_since = self._clock.monotonic()
        if first:
            self._wake()

    def _put_back(self, month: Month) -> None:
        with self._lock:
            if self._stock is not None and self._stock.month == month:
                self._stock.free += 1

    # Under `_lock`.

    def _oldest(self) -> float | None:
        return self._sent_since if self._sent_since is not None else self._waiting_since

    def _is_overdue(self) -> bool:
        since = self._oldest()
        return since is not None and self._clock.monotonic() - since >= STOP_AFTER_SECONDS

    def _raise_refusal(self, now: datetime) -> None:
        refusal = self._refusal
        if refusal is not None and self._clock.monotonic() < refusal.until and now < refusal.month_end:
            raise refusal.make()

    def _has_work(self) -> bool:
        return bool(self._waiting) or self._sent is not None or self._surplus > 0

    def _is_served_by_now(self) -> bool:
        if self._is_overdue():
            return False
        now = self._clock.now()
        stock, refusal = self._stock, self._refusal
        if stock is not None and stock.free > 0 and now < stock.holds_until:
            return True
        return refusal is not None and self._clock.monotonic() < refusal.until and now < refusal.month_end

    # Under `_exchanging`.

    def _get_rights(self) -> None:
        """Do what `try_begin` could not do without the database, unless another thread has just done it."""
        with self._exchanging:
            with self._lock:
                if (
                    self._failed_at is not None
                    and self._clock.monotonic() < self._failed_at + LOOK_EVERY_SECONDS
                ):
                    raise _unavailable()
                if self._is_served_by_now():
                    return
            if not self._has_work() and self._look_for_refusal():
                return
            self._exchange(refill=True)
            if self._stock is not None and self._stock.free == 0:
                self._look_for_refusal()

    def _look_for_refusal(self) -> bool:
        """Ask the database, writing nothing, whether there is room; remember for a while if there is none."""
        now = self._clock.now()
        try:
            limit, state = self._db.read(lambda reader: find_quota(reader, WEB_SERVICE_CALLS, now))
        except DatabaseUnavailable as error:
            raise self._failed() from error
        # A process that has just started does not know yet what its line has left in its lease.
        is_unopened = state.included and state.month not in self._fences
        refused = not is_unopened and refusal_of(limit, state) is not None
        with self._lock:
            self._refusal = None
            if refused:
                until = self._clock.monotonic() + LOOK_EVERY_SECONDS
                make = partial(_refuse, limit, state)
                self._refusal = _Refusal(make=make, until=until, month_end=state.month.end)
        return refused

    def _exchange(self, *, refill: bool) -> int:
        """Run one exchange, or the last one again if its outcome is unknown."""
        with self._lock:
            if self._sent is None:
                self._prepare(refill)
            exchange = self._sent
        if exchange is None:
            raise RuntimeError("an exchange was not prepared")
        try:
            answer = self._db.run_tx(exchange.op_id, lambda tx: settle(tx, exchange), origin=_COUNTING)
        except (DatabaseUnavailable, OperationInProgress) as error:
            raise self._failed() from error
        with self._lock:
            self._sent = self._sent_since = self._failed_at = None
            self._apply(exchange, Outcome.from_json(answer.value))
        return len(exchange.calls)

    def _prepare(self, refill: bool) -> None:
        month = month_of(self._clock.now())
        stock = self._stock if self._stock is not None and self._stock.month == month else None
        calls, self._waiting = self._waiting[:_MOST_CALLS], self._waiting[_MOST_CALLS:]
        self._sent_since = self._waiting_since
        self._waiting_since = self._waiting_since if self._waiting else None
        self._sent = Exchange(
            op_id=new_id("lse"),
            line=self._line,
            month=month,
            fences=dict(self._fences),
            calls=tuple(calls),
            stock=0 if stock is None else stock.free,
            surplus=0 if stock is None else self._surplus,
            refill=refill,
            block_sizes=self._block_sizes,
        )
        self._surplus = 0

    def _apply(self, exchange: Exchange, outcome: Outcome) -> None:
        self._state = outcome.state
        if outcome.superseded:
            self._superseded = True
            self._stock = None
            return
        if outcome.fence:
            # Kept for good, a dozen a year: a call that is answered months later still uses the right it holds.
            self._fences[exchange.month] = outcome.fence
        stock = self._stock
        if stock is None or stock.month != exchange.month:
            stock = self._stock = _Stock(
                month=exchange.month, free=0, size=outcome.size, holds_until=exchange.month.start
            )
        revoked = min(outcome.revoked, stock.free + outcome.granted)
        stock.free += outcome.granted - revoked
        stock.size = outcome.size
        stock.holds_until = from_us(outcome.holds_until_us)
        self._surplus += revoked

    def _failed(self) -> DatabaseUnavailable:
        with self._lock:
            self._failed_at = self._clock.monotonic()
        return _unavailable()


def _unavailable() -> DatabaseUnavailable:
    return DatabaseUnavailable(
        "The database does not answer, so this call cannot be counted. Try again shortly."
    )


def _refuse(limit: Limit | None, state: QuotaState) -> EditionsError:
    """A fresh error for every call: a shared one would collect the tracebacks of all threads."""
    return refusal_of(limit, state) or EditionsError("The quota was used up a moment ago.")

"""Connections to one server, bounded whatever the number of databases on it.

    pool of A ─┐                ┌─ an idle connection of its own (the one used last)
    pool of B ─┼─► budget ──────┼─ a new one, while there are fewer than the limit
    pool of C ─┘   (one per     ├─ a new one in place of the connection idle longest, whosever it is
                    server)     └─ none: wait in line; PoolTimeout when nothing comes free in time

Context: every instance has a database and a user of its own, so their connections cannot be shared, and a thousand
pools of eight would be more than any server takes. Decision: pools stay, the number of connections is counted per
server, and the longest idle one makes room. Alternative: a proxy between line and server, one more process to fail
and to pay for.

Whoever waits is served in the order of arrival as soon as something fits him; nobody can jump in.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Any, Final, NamedTuple, Self

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, Pool

MOST_CONNECTIONS: Final = 64
"""Per server and process. MariaDB allows 151 unless told otherwise. **Source:** MariaDB manual, max_connections."""
MOST_PER_DATABASE: Final = 8
"""So that one instance, however busy, leaves seven eighths to the others. Our own decision."""
_GENERATION: Final = "generation"
_WAIT_SECONDS: Final = 3.0
"""As long as SQLAlchemy's pools here waited before; below the deadline of a transaction. Our own decision."""


class _Share:
    """What one database has of the budget."""

    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken = 0


class _Grant(NamedTuple):
    """A connection of one's own that was idle, or the right to make one after closing the victim."""

    record: ConnectionPoolEntry | None
    victim: ConnectionPoolEntry | None


class _Waiter:
    __slots__ = ("grant", "pool", "ready")

    def __init__(self, pool: SharedPool) -> None:
        self.pool = pool
        self.grant: _Grant | None = None
        self.ready = threading.Event()


class ConnectionBudget:
    """Counts the connections of all pools of one server. Thread-safe.

    Args:
        limit: connections open at a time, those being made included.
        per_database: of these for one database.
        wait_seconds: how long somebody waits when all are busy.
    """

    def __init__(
        self,
        limit: int = MOST_CONNECTIONS,
        *,
        per_database: int = MOST_PER_DATABASE,
        wait_seconds: float = _WAIT_SECONDS,
    ) -> None:
        self.limit = limit
        self._per_database = per_database
        self.per_database = min(per_database, limit)
        self._wait_seconds = wait_seconds
        # Reentrant: a connection that somebody lost comes back whenever the garbage collector finds it.
        self._lock = threading.RLock()
        self._open = 0
        self._idle: OrderedDict[ConnectionPoolEntry, SharedPool] = OrderedDict()
        self._queue: deque[_Waiter] = deque()

    @property
    def open(self) -> int:
        """Connections that are open or being made."""
        return self._open

    @property
    def idle(self) -> int:
        """Those of them that nobody uses."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Threads that wait for a connection."""
        return len(self._queue)

    def acquire(self, pool: SharedPool) -> _Grant:
        """Wait for a connection, or for the right to make one.

        Raises:
            sqlalchemy.exc.TimeoutError: all are busy.
        """
        with self._lock:
            if not self._queue and (grant := self._try(pool)) is not None:
                return grant
            waiter = _Waiter(pool)
            self._queue.append(waiter)
            self._serve()
        try:
            waiter.ready.wait(self._wait_seconds)
        except BaseException:
            self._withdraw(waiter)
            raise
        with self._lock:
            if waiter.grant is not None:
                return waiter.grant
            self._queue.remove(waiter)
        raise PoolTimeout("All connections to the database server are busy.")

    def release(self, share: _Share) -> None:
        """A connection is closed, or was never made."""
        with self._lock:
            share.taken -= 1
            self._open -= 1
            self._serve()

    def put_idle(self, pool: SharedPool, record: ConnectionPoolEntry) -> bool:
        """Take back a connection that can be used again. False: close it, the pool was renewed or is too large."""
        with self._lock:
            if pool.generation_of(record) != pool.generation or self._open > self.limit:
                return False
            pool.idle.append(record)
            self._idle[record] = pool
            self._serve()
            return True

    def resize(self, limit: int) -> None:
        """Allow more or fewer connections from now on; those in use beyond that are closed as they come back."""
        surplus: list[tuple[SharedPool, ConnectionPoolEntry]] = []
        with self._lock:
            self.limit = limit
            self.per_database = min(self._per_database, limit)
            while self._idle and self._open - len(surplus) > limit:
                record, owner = self._idle.popitem(last=False)
                owner.idle.remove(record)
                surplus.append((owner, record))
            self._serve()
        for owner, record in surplus:
            owner.discard(record)

    def renew(self, pool: SharedPool) -> None:
        """Whatever the pool has made so far is closed when it comes back."""
        with self._lock:
            pool.generation += 1

    def take_idle(self, pool: SharedPool) -> list[ConnectionPoolEntry]:
        """Take all idle connections of a pool away from it; they still count until they are released."""
        with self._lock:
            records, pool.idle = pool.idle, []
            for record in records:
                del self._idle[record]
            return records

    def _try(self, pool: SharedPool) -> _Grant | None:
        if pool.idle:
            record = pool.idle.pop()
            del self._idle[record]
            return _Grant(record, None)
        if pool.share.taken >= self.per_database:
            return None
        if self._open < self.limit:
            self._open += 1
            pool.share.taken += 1
            return _Grant(None, None)
        return self._take_over(pool)

    def _take_over(self, pool: SharedPool) -> _Grant | None:
        if not self._idle:
            return None
        victim, owner = self._idle.popitem(last=False)
        owner.idle.remove(victim)
        owner.share.taken -= 1
        pool.share.taken += 1
        return _Grant(None, victim)

    def _serve(self) -> None:
        """Give what has come free to those who wait, first come first served as far as it fits."""
        for waiter in tuple(self._queue):
            grant = self._try(waiter.pool)
            if grant is not None:
                self._queue.remove(waiter)
                waiter.grant = grant
                waiter.ready.set()

    def _withdraw(self, waiter: _Waiter) -> None:
        """Somebody was interrupted while he waited; what he may have got meanwhile goes back."""
        with self._lock:
            grant = waiter.grant
            if grant is None:
                self._queue.remove(waiter)
                return
        waiter.pool.give_up(grant)


class SharedPool(Pool):
    """The connections of one database, within the budget of its server.

    Context: SQLAlchemy replaces the pool of an engine that is disposed of, and of two threads that do so at once one's
    pool is lost, with idle connections that count for ever. Decision: a pool renews itself and stays.
    """

    def __init__(self, creator: Any, *, budget: ConnectionBudget, **options: Any) -> None:
        super().__init__(creator, **options)
        self.budget = budget
        self.share = _Share()
        self.idle: list[ConnectionPoolEntry] = []
        self.generation = 0

    def recreate(self) -> Self:
        """This pool, as if it were new: connections made before are closed as they come back."""
        self.budget.renew(self)
        self.dispose()
        return self

    def generation_of(self, record: ConnectionPoolEntry) -> int:
        """Under which generation of its pool a connection was made."""
        return int((record.record_info or {}).get(_GENERATION, 0))

    def dispose(self) -> None:
        """Close all idle connections."""
        for record in self.budget.take_idle(self):
            self.discard(record)

    def status(self) -> str:
        """For logs."""
        return f"{self.share.taken} open, {len(self.idle)} idle"

    def give_up(self, grant: _Grant) -> None:
        """Hand back what was granted and is not wanted any more."""
        if grant.record is not None:
            self._do_return_conn(grant.record)
            return
        try:
            if grant.victim is not None:
                grant.victim.close()
        finally:
            self.budget.release(self.share)

    def _do_get(self) -> ConnectionPoolEntry:
        grant = self.budget.acquire(self)
        if grant.record is not None:
            return grant.record
        try:
            if grant.victim is not None:
                grant.victim.close()
            generation = self.generation
            record = self._create_connection()
            if generation and record.record_info is not None:
                record.record_info[_GENERATION] = generation
            return record
        except BaseException:
            self.budget.release(self.share)
            raise

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        # A broken connection is gone: what stays open in its place would be a place that nobody uses.
        if record.dbapi_connection is None or not self.budget.put_idle(self, record):
            self.discard(record)

    def discard(self, record: ConnectionPoolEntry) -> None:
        """Close a connection that nobody uses."""
        try:
            record.close()
        finally:
            self.budget.release(self.share)

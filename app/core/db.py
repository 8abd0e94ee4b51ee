"""Databases: SQLite and MariaDB through one code path, and `run_tx`, the only way to write.

    body runs ──► COMMIT ──► answer                      any error before COMMIT: nothing was written
       ▲            │ connection lost: outcome unknown
       └────────────┴── run again with the SAME operation id: either its row is there (the stored answer is returned)
                        or the body is carried out now, and a late first COMMIT loses on the primary key

**Source:** error matrix and rules 1–8 of the Galera measurements (reference: high availability §1.3–1.4).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.sql import ClauseElement

from app.core import outbox
from app.core.clock import Clock, SystemClock, to_us
from app.core.db_engine import ServerEngines, make_engine
from app.core.db_error import Fault, classify
from app.core.db_session import DRIVER_ERRORS, Session
from app.core.db_statement import Parameters, SqlValue, StatementCache, statements_for
from app.core.errors import (
    CommitOutcomeUnknown,
    DatabaseUnavailable,
    DomainError,
    OperationIdReused,
    OperationInProgress,
)
from app.core.ids import new_id
from app.core.json import JsonObject, dump_json, load_object
from app.core.origin import UNNAMED, Origin
from app.core.outbox_chain import ChainBehind, ChainEnd, chain_some, has_unchained
from app.core.schema import instance_metadata

if TYPE_CHECKING:
    from app.core.command import Command

T = TypeVar("T")
Dialect = Literal["sqlite", "mariadb"]

MOST_AT_ONCE = 32
"""Threads that may use one database, or wait for it, at a time: one that hangs holds no more of a process's
threads, and the other instances go on. Our own decision: twice the sixteen clients of our tests of crowds."""
_BACKOFF_FIRST_SECONDS = 0.005
_BACKOFF_MOST_SECONDS = 0.2
"""Jittered pause between attempts, 5–200 ms. **Source:** high availability reference §1.4."""

_op = instance_metadata.tables["op"]
_CLAIM_OP = insert(_op).values(
    op_id=bindparam("b_op"), fingerprint=bindparam("b_fingerprint"), created_at_us=bindparam("b_now")
)
_STORE_ANSWER = update(_op).where(_op.c.op_id == bindparam("b_op")).values(answer=bindparam("b_answer"))
_FORGET_OP = delete(_op).where(_op.c.op_id == bindparam("b_op"))
_OLD_OPS = (
    select(_op.c.op_id)
    .where(_op.c.created_at_us < bindparam("b_before"))
    .order_by(_op.c.created_at_us)
    .limit(bindparam("b_limit"))
)
_STORED_ANSWER = select(_op.c.fingerprint, _op.c.answer).where(_op.c.op_id == bindparam("b_op"))


class Row(Protocol):
    """A row: a tuple whose columns can be read by name. Rows never leave a repository."""

    def __getattr__(self, name: str, /) -> Any: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TxAnswer:
    """What a transaction answered.

    Attributes:
        value: what the body returned, or what it returned the first time.
        replayed: True when the operation had been carried out before.
    """

    value: JsonObject
    replayed: bool


class Reader:
    """One consistent view of a database. Belongs to one thread."""

    def __init__(self, cursor: Any, statements: StatementCache, now: datetime) -> None:
        self._cursor = cursor
        self._statements = statements
        self.now = now

    def first(self, statement: ClauseElement, parameters: Parameters | None = None) -> Row | None:
        """The first row, or None."""
        prepared = self._statements.prepare(statement)
        self._cursor.execute(prepared.text, prepared.arguments(parameters or {}))
        found = self._cursor.fetchone()
        return None if found is None else prepared.row._make(found)

    def all(self, statement: ClauseElement, parameters: Parameters | None = None) -> list[Row]:
        """All rows."""
        prepared = self._statements.prepare(statement)
        self._cursor.execute(prepared.text, prepared.arguments(parameters or {}))
        return [prepared.row._make(found) for found in self._cursor.fetchall()]

    def scalar(self, statement: ClauseElement, parameters: Parameters | None = None) -> SqlValue:
        """The first column of the first row, or None."""
        found = self.first(statement, parameters)
        value: SqlValue = None if found is None else found[0]
        return value


class Tx(Reader):
    """One write transaction. Belongs to one thread; its body must have no effect outside the database."""

    def __init__(
        self, cursor: Any, statements: StatementCache, now: datetime, *, op_id: str, origin: Origin = UNNAMED
    ) -> None:
        super().__init__(cursor, statements, now)
        self.op_id = op_id
        self.origin = origin
        self.pending_events: list[outbox.PendingEvent] = []

    def write(self, statement: ClauseElement, parameters: Parameters | None = None) -> int:
        """Run an INSERT, UPDATE or DELETE; returns how many rows matched."""
        prepared = self._statements.prepare(statement)
        self._cursor.execute(prepared.text, prepared.arguments(parameters or {}))
        matched: int = self._cursor.rowcount
        return matched

    def write_many(self, statement: ClauseElement, rows: Sequence[Parameters]) -> None:
        """Run one statement for several rows of parameters."""
        if rows:
            prepared = self._statements.prepare(statement)
            self._cursor.executemany(prepared.text, [prepared.arguments(row) for row in rows])

    def insert_if_absent(self, statement: ClauseElement, parameters: Parameters) -> bool:
        """Insert a row unless its unique key is taken; says whether it was inserted.

        The failed statement is undone by itself, the transaction goes on, on SQLite as on MariaDB.
        """
        try:
            self.write(statement, parameters)
        except Exception as error:
            if classify(error, committing=False) is Fault.DUPLICATE:
                return False
            raise
        return True

    def forget(self, op_id: str) -> None:
        """Free the id of an operation whose whole effect this transaction takes back, so that it can be tried again."""
        self.write(_FORGET_OP, {"b_op": op_id})

    def emit(
        self,
        type: str,  # noqa: A002 - the word of CloudEvents
        *,
        subject: str,
        data: JsonObject,
        before: JsonObject | None = None,
    ) -> None:
        """Add an event to the outbox and the audit chain; it gets its sequence number when the transaction ends.

        Args:
            type: what happened, e.g. `item.changed`.
            subject: id of the object it happened to.
            data: what readers of the event learn; for a change, how things are now.
            before: how they were, for the audit alone. Neither may hold a secret or a person's name.
        """
        self.pending_events.append(outbox.PendingEvent(type=type, subject=subject, data=data, before=before))


class Database:
    """One schema on one database server or file. Thread-safe.

    Args:
        url: `sqlite:///path` or `mysql+pymysql://user:password@host:port/name`.
        clock: gives transactions their time.
        pool_size: connections kept open at most, if the database has a pool for itself.
        engines: of its server, when it is one of many there: they share what they can and bound their connections.
        deadline: how long `run_tx` and `read` keep trying before they give up.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        pool_size: int = 5,
        deadline: timedelta = timedelta(seconds=12),
        engines: ServerEngines | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        if engines is None:
            self._engine = make_engine(make_url(url), pool_size=pool_size)
        else:
            self._engine = engines.make_engine(url)
        self.dialect: Dialect = "sqlite" if self._engine.dialect.name == "sqlite" else "mariadb"
        self._statements = statements_for(self._engine.dialect)
        self._deadline = deadline.total_seconds()
        # SQLite has one writer. Waiting for a lock beats polling a busy file from many threads.
        self._places = threading.Semaphore(MOST_AT_ONCE)
        self._writer = threading.Lock() if self.dialect == "sqlite" else None
        self.chain_end = ChainEnd()

    @property
    def engine(self) -> Engine:
        """For migrations and tests; everything else goes through `run_tx` and `read`."""
        return self._engine

    def close(self) -> None:
        """Close all idle connections."""
        self._engine.dispose()

    def run_command(self, command: Command, body: Callable[[Tx], JsonObject]) -> TxAnswer:
        """Carry out what somebody asked for; see `run_tx`. The body charges the command if it does anything new."""
        return self.run_tx(command.op_id, body, fingerprint=command.fingerprint, origin=command.origin)

    def check_command(self, command: Command) -> None:
        """Look beforehand whether a command's id names another request already; writes nothing.

        Raises:
            OperationIdReused: it does.
        """
        row = self.read(lambda reader: reader.first(_STORED_ANSWER, {"b_op": command.op_id}))
        if row is not None and row.fingerprint != command.fingerprint:
            raise _reused()

    def run_tx(
        self,
        op_id: str,
        body: Callable[[Tx], JsonObject],
        *,
        fingerprint: str = "",
        origin: Origin = UNNAMED,
    ) -> TxAnswer:
        """Carry out an operation exactly once, whatever is retried, killed or repeated.

        Inserts the operation id, runs the body, stores its answer, commits; all in one transaction. Errors
        that are nobody's fault rerun the whole body with the same id until the deadline.

        Args:
            op_id: names the operation; at most 191 characters.
            body: pure SQL through the `Tx`; may run several times.
            fingerprint: digest of the request, at most 64 characters.
            origin: who asked, for the audit chain.

        Raises:
            OperationIdReused: the id was used before with another fingerprint.
            OperationInProgress: another attempt with this id still held its row at the deadline.
            CommitOutcomeUnknown: the connection broke during COMMIT; then the deadline or a refusal came first.
            DatabaseUnavailable: nothing was written before the deadline.
            DomainError: whatever the body raised; nothing was written.
        """
        with self._place():
            retry = _Retry(self.clock, self._deadline)
            return self._run_until_done(_Claim(op_id, fingerprint, origin), body, retry)

    def _run_until_done(self, claim: _Claim, body: Callable[[Tx], JsonObject], retry: _Retry) -> TxAnswer:
        while True:
            attempt = _Attempt(self, claim)
            try:
                with self._turn_to_write(retry, attempt):
                    return attempt.run(body)
            except DomainError as error:
                # After an unknown COMMIT a refusal proves nothing: on a cluster the first COMMIT may still arrive.
                if retry.maybe_committed:
                    raise _outcome_unknown() from error
                raise
            except ChainBehind:
                self._catch_up(retry)
            except DRIVER_ERRORS as error:
                if classify(error, committing=attempt.phase == "commit") is Fault.UNKNOWN:
                    self.chain_end.note_unsure()
                retry.again_or_raise(error, attempt)
                if attempt.fault in (Fault.RECONNECT, Fault.UNKNOWN):
                    self._engine.dispose(close=False)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places in and before this database; whoever finds none is sent away at once."""
        if not self._places.acquire(blocking=False):
            raise DatabaseUnavailable("Too many requests wait for this database already; try again shortly.")
        try:
            yield
        finally:
            self._places.release()

    @contextmanager
    def _turn_to_write(self, retry: _Retry, attempt: _Attempt) -> Iterator[None]:
        if self._writer is None:
            yield
        elif self._writer.acquire(timeout=retry.left()):
            try:
                yield
            finally:
                self._writer.release()
        else:
            raise retry.give_up(Fault.BUSY, attempt)

    def forget_operations(self, *, before: datetime, limit: int = 500) -> int:
        """Forget operation ids that nobody can repeat any more; returns how many. Call again while it returns `limit`.

        Everything that must hold for longer is guarded by its own state as well (natural keys, compare-and-set).
        **Source:** at most 500 rows per transaction: high availability reference §1.5.
        """

        def body(tx: Tx) -> JsonObject:
            old = tx.all(_OLD_OPS, {"b_before": to_us(before), "b_limit": limit})
            tx.write_many(_FORGET_OP, [{"b_op": row.op_id} for row in old])
            return {"forgotten": len(old)}

        return int(str(self.run_tx(new_id("forget"), body).value["forgotten"]))

    def chain_up(self) -> int:
        """Give events that an older wops has written their hashes, some per transaction; returns how many.

        Goes on for as long as there are any: the deadline is that of each transaction. Whoever writes an event does so
        as well, within his own deadline; called beforehand it keeps him from waiting.
        """
        total = 0
        with self._place():
            # Asked first, for most of the time there is nothing to write.
            while self._read_until_done(has_unchained):
                total += self._chain_some(_Retry(self.clock, self._deadline))
        return total

    def _chain_some(self, retry: _Retry) -> int:
        return int(str(self._run_until_done(_chaining(), chain_some, retry).value["chained"]))

    def _catch_up(self, retry: _Retry) -> None:
        """Chain what stands before somebody's own event, while he can wait; the next writer goes on from there."""
        try:
            while retry.left() > 0:
                if not self._chain_some(_Retry(self.clock, retry.left())):
                    return
            raise DatabaseUnavailable(
                "This database is still being brought up to date. Nothing was changed; try again shortly."
            )
        except DomainError as error:
            if retry.maybe_committed:
                raise _outcome_unknown() from error
            raise

    def read(self, body: Callable[[Reader], T]) -> T:
        """Run a body on one consistent view; writes nothing.

        Raises:
            DatabaseUnavailable: no answer before the deadline.
        """
        with self._place():
            return self._read_until_done(body)

    def _read_until_done(self, body: Callable[[Reader], T]) -> T:
        retry = _Retry(self.clock, self._deadline)
        while True:
            attempt = _Attempt(self, _READING)
            try:
                return attempt.read(body)
            except DRIVER_ERRORS as error:
                retry.again_or_raise(error, attempt)
                if attempt.fault is Fault.RECONNECT:
                    self._engine.dispose(close=False)


class _Claim(NamedTuple):
    """Under which id an operation runs, what was asked, and by whom."""

    op_id: str
    fingerprint: str
    origin: Origin


_READING = _Claim("", "", UNNAMED)


def _chaining() -> _Claim:
    return _Claim(new_id("chain"), "", UNNAMED)


class _Attempt:
    """One try of one transaction on one connection."""

    def __init__(self, db: Database, claim: _Claim) -> None:
        self._db = db
        self._claim = claim
        self.phase: Literal["begin", "claim", "body", "commit"] = "begin"
        self.fault: Fault | None = None

    def run(self, body: Callable[[Tx], JsonObject]) -> TxAnswer:
        with Session(self._db.engine, immediate=True) as session:
            op_id = self._claim.op_id
            tx = Tx(
                session.cursor,
                self._db._statements,
                self._db.clock.now(),
                op_id=op_id,
                origin=self._claim.origin,
            )
            self.phase = "claim"
            claim: Mapping[str, SqlValue] = {
                "b_op": op_id,
                "b_fingerprint": self._claim.fingerprint,
                "b_now": to_us(tx.now),
            }
            if not tx.insert_if_absent(_CLAIM_OP, claim):
                return self._replay(tx)
            self.phase = "body"
            value = body(tx)
            link = outbox.write_events(tx, tx.pending_events) if tx.pending_events else None
            tx.write(_STORE_ANSWER, {"b_op": op_id, "b_answer": dump_json(value)})
            self.phase = "commit"
            session.commit()
            if link is not None:
                self._db.chain_end.note(link)
            return TxAnswer(value=value, replayed=False)

    def _replay(self, tx: Tx) -> TxAnswer:
        row = tx.first(_STORED_ANSWER, {"b_op": self._claim.op_id})
        if row is None or row.answer is None:
            raise OperationInProgress(
                "The first attempt of this operation has not ended yet; try again shortly."
            )
        if row.fingerprint != self._claim.fingerprint:
            raise _reused()
        return TxAnswer(value=load_object(row.answer), replayed=True)

    def read(self, body: Callable[[Reader], T]) -> T:
        with Session(self._db.engine, immediate=False) as session:
            self.phase = "body"
            return body(Reader(session.cursor, self._db._statements, self._db.clock.now()))


class _Retry:
    """Decides whether to go on after an error, and waits a little, longer each time."""

    def __init__(self, clock: Clock, deadline_seconds: float) -> None:
        self._clock = clock
        self._until = clock.monotonic() + deadline_seconds
        self._pause = _BACKOFF_FIRST_SECONDS
        self.maybe_committed = False

    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._until - self._clock.monotonic())

    def again_or_raise(self, error: Exception, attempt: _Attempt) -> None:
        fault = attempt.fault = classify(error, committing=attempt.phase == "commit")
        self.maybe_committed = self.maybe_committed or fault is Fault.UNKNOWN
        if fault in (Fault.FATAL, Fault.DUPLICATE):
            raise error
        if fault is Fault.FULL or self._clock.monotonic() >= self._until:
            raise self.give_up(fault, attempt) from error
        self._clock.sleep(random.uniform(self._pause / 2, self._pause))  # noqa: S311 - jitter, no secret
        self._pause = min(self._pause * 2, _BACKOFF_MOST_SECONDS)

    def give_up(self, fault: Fault, attempt: _Attempt) -> Exception:
        """What to tell the caller when there will be no further attempt."""
        if self.maybe_committed:
            return _outcome_unknown()
        if fault is Fault.BUSY and attempt.phase == "claim":
            return OperationInProgress(
                "The first attempt of this operation has not ended yet; try again shortly."
            )
        if fault is Fault.FULL:
            return DatabaseUnavailable(
                "The database cannot write at the moment. Nothing was changed; try again later."
            )
        return DatabaseUnavailable("The database does not answer. Nothing was changed; try again shortly.")


def _reused() -> OperationIdReused:
    return OperationIdReused("This idempotency key was used before for another request; take a new one.")


def _outcome_unknown() -> CommitOutcomeUnknown:
    return CommitOutcomeUnknown(
        "It is not known whether this was done. Send the same request again: it is done once."
    )

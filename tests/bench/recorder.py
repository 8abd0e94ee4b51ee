"""Records what an engine's driver is told to do, transaction by transaction, and does it again by the driver alone.

    app ──► SQLAlchemy pool ──► recorded connection ──► sqlite3 | PyMySQL        (a)
    replay ──────────────────────────────────────────► sqlite3 | PyMySQL        (b)  same texts, parameters, COMMITs

A transaction that the database rolled back and the app ran again is recorded as it succeeded, once.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pymysql
from sqlalchemy import Engine, event

from app.core.db import Database
from app.core.db_error import Fault, classify
from tests.bench.spent import Spent

Kind = Literal["one", "many"]
Statement = tuple[Kind, str, Any]
RERUN_MOST = 1_000


@dataclass(slots=True)
class RecordedTransaction:
    """Statements between the beginning and the end of a transaction."""

    statements: list[Statement] = field(default_factory=list)
    committed: bool = False


Recorded = list[RecordedTransaction]
_START_SECONDS: Final = 60.0
"""How long a client waits for the others to begin; far more than threads need."""
_current: ContextVar[Recorded | None] = ContextVar("recorded", default=None)


@contextmanager
def recording() -> Iterator[Recorded]:
    """Everything that this task, and the threads it hands work to, has the database do."""
    recorded: Recorded = []
    token = _current.set(recorded)
    try:
        yield recorded
    finally:
        _current.reset(token)


class Recorder:
    """Puts itself between an engine and its driver.

    Attributes:
        reruns: transactions that the database rolled back.
        seconds: of each call of the driver while `timing`; None otherwise.
    """

    def __init__(self, engine: Engine) -> None:
        self.reruns = 0
        self.seconds: list[float] | None = None
        self._lock = threading.Lock()
        self._connect_bare: Callable[[], Any] | None = None
        event.listen(engine, "do_connect", self._connect)

    def connect_bare(self) -> Any:
        """A connection of the driver, made the way the engine made its own.

        Raises:
            RuntimeError: the engine has not connected yet.
        """
        if self._connect_bare is None:
            raise RuntimeError("the engine has not connected yet")
        return self._connect_bare()

    def note_rerun(self) -> None:
        with self._lock:
            self.reruns += 1

    @contextmanager
    def timing(self) -> Iterator[list[float]]:
        """Collect the seconds of each call of the driver while the block runs."""
        seconds = self.seconds = []
        try:
            yield seconds
        finally:
            self.seconds = None

    def _connect(self, dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        self._connect_bare = lambda: dialect.connect(*arguments, **options)
        return _Connection(self._connect_bare(), self)


class _Connection:
    """A driver's connection; everything that is not recorded goes through."""

    def __init__(self, real: Any, recorder: Recorder) -> None:
        self._real = real
        self._recorder = recorder
        self.open = RecordedTransaction()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def cursor(self, *arguments: Any) -> _Cursor:
        return _Cursor(self._real.cursor(*arguments), self, self._recorder)

    def commit(self) -> None:
        self._end(self._real.commit, committed=True)

    def rollback(self) -> None:
        self._end(self._real.rollback, committed=False)

    def _end(self, run: Callable[[], None], *, committed: bool) -> None:
        started = time.perf_counter()
        run()
        if self._recorder.seconds is not None:
            self._recorder.seconds.append(time.perf_counter() - started)
        ended, self.open = self.open, RecordedTransaction()
        ended.committed = committed
        recorded = _current.get()
        if recorded is not None and ended.statements:
            recorded.append(ended)


class _Cursor:
    """A driver's cursor."""

    def __init__(self, real: Any, connection: _Connection, recorder: Recorder) -> None:
        self._real = real
        self._connection = connection
        self._recorder = recorder
        self.fetchone = real.fetchone
        self.fetchall = real.fetchall

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, text: str, parameters: Any = ()) -> Any:
        return self._run("one", text, parameters)

    def executemany(self, text: str, parameters: Any) -> Any:
        return self._run("many", text, parameters)

    def _run(self, kind: Kind, text: str, parameters: Any) -> Any:
        recorder = self._recorder
        started = time.perf_counter()
        try:
            answer = _execute(self._real, kind, text, parameters)
        except Exception as error:
            if classify(error, committing=False) is not Fault.DUPLICATE:
                self._connection.open = RecordedTransaction()
                recorder.note_rerun()
            raise
        if recorder.seconds is not None:
            recorder.seconds.append(time.perf_counter() - started)
        self._connection.open.statements.append((kind, text, parameters))
        return answer


def _execute(cursor: Any, kind: Kind, text: str, parameters: Any) -> Any:
    return cursor.execute(text, parameters) if kind == "one" else cursor.executemany(text, parameters)


class BareClients:
    """Clients that repeat what was recorded, by the driver alone, on a second database in the same state.

    SQLite has one writer. Its own waiting (polling with growing pauses) is slower than a lock, so the bare clients
    take turns by a lock, as the app does: the driver at its best.
    """

    def __init__(self, database: Database, recorder: Recorder, *, number: int) -> None:
        self._writer: AbstractContextManager[Any] = (
            threading.Lock() if database.dialect == "sqlite" else nullcontext()
        )
        self._is_sqlite = database.dialect == "sqlite"
        self._connections = [self._connect(recorder) for _ in range(number)]
        self._lock = threading.Lock()
        self.reruns = 0

    def _connect(self, recorder: Recorder) -> Any:
        connection = recorder.connect_bare()
        if self._is_sqlite:
            for pragma in ("synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
                connection.execute(f"PRAGMA {pragma}")
        return connection

    def replay(self, work: Sequence[Recorded]) -> Spent:
        """Carry out all of it, each client the next piece as soon as it is free.

        Raises:
            Exception: whatever a client failed with.
        """
        pieces = iter(work)
        errors: list[BaseException] = []
        barrier = threading.Barrier(len(self._connections) + 1)

        def serve(connection: Any) -> None:
            barrier.wait(_START_SECONDS)
            try:
                for piece in iter(lambda: self._next(pieces), None):
                    self._carry_out(connection, piece)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=serve, args=(each,)) for each in self._connections]
        for thread in threads:
            thread.start()
        barrier.wait(_START_SECONDS)
        before = Spent.now()
        for thread in threads:
            thread.join()
        spent = Spent.now() - before
        if errors:
            raise errors[0]
        return spent

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _next(self, pieces: Iterator[Recorded]) -> Recorded | None:
        with self._lock:
            return next(pieces, None)

    def _carry_out(self, connection: Any, piece: Recorded) -> None:
        for transaction in piece:
            for _ in range(RERUN_MOST):
                if self._attempt(connection, transaction):
                    break
            else:
                raise RuntimeError("a transaction was rolled back again and again")

    def _attempt(self, connection: Any, transaction: RecordedTransaction) -> bool:
        try:
            with self._writer if transaction.committed else nullcontext():
                cursor = connection.cursor()
                for kind, text, parameters in transaction.statements:
                    _execute(cursor, kind, text, parameters)
                    if cursor.description is not None:
                        cursor.fetchall()
                if transaction.committed:
                    connection.commit()
                else:
                    connection.rollback()
                cursor.close()
        except (pymysql.err.Error, sqlite3.Error) as error:
            if classify(error, committing=False) not in (Fault.RERUN, Fault.BUSY):
                raise
            connection.rollback()
            with self._lock:
                self.reruns += 1
            return False
        return True

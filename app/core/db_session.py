"""One transaction on one pooled connection: how it begins, and how it ends whatever happens."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import pymysql
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection

from app.core.db_error import Fault, classify

DRIVER_ERRORS: Final = (sqlite3.Error, pymysql.err.Error, OSError, PoolTimeout)

_SESSION_LIVES: Final = (Fault.RERUN, Fault.BUSY)
"""After these a ROLLBACK is enough; a new session for every lost race would make a crowd slower still."""


class Session:
    """A pooled connection with an open transaction: rolled back unless committed, dropped when broken."""

    def __init__(self, engine: Engine, *, immediate: bool) -> None:
        self._connection = _connect(engine)
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._immediate = immediate
        self._open = False
        self.cursor: Any = None

    def __enter__(self) -> Self:
        try:
            self.cursor = self._connection.cursor()
            if self._is_sqlite:
                self.cursor.execute("BEGIN IMMEDIATE" if self._immediate else "BEGIN")
        except BaseException:
            self._connection.invalidate()
            raise
        self._open = True
        return self

    def commit(self) -> None:
        """End the transaction; what it wrote is there to stay."""
        self._connection.commit()
        self._open = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, DRIVER_ERRORS) and classify(error, committing=False) not in _SESSION_LIVES:
            self._drop()
            return
        try:
            if self._open:
                self._connection.rollback()
            self.cursor.close()
        except DRIVER_ERRORS:
            self._connection.invalidate()
            return
        self._connection.close()

    def _drop(self) -> None:
        """Whatever state the session is in, closing it is the rollback that cannot fail."""
        if self._is_sqlite:
            # ... except that SQLite keeps a closed connection, and its lock on the file, until the last cursor
            # is gone, and the error's own traceback holds ours. Source: sqlite.org/c3ref/close.html.
            with suppress(*DRIVER_ERRORS):
                self.cursor.close()
            with suppress(*DRIVER_ERRORS):
                self._connection.rollback()
        self._connection.invalidate()


def _connect(engine: Engine) -> PoolProxiedConnection:
    try:
        return engine.raw_connection()
    except DBAPIError as error:
        # SQLAlchemy examines the first connection of an engine by itself and wraps what the driver raises.
        raise error.orig or error from None

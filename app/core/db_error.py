"""What a database error means for the transaction it struck. Pure.

**Source:** reference measurements on MariaDB 10.11 with Galera 4 (15 of 17 commits that ended in 2013 had
committed), the MariaDB error code list, and sqlite.org/rescode.html.
"""

from __future__ import annotations

import sqlite3
from enum import Enum

import pymysql
from sqlalchemy.exc import TimeoutError as PoolTimeout


class Fault(Enum):
    """What to do after an error."""

    DUPLICATE = "a unique key is taken; the transaction lives"
    RERUN = "rolled back by the database: run the whole body again"
    BUSY = "waited too long for somebody else: run the whole body again"
    RECONNECT = "the session is gone: connect anew and run the whole body again"
    UNKNOWN = "nobody knows whether it committed: run the whole body again with the same operation id"
    FULL = "no room to write: tell the caller to come back"
    FATAL = "a defect: let it be seen"


_RERUN_CODES = frozenset({1213, 1020})
_BUSY_CODES = frozenset({1205})
_GONE_CODES = frozenset(
    {
        1047,
        1040,
        1053,
        1203,
        1226,
        1290,
        1836,
        1152,
        1158,
        1159,
        1160,
        1161,
        1927,
        2002,
        2003,
        2006,
        2013,
        2055,
        4151,
    }
)
_NOT_COMMITTED_AT_COMMIT = frozenset({1213, 1020, 1205, 1047})
_FULL_CODES = frozenset({1021, 1114})
_SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_FULL = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
)
_SQLITE_UNIQUE = frozenset({sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE})


def classify(error: BaseException, *, committing: bool) -> Fault:
    """Say what an error from a driver means.

    Args:
        error: what the driver raised.
        committing: whether the error came from COMMIT itself.
    """
    if isinstance(error, sqlite3.Error):
        return _classify_sqlite(error, committing=committing)
    if isinstance(error, PoolTimeout):
        return Fault.BUSY
    if isinstance(error, (pymysql.err.Error, OSError)):
        return _classify_mariadb(error, committing=committing)
    return Fault.FATAL


def _classify_sqlite(error: sqlite3.Error, *, committing: bool) -> Fault:
    extended = getattr(error, "sqlite_errorcode", None)
    if extended in _SQLITE_UNIQUE:
        return Fault.DUPLICATE
    primary = None if extended is None else extended & 0xFF
    if primary in _SQLITE_BUSY:
        return Fault.BUSY
    if primary == sqlite3.SQLITE_IOERR and committing:
        # A failed fsync leaves the commit record in the log, where recovery after a crash may find it.
        return Fault.UNKNOWN
    if primary in _SQLITE_FULL:
        return Fault.FULL
    return Fault.FATAL


def _classify_mariadb(error: BaseException, *, committing: bool) -> Fault:
    first = error.args[0] if error.args else None
    code = first if isinstance(first, int) else None
    if committing and code not in _NOT_COMMITTED_AT_COMMIT:
        return Fault.UNKNOWN
    if code == 1062:
        return Fault.DUPLICATE
    if code in _RERUN_CODES:
        return Fault.RERUN
    if code in _BUSY_CODES:
        return Fault.BUSY
    if code in _FULL_CODES:
        return Fault.FULL
    if code in _GONE_CODES or isinstance(error, (pymysql.err.InterfaceError, OSError)):
        return Fault.RECONNECT
    return Fault.FATAL

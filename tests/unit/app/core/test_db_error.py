"""The error matrix, row by row. What run_tx makes of it is tested on real databases."""

from __future__ import annotations

import sqlite3

import pymysql
import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.db_error import Fault, classify


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "before", "committing"),
    [
        (1213, Fault.RERUN, Fault.RERUN),
        (1020, Fault.RERUN, Fault.RERUN),
        (1205, Fault.BUSY, Fault.BUSY),
        (1047, Fault.RECONNECT, Fault.RECONNECT),
        (1062, Fault.DUPLICATE, Fault.UNKNOWN),
        (2002, Fault.RECONNECT, Fault.UNKNOWN),
        (2003, Fault.RECONNECT, Fault.UNKNOWN),
        (1040, Fault.RECONNECT, Fault.UNKNOWN),
        (4151, Fault.RECONNECT, Fault.UNKNOWN),
        (2006, Fault.RECONNECT, Fault.UNKNOWN),
        (2013, Fault.RECONNECT, Fault.UNKNOWN),
        (1053, Fault.RECONNECT, Fault.UNKNOWN),
        (1927, Fault.RECONNECT, Fault.UNKNOWN),
        (1180, Fault.FATAL, Fault.UNKNOWN),
        (1021, Fault.FULL, Fault.UNKNOWN),
        (1114, Fault.FULL, Fault.UNKNOWN),
        (1064, Fault.FATAL, Fault.UNKNOWN),
        (1406, Fault.FATAL, Fault.UNKNOWN),
    ],
)
def test_mariadb_error_means(code: int, before: Fault, committing: Fault) -> None:
    error = pymysql.err.OperationalError(code, "injected")
    assert classify(error, committing=False) is before
    assert classify(error, committing=True) is committing


@pytest.mark.parametrize(
    "error",
    [pymysql.err.InterfaceError(0, ""), TimeoutError("timed out"), ConnectionResetError(104, "reset")],
)
def test_broken_session_means(error: Exception) -> None:
    assert classify(error, committing=False) is Fault.RECONNECT
    assert classify(error, committing=True) is Fault.UNKNOWN


@pytest.mark.parametrize(
    ("code", "before", "committing"),
    [
        (sqlite3.SQLITE_BUSY, Fault.BUSY, Fault.BUSY),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Fault.BUSY, Fault.BUSY),
        (sqlite3.SQLITE_LOCKED, Fault.BUSY, Fault.BUSY),
        (sqlite3.SQLITE_FULL, Fault.FULL, Fault.FULL),
        (sqlite3.SQLITE_IOERR, Fault.FULL, Fault.UNKNOWN),
        (sqlite3.SQLITE_IOERR_FSYNC, Fault.FULL, Fault.UNKNOWN),
        (sqlite3.SQLITE_CANTOPEN, Fault.FULL, Fault.FULL),
        (sqlite3.SQLITE_READONLY, Fault.FULL, Fault.FULL),
        (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, Fault.DUPLICATE, Fault.DUPLICATE),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, Fault.DUPLICATE, Fault.DUPLICATE),
        (sqlite3.SQLITE_CONSTRAINT_NOTNULL, Fault.FATAL, Fault.FATAL),
        (sqlite3.SQLITE_CORRUPT, Fault.FATAL, Fault.FATAL),
    ],
)
def test_sqlite_error_means(code: int, before: Fault, committing: Fault) -> None:
    assert classify(sqlite_error(code), committing=False) is before
    assert classify(sqlite_error(code), committing=True) is committing


def test_error_without_a_code_is_a_defect() -> None:
    assert classify(sqlite3.ProgrammingError("closed"), committing=False) is Fault.FATAL
    assert classify(ValueError("not ours"), committing=False) is Fault.FATAL


def test_full_pool_is_waiting_for_somebody_else() -> None:
    assert classify(PoolTimeout(), committing=False) is Fault.BUSY

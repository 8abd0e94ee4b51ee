"""Which schema an open database has, read over its own pool: no connection is made for the question alone."""

from __future__ import annotations

import sqlite3

import pymysql
from sqlalchemy import Column, MetaData, String, Table, select

from app.core.db import Database

_alembic_version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
_REVISION = select(_alembic_version.c.version_num)

# Source: MariaDB manual, "MariaDB Error Codes".
_NO_TABLE = 1146
_NO_DATABASE = frozenset({1044, 1045, 1049})
"""Not there, or not for us: a user is made after his database and removed before it."""


class NoSuchDatabase(Exception):
    """The server knows no such database, or no such user of it."""


def read_revision(database: Database) -> str | None:
    """The revision a database is at; None when it has no schema, or none that was finished.

    Raises:
        NoSuchDatabase: there is no such database or user on the server.
        DatabaseUnavailable: it does not answer.
    """
    try:
        found = database.read(lambda reader: reader.scalar(_REVISION))
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    except pymysql.err.MySQLError as error:
        if error.args[0] == _NO_TABLE:
            return None
        if error.args[0] in _NO_DATABASE:
            raise NoSuchDatabase from None
        raise
    return None if found is None else str(found)

"""What the administrator of a MariaDB server does: databases and users of instances, made and removed.

Names are ours, never what somebody typed, and checked here once more: they become part of statements. A connection is
open for the work only. Everything may be repeated, and killed anywhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import pymysql
from pymysql.connections import Connection

from app.core.db_engine import LOOPBACK, make_tls_context
from app.core.errors import DatabaseUnavailable, DomainError
from app.core.ids import new_id

OLDEST_VERSION: Final = (10, 11)
"""**Source:** DESIGN §5: MariaDB 10.11."""
MOST_USER_CONNECTIONS: Final = 64
"""Of one instance's user, from all processes: eight of them with eight each. Our own decision."""
CHECK_PREFIX: Final = "wops_check_"
"""Of databases that are there for a moment, to try a server out."""
_LONGEST_WAIT_SECONDS: Final = 30
"""For somebody else who makes or removes the same database; both take a second. Our own decision."""
_NAME: Final = re.compile(r"wops_[a-z0-9_]{1,58}\Z")
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.\d+.*MariaDB", re.IGNORECASE)
_RIGHTS: Final = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES"
"""What serving and migrating one's own database needs, and no more."""
_CHARSET: Final = "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"

# Source: MariaDB manual, "MariaDB Error Codes".
_REFUSED: Final = frozenset({1045, 1130, 1698, 1251, 1862, 4151, 1820})
_RIGHT_MISSING: Final = frozenset({1044, 1142, 1227, 1370, 1410})
_NO_SUCH_USER: Final = frozenset({1094, 1396, 1141})


class ServerUnreachable(DomainError):
    """The database server does not answer, or stopped answering half-way."""

    code = "server_unreachable"


class ServerRejected(DomainError):
    """The database server refuses its administrator."""

    code = "server_rejected"


class ServerUnfit(DomainError):
    """The database server is too old, or its administrator lacks rights."""

    code = "server_unfit"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAccess:
    """How the administrator gets in."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls_ca: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaCopy:
    """What an empty database of the newest schema consists of.

    Attributes:
        definitions: statements that make its tables.
        rows: the rows that its migrations put in, by table, the mark of the revision last.
    """

    definitions: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[object, ...], ...]], ...]


class ServerAdmin:
    """The administrator of one MariaDB server. Thread-safe, blocking; every call opens a connection of its own.

    All methods raise `ServerUnreachable`, `ServerRejected` or `ServerUnfit`, never the driver's errors: these may quote
    a statement.
    """

    def __init__(self, access: ServerAccess) -> None:
        self._access = access

    def check_fitness(self, user_password: str) -> None:
        """Prove that the server can hold instances, by making a database and a user, using and removing them.

        Raises:
            ServerUnfit: it is no MariaDB, too old, or its administrator lacks a right.
        """
        name = f"{CHECK_PREFIX}{new_id('x')[2:]}"
        with self._session() as cursor:
            _check_version(cursor)
            try:
                _make_database(cursor, name, user_password, must_use_tls=self._access.tls_ca is not None)
                self._use_as(name, user_password)
            finally:
                _drop_database(cursor, name)

    def make_database(self, name: str, user_password: str) -> None:
        """Make a database and a user of the same name with rights on it alone, or give the user his password again."""
        with self._session() as cursor:
            _make_database(cursor, name, user_password, must_use_tls=self._access.tls_ca is not None)

    def drop_database(self, name: str) -> None:
        """Shut the user out, then remove him and his database, if they are there."""
        with self._session() as cursor:
            _drop_database(cursor, name)

    def list_databases(self, prefix: str) -> list[str]:
        """Names of our databases that begin like this."""
        _check_name(prefix)
        with self._session() as cursor:
            cursor.execute(f"SHOW DATABASES LIKE '{_escape(prefix)}%'")
            return [str(row[0]) for row in cursor.fetchall()]

    @contextmanager
    def exclusively(self, name: str) -> Iterator[None]:
        """Nobody else who asks for the same is in this block, in this process or another on the same server.

        Raises:
            DatabaseUnavailable: somebody was, for too long.
        """
        with self._session() as cursor:
            cursor.execute("SELECT GET_LOCK(%s, %s)", [_check_name(name), _LONGEST_WAIT_SECONDS])
            if cursor.fetchone() != (1,):
                raise DatabaseUnavailable("Somebody else is making or removing this database; try again.")
            # The lock ends with the connection.
            yield

    def has_tables(self, name: str) -> bool:
        """Whether there is anything in a database."""
        with self._session() as cursor:
            cursor.execute(f"SHOW TABLES FROM `{_check_name(name)}`")
            return cursor.fetchone() is not None

    def read_schema(self, name: str) -> SchemaCopy:
        """What a database consists of."""
        with self._session() as cursor:
            cursor.execute(f"USE `{_check_name(name)}`")
            cursor.execute("SHOW TABLES")
            tables = sorted(
                (str(row[0]) for row in cursor.fetchall()),
                key=lambda table: (table == "alembic_version", table),
            )
            definitions = [_definition(cursor, table) for table in tables]
            rows = [(table, _rows(cursor, table)) for table in tables]
        return SchemaCopy(definitions=tuple(definitions), rows=tuple(each for each in rows if each[1]))

    def write_schema(self, name: str, schema: SchemaCopy) -> None:
        """Make the tables of a schema in an empty database; what marks it as finished comes last."""
        with self._session() as cursor:
            cursor.execute(f"USE `{_check_name(name)}`")
            # Definitions come in the order of names, not of references.
            cursor.execute("SET SESSION foreign_key_checks=0")
            for definition in schema.definitions:
                cursor.execute(definition)
            for table, rows in schema.rows:
                places = ", ".join(["%s"] * len(rows[0]))
                cursor.executemany(f"INSERT IGNORE INTO `{table}` VALUES ({places})", rows)  # noqa: S608

    @contextmanager
    def _session(self) -> Iterator[Any]:
        connection: Connection[Any] | None = None
        try:
            connection = self._connect(self._access.user, self._access.password)
            with connection.cursor() as cursor:
                yield cursor
        except (pymysql.err.Error, OSError) as error:
            raise _translate(error) from None
        finally:
            if connection is not None and connection.open:
                with suppress(pymysql.err.Error, OSError):
                    connection.close()

    def _connect(self, user: str, password: str, database: str | None = None) -> Connection[Any]:
        access = self._access
        transport: dict[str, Any] = {}
        if access.tls_ca is not None:
            transport = {"ssl": make_tls_context(access.tls_ca)}
        elif access.host in LOOPBACK:
            transport = {"ssl_disabled": True}
        return pymysql.connect(
            host=access.host,
            port=access.port,
            user=user,
            password=password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=3,
            # A table takes milliseconds; a lock that somebody holds on it, up to lock_wait_timeout below.
            read_timeout=20,
            write_timeout=10,
            init_command="SET SESSION lock_wait_timeout=10, time_zone='+00:00'",
            **transport,
        )

    def _use_as(self, name: str, password: str) -> None:
        """Make, fill and remove a table as the database's own user."""
        connection = self._connect(name, password, name)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION innodb_snapshot_isolation=ON")
                cursor.execute("CREATE TABLE probe (id INT PRIMARY KEY) ENGINE=InnoDB")
                cursor.execute("INSERT INTO probe VALUES (1)")
                cursor.execute("DROP TABLE probe")
        finally:
            connection.close()


def _check_version(cursor: Any) -> None:
    cursor.execute("SELECT VERSION()")
    found = _VERSION.match(str(cursor.fetchone()[0]))
    if found is None or (int(found[1]), int(found[2])) < OLDEST_VERSION:
        raise ServerUnfit("The server is not MariaDB 10.11 or newer.", wanted="MariaDB 10.11")


def _make_database(cursor: Any, name: str, password: str, *, must_use_tls: bool) -> None:
    _check_name(name)
    cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{name}` {_CHARSET}")
    # The hash, not the password: so the password stands in no log of the server.
    identified = f"`{name}`@`%` IDENTIFIED VIA mysql_native_password USING '{_password_hash(password)}'"
    limits = f"REQUIRE {'SSL' if must_use_tls else 'NONE'} WITH MAX_USER_CONNECTIONS {MOST_USER_CONNECTIONS}"
    cursor.execute(f"CREATE USER IF NOT EXISTS {identified} {limits}")
    cursor.execute(f"ALTER USER {identified} {limits}")
    # `_` in the database part of a GRANT matches any character unless it is escaped.
    cursor.execute(f"GRANT {_RIGHTS} ON `{_escape(name)}`.* TO `{name}`@`%`")


def _drop_database(cursor: Any, name: str) -> None:
    _check_name(name)
    cursor.execute(f"DROP USER IF EXISTS `{name}`@`%`")
    # Sessions outlive their user, and one in the middle of a transaction would hold the database.
    try:
        cursor.execute(f"KILL HARD CONNECTION USER `{name}`@`%`")
    except pymysql.err.MySQLError as error:
        if error.args[0] not in _NO_SUCH_USER:
            raise
    cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")


def _definition(cursor: Any, table: str) -> str:
    cursor.execute(f"SHOW CREATE TABLE `{table}`")
    return str(cursor.fetchone()[1]).replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1)


def _rows(cursor: Any, table: str) -> tuple[tuple[object, ...], ...]:
    cursor.execute(f"SELECT * FROM `{table}`")  # noqa: S608
    return tuple(cursor.fetchall())


def _password_hash(password: str) -> str:
    """As the server stores it. **Source:** MariaDB manual, "Authentication Plugin - mysql_native_password"."""
    inner = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(inner, usedforsecurity=False).hexdigest().upper()


def _check_name(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError("not the name of a database of ours")
    return name


def _escape(name: str) -> str:
    return name.replace("_", r"\_")


def _translate(error: Exception) -> DomainError:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else None
    if code in _REFUSED:
        return ServerRejected("The database server refuses its administrator.", errno=code)
    if code in _RIGHT_MISSING:
        return ServerUnfit("The administrator of the database server lacks a right.", errno=code)
    if isinstance(
        error, (pymysql.err.ProgrammingError, pymysql.err.NotSupportedError, pymysql.err.DataError)
    ):
        return ServerUnfit("The database server does not do what is asked of it.", errno=code)
    return ServerUnreachable("The database server does not answer.", errno=code)

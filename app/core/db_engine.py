"""How connections to SQLite and MariaDB are made and set up."""

from __future__ import annotations

import ssl
from typing import Any, Final, Literal

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.pool import NullPool, QueuePool

from app.core.db_pool import ConnectionBudget, SharedPool

Backend = Literal["sqlite", "mariadb"]

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_POOL_OPTIONS: Final[dict[str, Any]] = {
    "pool_reset_on_return": None,
    "pool_use_lifo": True,
    "pool_timeout": 3,
}
_RECYCLE_SECONDS: Final = 600
"""A connection is replaced when it is used after ten minutes. Our own decision, far below MariaDB's wait_timeout."""
_SQLITE_ARGUMENTS: Final[dict[str, Any]] = {
    "check_same_thread": False,
    "isolation_level": None,
    "timeout": 5.0,
    "cached_statements": 256,
}
# Above a cluster's failover time, below the HTTP deadline. Source: high availability reference §1.4. A process that
# stands still with rows locked loses them before whoever waits for them gives up; should it go on, its body runs again.
_MARIADB_ARGUMENTS: Final[dict[str, Any]] = {
    "connect_timeout": 2,
    "read_timeout": 8,
    "write_timeout": 8,
    "charset": "utf8mb4",
    "init_command": "SET SESSION innodb_snapshot_isolation=ON, innodb_lock_wait_timeout=4,"
    " idle_write_transaction_timeout=3,"
    " wsrep_sync_wait=1, time_zone='+00:00', sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
}


def make_engine(url: URL, *, pool_size: int) -> Engine:
    """An engine whose connections are set up as every transaction here expects them; connects to nothing yet."""
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=pool_size,
            connect_args=_SQLITE_ARGUMENTS,
            **_POOL_OPTIONS,
        )
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    return create_engine(
        url,
        # Statements run with positional arguments; PyMySQL's own style is by name.
        paramstyle="format",
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_recycle=_RECYCLE_SECONDS,
        connect_args={**_transport_of(url), **_MARIADB_ARGUMENTS},
        **_POOL_OPTIONS,
    )


class ServerEngines:
    """Makes the engines of all databases of one server; what they can share, they share. Thread-safe.

    One dialect, one TLS context, one budget of connections: an engine for a database that nobody asks costs some
    kilobytes, and examining the server is done once.

    Args:
        backend: which kind of server.
        budget: how many connections there may be.
        tls_ca: PEM of the authority the server's certificate comes from. Then its name is checked as well.
    """

    def __init__(self, backend: Backend, *, budget: ConnectionBudget, tls_ca: str | None = None) -> None:
        self.budget = budget
        self._tls = None if tls_ca is None else make_tls_context(tls_ca)
        if backend == "sqlite":
            self._arguments = _SQLITE_ARGUMENTS
            self._template = create_engine("sqlite://", poolclass=NullPool)
            event.listen(self._template, "connect", _prepare_sqlite)
        else:
            self._arguments = _MARIADB_ARGUMENTS
            self._template = create_engine("mysql+pymysql://", paramstyle="format", poolclass=NullPool)

    @property
    def tls(self) -> ssl.SSLContext | None:
        """How the server proves who it is; None where nobody listens in between."""
        return self._tls

    def trust(self, tls_ca: str | None) -> None:
        """Have the server prove itself by another authority: every connection made from now on, of all engines.

        Raises:
            ValueError: the text is no certificate.
        """
        self._tls = None if tls_ca is None else make_tls_context(tls_ca)

    def make_engine(self, url: str) -> Engine:
        """The engine of one database; connects to nothing yet."""
        parsed = make_url(url)
        dialect = self._template.dialect
        positional, named = dialect.create_connect_args(parsed)
        named = {**named, **self._arguments}
        pool = SharedPool(
            lambda: dialect.connect(*positional, **named, **self._transport(parsed)),
            budget=self.budget,
            recycle=-1 if parsed.get_backend_name() == "sqlite" else _RECYCLE_SECONDS,
            reset_on_return=None,
            dialect=dialect,
            _dispatch=self._template.pool.dispatch,
        )
        return Engine(pool, dialect, parsed)

    def _transport(self, url: URL) -> dict[str, object]:
        if url.get_backend_name() == "sqlite":
            return {}
        return _transport_of(url) if self._tls is None else {"ssl": self._tls}


def make_tls_context(tls_ca: str) -> ssl.SSLContext:
    """Trust one authority alone, and check the server's name. Costs 30 ms with all the machine's authorities, 1 ms so.

    Raises:
        ValueError: the text is no certificate.
    """
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=tls_ca)
    except ssl.SSLError as error:
        raise ValueError("not a certificate in PEM") from error
    return context


def _transport_of(url: URL) -> dict[str, object]:
    """Nobody listens on the loopback device, and offering TLS costs PyMySQL 2 the reading of every CA certificate.

    **Source:** measured, 30 ms of processor time for each connection.
    """
    is_own_choice = any(name.startswith("ssl") for name in url.query)
    return {"ssl_disabled": True} if url.host in LOOPBACK and not is_own_choice else {}


_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=5000",
    # What is deleted is overwritten, however SQLite was built: an erased key must not stay in a free page.
    "secure_delete=ON",
)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()

"""How connections to SQLite and MariaDB are made and set up."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.pool import QueuePool

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def make_engine(url: URL, *, pool_size: int) -> Engine:
    """An engine whose connections are set up as every transaction here expects them; connects to nothing yet."""
    common: dict[str, Any] = {"pool_reset_on_return": None, "pool_use_lifo": True, "pool_timeout": 3}
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=pool_size,
            connect_args={
                "check_same_thread": False,
                "isolation_level": None,
                "timeout": 5.0,
                "cached_statements": 256,
            },
            **common,
        )
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    return create_engine(
        url,
        # Statements run with positional arguments; PyMySQL's own style is by name.
        paramstyle="format",
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_recycle=600,
        # Above a cluster's failover time, below the HTTP deadline. Source: high availability reference §1.4.
        connect_args={
            **_transport_of(url),
            "connect_timeout": 2,
            "read_timeout": 8,
            "write_timeout": 8,
            "charset": "utf8mb4",
            "init_command": "SET SESSION innodb_snapshot_isolation=ON, innodb_lock_wait_timeout=4,"
            " wsrep_sync_wait=1, time_zone='+00:00', sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
        },
        **common,
    )


def _transport_of(url: URL) -> dict[str, bool]:
    """Nobody listens on the loopback device, and offering TLS costs PyMySQL 2 the reading of every CA certificate.

    **Source:** measured, 30 ms of processor time for each connection.
    """
    is_own_choice = any(name.startswith("ssl") for name in url.query)
    return {"ssl_disabled": True} if url.host in _LOOPBACK and not is_own_choice else {}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()

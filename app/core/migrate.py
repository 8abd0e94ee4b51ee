"""Bringing a database to the newest schema of its tree.

Two trees: `platform` and `instance`, in `migrations/`. One DDL statement per revision and each repeatable
(`if_not_exists`), because MariaDB cannot take DDL back: a migration killed in the middle is simply run again.

    current? ─► lease (one at a time) ─► revision, its number (compare-and-set) ─► next … ─► lease given back
                     ▲                              │ lock not had, connection lost: after a pause
                     └──────────────────────────────┘
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from ssl import SSLContext
from threading import Event
from typing import Any, Final, Literal, TypeVar

from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from app.core.clock import Clock, SystemClock
from app.core.db_engine import LOOPBACK
from app.core.db_error import Fault, classify
from app.core.errors import DatabaseUnavailable
from app.core.migrate_error import MigrationRefused, MigrationRunning, NoSchema
from app.core.migrate_lease import Lease, LeaseLost, kept

T = TypeVar("T")
Tree = Literal["platform", "instance"]

MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"
PATIENCE: Final = timedelta(seconds=20)
"""How long a migration waits for a lock, a lost connection or somebody else's lease. Longer than a dead owner's lease
(`LEASE_TTL`). Our own decision."""
_REVISION_FILE: Final = re.compile(r"(\d{4})_\w+\.py")
_REVISION: Final = re.compile(r"\d{4}")
_PAUSE_SECONDS: Final = 0.2
_METADATA_LOCK_SECONDS: Final = 2
"""A DDL statement that waits for a table keeps every later reader of the table waiting behind it; it gives up before
the readers do (8 s, `app.core.db_engine`) and tries again. **Source:** MariaDB manual, "Metadata Locking"."""
_STATEMENT_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What a migration did: the revision before it and the one after it; None: there was no schema."""

    before: str | None
    after: str

    @property
    def changed(self) -> bool:
        """Whether anything was carried out."""
        return self.before != self.after


@lru_cache
def head(tree: Tree) -> str:
    """The newest revision of a tree, read from the file names without importing Alembic."""
    found = [match[1] for match in map(_REVISION_FILE.fullmatch, _file_names(tree)) if match]
    return max(found)


def _file_names(tree: Tree) -> list[str]:
    return [path.name for path in (MIGRATIONS / tree / "versions").iterdir()]


def current(url: str, *, tls: SSLContext | None = None) -> str | None:
    """The revision a database is at; None when it was never migrated.

    Raises:
        DatabaseUnavailable: it does not answer.
        MigrationRefused: it answers with an error.
    """
    with _engine_of(url, tls) as engine:
        return _current(engine)


def _current(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        value = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if value is not None and not _REVISION.fullmatch(str(value)):
        raise MigrationRefused("The database holds a schema that is not ours.", revision=str(value)[:32])
    return None if value is None else str(value)


def _nothing_between() -> None:
    """For migrations that nobody stops."""


def upgrade(url: str, tree: Tree, *, to: str | None = None, tls: SSLContext | None = None) -> bool:
    """Run the revisions that a database does not have yet; says whether there were any. See `migrate`.

    Args:
        to: the last revision to run; the newest by default.
    """
    with _engine_of(url, tls) as engine:
        migration = _Migration(engine, tree, to or head(tree), SystemClock(), _nothing_between)
        return migration.run(may_create=True).changed


def migrate(
    url: str,
    tree: Tree,
    *,
    tls: SSLContext | None = None,
    clock: Clock | None = None,
    between: Callable[[], None] = _nothing_between,
    may_create: bool = True,
) -> Upgraded:
    """Run the revisions that a database does not have yet. Safe to repeat, to kill, and to call from many at once.

    A database with a newer schema than this wops knows is left as it is: old code runs on the new schema.

    Args:
        url: with the password of a user who may change the schema.
        tls: how a remote server proves who it is.
        between: called before each revision and each chunk of a backfill; what it raises ends the migration there.
        may_create: an empty database gets a schema; otherwise one that should hold something has been lost.

    Raises:
        NoSchema: it is empty, and nobody said that it may be.
        MigrationRunning: somebody else migrates it and has not finished within `PATIENCE`.
        DatabaseUnavailable: it does not answer, or somebody holds a lock, for that long.
        MigrationRefused, SchemaConflict: a revision cannot be carried out; those before it are.
    """
    with _engine_of(url, tls) as engine:
        migration = _Migration(engine, tree, head(tree), clock or SystemClock(), between)
        return migration.run(may_create=may_create)


@contextmanager
def sole_run(platform_url: str, *, clock: Clock) -> Iterator[Event]:
    """Keep others from running over all instances at the same time; a run that was killed is waited for.

    Yields:
        Set when another run has taken over, because this one was frozen or cut off for too long.

    Raises:
        MigrationRunning: another run is under way.
        DatabaseUnavailable, MigrationRefused: of the platform database.
    """
    engine = _make_engine(platform_url, None)
    try:
        lease = Lease(engine, "instances", clock=clock)
        try:
            lease.take_unless_alive()
        except SQLAlchemyError as error:
            raise _ours(error) from error
        with kept(lease) as lost:
            yield lost
    finally:
        engine.dispose()


class _Migration:
    """One database on its way to a revision."""

    def __init__(
        self, engine: Engine, tree: Tree, to: str, clock: Clock, between: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._tree = tree
        self._to = to
        self._clock = clock
        self._between = between
        self._revision: str | None = None
        self._be_patient()

    def run(self, *, may_create: bool) -> Upgraded:
        before = self._again(lambda: _current(self._engine))
        if before is None and not may_create:
            raise NoSchema
        if self._is_behind(before):
            self._again(self._carry_out)
            return Upgraded(before, self._to)
        return Upgraded(before, before or self._to)

    def _is_behind(self, revision: str | None) -> bool:
        return revision is None or revision < self._to

    def _carry_out(self) -> None:
        # Alembic costs a tenth of a second to import; a start on a migrated database does without it.
        from app.core.migrate_script import run_revisions  # noqa: PLC0415

        lease = Lease(self._engine, "schema", clock=self._clock)
        lease.take(patience=timedelta(seconds=self._left()))
        try:
            if self._is_behind(_current(self._engine)):
                with self._engine.connect() as connection:
                    run_revisions(
                        connection,
                        MIGRATIONS / self._tree,
                        to=self._to,
                        note=lambda revision: self._begin(revision, lease),
                        between=lambda: self._go_on(lease),
                    )
        finally:
            with suppress(SQLAlchemyError):
                lease.release()

    def _begin(self, revision: str, lease: Lease) -> None:
        self._between()
        lease.renew()
        if revision != self._revision:
            self._revision = revision
            self._be_patient()

    def _go_on(self, lease: Lease) -> None:
        self._between()
        lease.renew()
        self._be_patient()

    def _be_patient(self) -> None:
        """Patience is for standing still: whatever has gone forward may wait as long again."""
        self._give_up_at = self._clock.monotonic() + PATIENCE.total_seconds()

    def _left(self) -> float:
        return max(0.0, self._give_up_at - self._clock.monotonic())

    def _again(self, call: Callable[[], T]) -> T:
        """Call until it succeeds; gives up on errors that do not pass, and when patience has run out."""
        while True:
            try:
                return call()
            except LeaseLost as error:
                if self._left() <= 0:
                    raise MigrationRunning("Somebody else is migrating this database.") from error
            except DBAPIError as error:
                if self._left() <= 0 or not _may_pass(error):
                    raise _ours(error, revision=self._revision) from error
            self._clock.sleep(random.uniform(_PAUSE_SECONDS / 2, _PAUSE_SECONDS))  # noqa: S311 - jitter, no secret


def _may_pass(error: DBAPIError) -> bool:
    """Whether the same may succeed in a moment."""
    return error.orig is not None and classify(error.orig, committing=False) in (
        Fault.RERUN,
        Fault.BUSY,
        Fault.RECONNECT,
    )


def _ours(error: SQLAlchemyError, *, revision: str | None = None) -> MigrationRefused | DatabaseUnavailable:
    """The reason without the database's own words, which may hold what lies in it."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if cause is not None and classify(cause, committing=False) not in (Fault.FATAL, Fault.DUPLICATE):
        return DatabaseUnavailable("The database does not answer, or somebody holds a lock in it.")
    number = getattr(cause, "sqlite_errorname", None) or (cause.args[0] if cause and cause.args else None)
    told = str(number)[:64] if isinstance(number, (int, str)) else type(error).__name__
    where = "" if revision is None else f" revision {revision}"
    return MigrationRefused(f"The database refuses{where} ({told}).", revision=revision, error=told)


@contextmanager
def _engine_of(url: str, tls: SSLContext | None) -> Iterator[Engine]:
    """An engine for as long as it is needed; what the database says becomes ours."""
    engine = _make_engine(url, tls)
    try:
        yield engine
    except SQLAlchemyError as error:
        raise _ours(error) from error
    finally:
        engine.dispose()


def _make_engine(url: str, tls: SSLContext | None) -> Engine:
    """An engine for one migration: a connection for the revisions, one for the lease, one for a backfill."""
    parsed = make_url(url)
    arguments: dict[str, Any] = {"timeout": 2.0}
    if parsed.get_backend_name() != "sqlite":
        arguments = {
            **_transport_of(parsed, tls),
            "connect_timeout": 5,
            "read_timeout": _STATEMENT_SECONDS,
            "write_timeout": _STATEMENT_SECONDS,
            "charset": "utf8mb4",
            "init_command": f"SET SESSION lock_wait_timeout={_METADATA_LOCK_SECONDS},"
            " innodb_lock_wait_timeout=4, time_zone='+00:00',"
            " sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
        }
    return create_engine(parsed, poolclass=QueuePool, pool_size=3, max_overflow=0, connect_args=arguments)


def _transport_of(url: URL, tls: SSLContext | None) -> dict[str, object]:
    """As `app.core.db_engine` does it: nobody listens on the loopback device."""
    if tls is not None:
        return {"ssl": tls}
    is_own_choice = any(name.startswith("ssl") for name in url.query)
    return {"ssl_disabled": True} if url.host in LOOPBACK and not is_own_choice else {}

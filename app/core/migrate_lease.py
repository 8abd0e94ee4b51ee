"""Who may migrate: one row per database and purpose, taken and kept by compare-and-set.

The lease keeps two from waiting for each other's locks. It is not what makes two harmless: that are revisions that
can be repeated, and Alembic's own compare-and-set on the number in `alembic_version`.

Its table lies beside Alembic's, outside the trees: it has to be there before the first revision.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Event, Thread
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.schema import CreateTable

from app.core.clock import Clock, to_us
from app.core.migrate_error import MigrationRunning

LEASE_TABLE: Final = "schema_lease"
LEASE_TTL: Final = timedelta(seconds=15)
"""When a killed owner's lease ends. Longer than any statement on small tables and any pause of a busy machine, short
enough to be waited for. Our own decision."""
_ASK_EVERY_SECONDS: Final = 0.05
_KEEP_EVERY_SECONDS: Final = 1.0

_lease = Table(
    LEASE_TABLE,
    MetaData(),
    Column("name", String(32), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("until_us", BigInteger, nullable=False),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_nopad_bin",
)
_ADD = insert(_lease)
_IS_NAME = _lease.c.name == bindparam("b_name")
_IS_HELD = _lease.c.holder == bindparam("b_holder")
_TAKE_OVER = (
    update(_lease)
    .where(_IS_NAME, _lease.c.until_us < bindparam("b_now"))
    .values(holder=bindparam("b_holder"), until_us=bindparam("b_until"))
)
_RENEW = update(_lease).where(_IS_NAME, _IS_HELD).values(until_us=bindparam("b_until"))
_RELEASE = delete(_lease).where(_IS_NAME, _IS_HELD)
_UNTIL = select(_lease.c.until_us).where(_IS_NAME)

_log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Its owner was too slow, and somebody else has taken over; never leaves the kernel."""


class Lease:
    """A lease in a database. Belongs to one thread at a time.

    Args:
        engine: of the database; each call is a short transaction of its own.
        name: what it is for.
        clock: decides when it ends.
    """

    def __init__(self, engine: Engine, name: str, *, clock: Clock) -> None:
        self._engine = engine
        self._name = name
        self._clock = clock
        self._holder = secrets.token_hex(16)
        self._next_renewal = 0.0
        self._runs_out = 0.0

    def take(self, *, patience: timedelta) -> None:
        """Take the lease, waiting for one that runs out.

        An owner who renews his is alive: then nobody waits for him longer than `patience`.

        Raises:
            MigrationRunning: somebody else holds it and goes on renewing it.
            DBAPIError: the database refuses, or does not answer.
        """
        make_table(self._engine)
        give_up_at = self._clock.monotonic() + patience.total_seconds()
        while not self._try():
            if self._clock.monotonic() >= give_up_at:
                raise MigrationRunning("Somebody else is migrating this already; wait until he has finished.")
            self._clock.sleep(_ASK_EVERY_SECONDS)

    def take_unless_alive(self) -> None:
        """Take the lease; a dead owner's is waited for, a living owner is recognised by his next renewal.

        Raises:
            MigrationRunning: the owner has just renewed it.
            DBAPIError: the database refuses, or does not answer.
        """
        make_table(self._engine)
        known = self._until()
        # Whatever the owner's clock says, nobody waits for ever.
        give_up_at = self._clock.monotonic() + 2 * LEASE_TTL.total_seconds()
        while not self._try():
            now = self._until()
            is_renewed = known is not None and now is not None and now != known
            if is_renewed or self._clock.monotonic() >= give_up_at:
                raise MigrationRunning("Another run is under way; wait until it has finished.")
            known = known if now is None else now
            self._clock.sleep(_ASK_EVERY_SECONDS)

    def renew(self) -> None:
        """Keep it, at a fifth of its length at the earliest.

        Raises:
            LeaseLost: somebody else has it.
        """
        if self._clock.monotonic() < self._next_renewal:
            return
        values = {"b_name": self._name, "b_holder": self._holder, "b_until": self._new_until()}
        with self._engine.begin() as connection:
            if connection.execute(_RENEW, values).rowcount != 1:
                raise LeaseLost
        self._note_renewal()

    def has_run_out(self) -> bool:
        """Whether it was renewed so long ago that somebody else may have it."""
        return self._clock.monotonic() >= self._runs_out

    def release(self) -> None:
        """Give it back, if it is still ours."""
        with self._engine.begin() as connection:
            connection.execute(_RELEASE, {"b_name": self._name, "b_holder": self._holder})

    def _try(self) -> bool:
        until = self._new_until()
        try:
            with self._engine.begin() as connection:
                connection.execute(_ADD, {"name": self._name, "holder": self._holder, "until_us": until})
        except IntegrityError:
            values = {
                "b_name": self._name,
                "b_holder": self._holder,
                "b_until": until,
                "b_now": to_us(self._clock.now()),
            }
            with self._engine.begin() as connection:
                if connection.execute(_TAKE_OVER, values).rowcount != 1:
                    return False
        self._note_renewal()
        return True

    def _until(self) -> int | None:
        with self._engine.begin() as connection:
            return connection.execute(_UNTIL, {"b_name": self._name}).scalar()

    def _new_until(self) -> int:
        return to_us(self._clock.now() + LEASE_TTL)

    def _note_renewal(self) -> None:
        now, length = self._clock.monotonic(), LEASE_TTL.total_seconds()
        self._next_renewal, self._runs_out = now + length / 5, now + length


def make_table(engine: Engine) -> None:
    """Make the table of leases unless it is there."""
    with engine.begin() as connection:
        if not inspect(connection).has_table(LEASE_TABLE):
            connection.execute(CreateTable(_lease, if_not_exists=True))


@contextmanager
def kept(lease: Lease) -> Iterator[Event]:
    """Keep a lease that has been taken, by a thread of its own, and give it back at the end.

    Yields:
        Set when it is not ours any more, or may not be: we were frozen or cut off for too long, or its keeper failed.
    """
    done, lost = Event(), Event()
    keeper = Thread(target=_keep, args=(lease, done, lost), name="lease", daemon=True)
    keeper.start()
    try:
        yield lost
    finally:
        done.set()
        keeper.join()
        with suppress(SQLAlchemyError):
            lease.release()


def _keep(lease: Lease, done: Event, lost: Event) -> None:
    try:
        while not done.wait(_KEEP_EVERY_SECONDS):
            # A database that does not answer now may do so before the lease has run out.
            with suppress(DBAPIError, PoolTimeout):
                lease.renew()
            if lease.has_run_out():
                raise LeaseLost
    except LeaseLost:
        lost.set()
    except Exception:
        # Whatever it was: nobody keeps the lease from here on.
        _log.exception("lease_not_kept")
        lost.set()

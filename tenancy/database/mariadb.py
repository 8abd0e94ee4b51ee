"""Instance databases on one MariaDB server: a database and a user of the same name for each.

create ─► database, user with his password, rights on it alone ─► schema, mark of the revision last
             (each "if not exists", the password set again)          (copied from a draft; see below)

Context: Alembic needs about half a second for forty revisions on MariaDB. Decision: a process migrates one empty draft
database per server, keeps its definitions in memory, drops it, and makes further databases from them; a test compares
the two. Alternative: a template database that stays, which two processes would have to agree on.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from ssl import SSLContext
from typing import Final
from urllib.parse import quote_plus
from uuid import UUID

from app.core import migrate
from app.core.clock import Clock
from app.core.db import Database
from app.core.db_admin import CHECK_PREFIX, SchemaCopy, ServerAdmin
from app.core.db_engine import ServerEngines
from app.core.db_revision import read_revision
from app.core.ids import new_id
from tenancy.database.home import DatabaseHome, ServerPlace
from tenancy.database.sealing import make_password
from tenancy.server.record import split_address

_DRAFT: Final = "wops_draft_"
_UUID: Final = re.compile(r"[0-9a-f]{32}\Z")
_DRAFT_LIVES: Final = timedelta(hours=1)
"""Longer than a migration of an empty database on the slowest machine; what is older was left by a killed process."""


class MariaDbAccess:
    """How instances get at their databases on one MariaDB server, each as its own user. Thread-safe.

    Args:
        place: of the server.
        engines: for this server alone.
        clock: gives transactions their time.
    """

    def __init__(self, place: ServerPlace, *, engines: ServerEngines, clock: Clock) -> None:
        self._host, self._port = split_address(place.address)
        self._engines = engines
        self._clock = clock

    @property
    def tls(self) -> SSLContext | None:
        """How the server proves who it is."""
        return self._engines.tls

    def trust(self, tls_ca: str | None) -> None:
        """Have the server prove itself by another authority from now on."""
        self._engines.trust(tls_ca)

    def open(self, home: DatabaseHome) -> Database:
        """The instance's database; nobody has asked the server whether it is there."""
        return Database(self.migration_url(home), clock=self._clock, engines=self._engines)

    def migration_url(self, home: DatabaseHome) -> str:
        """Its URL with password."""
        return self._url(home.database_name, f"{home.user_name}:{quote_plus(home.password or '')}")

    def _url(self, database: str, login: str) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"mysql+pymysql://{login}@{host}:{self._port}/{database}"


class MariaDbServer(MariaDbAccess):
    """The instance databases of one MariaDB server, and how they are made and removed. Thread-safe.

    Args:
        admin: its administrator, asked for whenever there is something to administer.
    """

    def __init__(
        self, place: ServerPlace, *, admin: Callable[[], ServerAdmin], engines: ServerEngines, clock: Clock
    ) -> None:
        super().__init__(place, engines=engines, clock=clock)
        self._admin = admin
        self._making_schema = threading.Lock()
        self._schema: SchemaCopy | None = None

    def create(self, home: DatabaseHome) -> None:
        """Make database, user and schema, or finish what was begun. To be called within `exclusively`.

        Tables without the mark of a revision are what a killed attempt left, maybe of an older wops: nobody was served
        from them, and they are made anew.

        Raises:
            ServerUnreachable, ServerRejected, ServerUnfit: the server does not do it now.
            DatabaseUnavailable: nor does the new database.
        """
        admin = self._admin()
        admin.make_database(home.database_name, home.password or "")
        database = self.open(home)
        try:
            self._make_schema(admin, home, read_revision(database))
        finally:
            database.close()

    @contextmanager
    def exclusively(self, home: DatabaseHome) -> Iterator[None]:
        """Nobody else makes or removes the database meanwhile: another one's half-made tables are no leftovers.

        Raises:
            ServerUnreachable, ServerRejected, DatabaseUnavailable: not now.
        """
        with self._admin().exclusively(home.database_name):
            yield

    def _make_schema(self, admin: ServerAdmin, home: DatabaseHome, revision: str | None) -> None:
        if revision is None:
            schema = self._schema_copy(admin)
            if admin.has_tables(home.database_name):
                admin.drop_database(home.database_name)
                admin.make_database(home.database_name, home.password or "")
            admin.write_schema(home.database_name, schema)
        elif revision < migrate.head("instance"):
            migrate.upgrade(self.migration_url(home), "instance", tls=self.tls)

    def drop(self, home: DatabaseHome) -> None:
        """Remove user and database, if they are there.

        Raises:
            ServerUnreachable, ServerRejected, ServerUnfit: the server does not do it now.
        """
        self._admin().drop_database(home.database_name)

    def public_url(self, home: DatabaseHome) -> str:
        """Its URL without password."""
        return self._url(home.database_name, str(home.user_name))

    def _schema_copy(self, admin: ServerAdmin) -> SchemaCopy:
        with self._making_schema:
            if self._schema is None:
                self._remove_old_drafts(admin)
                self._schema = self._read_draft(admin)
            return self._schema

    def _read_draft(self, admin: ServerAdmin) -> SchemaCopy:
        name, password = f"{_DRAFT}{new_id('x')[2:]}", make_password()
        try:
            admin.make_database(name, password)
            migrate.upgrade(self._url(name, f"{name}:{password}"), "instance", tls=self.tls)
            return admin.read_schema(name)
        finally:
            admin.drop_database(name)

    def _remove_old_drafts(self, admin: ServerAdmin) -> None:
        oldest_ms = (self._clock.now() - _DRAFT_LIVES).timestamp() * 1000
        for prefix in (_DRAFT, CHECK_PREFIX):
            for name in admin.list_databases(prefix):
                made_ms = _made_ms(name.removeprefix(prefix))
                if made_ms is not None and made_ms < oldest_ms:
                    admin.drop_database(name)


def _made_ms(suffix: str) -> int | None:
    """When a name was made; None if it is not ours. **Source:** RFC 9562 §5.7: a UUIDv7 begins with its time."""
    return UUID(suffix).int >> 80 if _UUID.match(suffix) else None

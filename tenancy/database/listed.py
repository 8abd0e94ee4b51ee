"""The databases that a list names: what a line has instead of the platform database.

replace(list) ─► whoever is new or gone is known, or not, from now on
              ─► another password or place: closed, and opened anew when asked for
              ─► another authority of a server: connections made from now on ask for it
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from app.core import migrate
from app.core.clock import Clock
from app.core.db import Database
from app.core.db_engine import make_tls_context
from app.core.ids import InstanceId
from tenancy.database.driver import DatabaseAccess
from tenancy.database.home import DatabaseHome, ServerPlace
from tenancy.database.mariadb import MariaDbAccess
from tenancy.database.opened import MOST_OPEN, OpenedDatabases, ServerBudgets
from tenancy.database.sqlite import SqliteDirectory
from tenancy.errors import InstanceDatabaseMissing


class ListedDatabases:
    """The databases of a line's instances; a `ServedDatabases`. Thread-safe, blocking.

    Args:
        clock: gives transactions their time.
        most: databases kept that nobody holds.
    """

    def __init__(self, *, clock: Clock, most: int = MOST_OPEN) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._servers = ServerBudgets(1)
        self._accesses: dict[ServerPlace, DatabaseAccess] = {}
        self._trusted: dict[ServerPlace, str | None] = {}
        self._homes: Mapping[InstanceId, DatabaseHome] = {}
        self._opened = OpenedDatabases(self._connect, self._upgrade, most=most)

    def replace(self, homes: Iterable[DatabaseHome], *, connections: int) -> list[InstanceId]:
        """Know these databases, and no others; returns which of those before are gone, or lie or open otherwise.

        Args:
            connections: to one address of a server at most, and over all directories together.

        Raises:
            ValueError: an authority is no certificate; nothing has changed then.
        """
        wanted = {home.instance_id: home for home in homes}
        for tls_ca in {home.place.tls_ca for home in wanted.values()} - {None, *self._trusted.values()}:
            make_tls_context(str(tls_ca))
        with self._lock:
            self._servers.resize(connections)
            self._trust({_bare(home.place): home.place.tls_ca for home in wanted.values()})
            old, self._homes = self._homes, wanted
        gone = [each for each, home in old.items() if _opens_otherwise(home, wanted.get(each))]
        for instance_id in gone:
            self._opened.forget(instance_id)
        return gone

    def open(self, instance_id: InstanceId) -> Database:
        """The instance's database."""
        return self._opened.open(instance_id)

    def forget(self, instance_id: InstanceId) -> None:
        """Let go of a database; it is opened again if it is asked for and still listed."""
        self._opened.forget(instance_id)

    def is_current(self, instance_id: InstanceId) -> bool:
        """Whether the database has the newest schema."""
        return self._opened.is_current(instance_id)

    def close(self) -> None:
        """Close all that are open."""
        self._opened.close()

    def _trust(self, authorities: Mapping[ServerPlace, str | None]) -> None:
        for place, tls_ca in authorities.items():
            access = self._accesses.get(place)
            if access is not None and self._trusted[place] != tls_ca:
                access.trust(tls_ca)
                self._trusted[place] = tls_ca

    def _home(self, instance_id: InstanceId) -> DatabaseHome:
        home = self._homes.get(instance_id)
        if home is None:
            raise InstanceDatabaseMissing("This line does not serve the instance.")
        return home

    def _connect(self, instance_id: InstanceId) -> Database:
        home = self._home(instance_id)
        return self._access(home.place).open(home)

    def _upgrade(self, instance_id: InstanceId) -> None:
        home = self._home(instance_id)
        access = self._access(home.place)
        migrate.upgrade(access.migration_url(home), "instance", tls=access.tls)

    def _access(self, place: ServerPlace) -> DatabaseAccess:
        with self._lock:
            known = _bare(place)
            access = self._accesses.get(known)
            if access is None:
                access = self._accesses[known] = self._make_access(place)
                self._trusted[known] = place.tls_ca
            return access

    def _make_access(self, place: ServerPlace) -> DatabaseAccess:
        if place.kind == "sqlite":
            return SqliteDirectory(Path(place.address), engines=self._servers.files, clock=self._clock)
        return MariaDbAccess(place, engines=self._servers.engines(place), clock=self._clock)


def _bare(place: ServerPlace) -> ServerPlace:
    """Which server it is, whoever vouches for it."""
    return replace(place, tls_ca=None)


def _opens_otherwise(old: DatabaseHome, new: DatabaseHome | None) -> bool:
    """Whether what is open leads nowhere any more. Another authority counts from the next connection on."""
    return new is None or replace(new, place=_bare(new.place)) != replace(old, place=_bare(old.place))

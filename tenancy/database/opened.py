"""The databases that a process has open: one `Database` each, checked once, the one used longest ago closed for others.

Whoever knows where databases are (`placed`: the platform database says so; `listed`: a line's file does) gives a way to
connect; what is kept, and for how long, is the same for both.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from weakref import WeakSet, WeakValueDictionary

from app.core import migrate
from app.core.db import Database
from app.core.db_engine import ServerEngines
from app.core.db_pool import ConnectionBudget
from app.core.db_revision import NoSuchDatabase, read_revision
from app.core.ids import InstanceId
from tenancy.database.home import ServerPlace
from tenancy.errors import InstanceDatabaseMissing
from tenancy.server.record import address_key

MOST_OPEN: Final = 200
"""Databases kept when nobody holds them; each costs some kilobytes, its connections are bounded by the server's
budget. Our own decision."""


class ServerBudgets:
    """Makes what connects to servers, within the bounds of the process. To be guarded by its owner."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        # By address, not by server: several may be one database server.
        self._budgets: dict[str, ConnectionBudget] = {}
        self.files = ServerEngines("sqlite", budget=ConnectionBudget(connections))

    def engines(self, place: ServerPlace) -> ServerEngines:
        """For a MariaDB server."""
        key = address_key(place.kind, place.address)
        budget = self._budgets.setdefault(key, ConnectionBudget(self._connections))
        return ServerEngines("mariadb", budget=budget, tls_ca=place.tls_ca)

    def resize(self, connections: int) -> None:
        """Have more or fewer connections to each address from now on."""
        self._connections = connections
        for budget in (self.files.budget, *self._budgets.values()):
            budget.resize(connections)


class OpenedDatabases:
    """Keeps what is open. Thread-safe, blocking.

    Args:
        connect: makes an instance's `Database`; it need not ask the server.
        upgrade: brings a schema that is older than this wops to the newest.
        most: databases kept that nobody holds.
    """

    def __init__(
        self,
        connect: Callable[[InstanceId], Database],
        upgrade: Callable[[InstanceId], None],
        *,
        most: int = MOST_OPEN,
    ) -> None:
        self._connect = connect
        self._upgrade = upgrade
        self._most = most
        self._lock = threading.Lock()
        self._recent: OrderedDict[InstanceId, Database] = OrderedDict()
        # One database has one Database as long as anybody holds it: its lock is what lets writers queue fairly.
        self._alive: WeakValueDictionary[InstanceId, Database] = WeakValueDictionary()
        self._checked: WeakSet[Database] = WeakSet()

    def open(self, instance_id: InstanceId) -> Database:
        """The instance's database, its schema new enough. Closes the one used longest ago if there are too many."""
        database = self._get(instance_id)
        if database not in self._checked:
            # Once for each `Database`: it may come from an older wops. Old code runs on a newer schema.
            if _revision_of(database) < migrate.head("instance"):
                self._upgrade(instance_id)
            self._checked.add(database)
        self._keep(instance_id, database)
        return database

    def is_current(self, instance_id: InstanceId) -> bool:
        """Whether the database has the newest schema."""
        return _revision_of(self._get(instance_id)) == migrate.head("instance")

    def forget(self, instance_id: InstanceId) -> None:
        """Close an instance's database, if it is open."""
        with self._lock:
            database = self._alive.pop(instance_id, None)
            self._recent.pop(instance_id, None)
        if database is not None:
            database.close()

    def close(self) -> None:
        """Close all that are open."""
        with self._lock:
            databases = list(self._alive.values())
            self._recent.clear()
            self._alive.clear()
        for database in databases:
            database.close()

    def _get(self, instance_id: InstanceId) -> Database:
        with self._lock:
            database = self._recent.get(instance_id) or self._alive.get(instance_id)
        if database is not None:
            return database
        database = self._connect(instance_id)
        with self._lock:
            return self._alive.setdefault(instance_id, database)

    def _keep(self, instance_id: InstanceId, database: Database) -> None:
        oldest = None
        with self._lock:
            self._recent[instance_id] = database
            self._recent.move_to_end(instance_id)
            if len(self._recent) > self._most:
                _, oldest = self._recent.popitem(last=False)
        if oldest is not None:
            oldest.close()


def _revision_of(database: Database) -> str:
    """Its revision. An empty one is never filled here: what it held is lost, or it has not been finished."""
    try:
        revision = read_revision(database)
    except NoSuchDatabase:
        raise InstanceDatabaseMissing("The instance's database does not exist.") from None
    if revision is None:
        raise InstanceDatabaseMissing("The instance's database is empty: lost, or never finished.")
    return revision

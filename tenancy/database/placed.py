"""All instance databases, each on the server where its instance is placed.

open(instance) ─► open already? ─► known where? ─► no: platform database, once ─► driver of that server
                                       │
                                       └─ remembered from the start on: with the platform database down, lines go on

Where a database will lie, and its password, is stored before its server is touched: whatever is killed, a repeat
finds the same name and the same password.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from ssl import SSLContext
from typing import Final
from weakref import WeakSet, WeakValueDictionary

from app.core import migrate
from app.core.clock import Clock
from app.core.db import Database, Tx
from app.core.db_admin import ServerAccess, ServerAdmin
from app.core.db_engine import ServerEngines
from app.core.db_pool import MOST_CONNECTIONS, ConnectionBudget
from app.core.db_revision import NoSuchDatabase, read_revision
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from tenancy.database import repository
from tenancy.database.driver import DatabaseDriver
from tenancy.database.home import OLD_DIRECTORY, DatabaseHome, ServerPlace, name_database
from tenancy.database.mariadb import MariaDbServer
from tenancy.database.sealing import PasswordSeal, make_password
from tenancy.database.sqlite import SqliteDirectory
from tenancy.errors import InstanceDatabaseMissing
from tenancy.server import repository as servers
from tenancy.server.errors import DatabasePasswordDamaged, InstanceNotPlaced
from tenancy.server.record import ServerId, address_key, split_address

_log = logging.getLogger(__name__)

_MOST_OPEN: Final = 200
"""Databases kept when nobody holds them; each costs some kilobytes, its connections are bounded by the server's
budget. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a process keeps at most.

    Attributes:
        connections: per address of a database server, and over all directories together.
        databases: those that nobody holds.
    """

    connections: int = MOST_CONNECTIONS
    databases: int = _MOST_OPEN


class PlacedDatabases:
    """The databases of all instances of a platform; an `InstanceDatabases`. Thread-safe, blocking.

    Args:
        platform: the platform database.
        data_dir: below which the directories of SQLite servers lie.
        seal: opens the passwords.
        clock: gives transactions their time.
        bounds: what is kept at most.
        on_open: told of every database that is given out; quick.
    """

    def __init__(
        self,
        platform: Database,
        *,
        data_dir: Path,
        seal: PasswordSeal,
        clock: Clock,
        bounds: Bounds | None = None,
        on_open: Callable[[InstanceId, Database], None] | None = None,
    ) -> None:
        self._platform = platform
        self._on_open = on_open
        self._data_dir = data_dir
        self._seal = seal
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._lock = threading.Lock()
        self._drivers: dict[ServerId | None, DatabaseDriver] = {}
        # By address, not by server: several may be one database server.
        self._budgets: dict[str, ConnectionBudget] = {}
        self._homes: dict[InstanceId, DatabaseHome] = {}
        self._recent: OrderedDict[InstanceId, Database] = OrderedDict()
        # One database has one Database as long as anybody holds it: its lock is what lets writers queue fairly.
        self._alive: WeakValueDictionary[InstanceId, Database] = WeakValueDictionary()
        self._checked: WeakSet[Database] = WeakSet()
        self._files = ServerEngines("sqlite", budget=ConnectionBudget(self._bounds.connections))

    def load(self) -> int:
        """Remember where all databases lie, so that none needs the platform database later; returns how many.

        One whose stored password is damaged is left out; asking for it raises `DatabasePasswordDamaged`.
        """
        homes = self._platform.read(repository.list_homes)
        opened: dict[InstanceId, DatabaseHome] = {}
        for home in homes:
            try:
                opened[home.instance_id] = self._unseal(home)
            except DatabasePasswordDamaged as error:
                # One customer's trouble: whoever asks for this database is told, everybody else is served.
                _log.critical("database_not_known", extra={"instance": home.instance_id, "code": error.code})
        with self._lock:
            self._homes.update(opened)
        return len(opened)

    def create(self, instance_id: InstanceId) -> str:
        """Make an instance's database on the first server of its placement, or finish what was begun."""
        home = self._assign(instance_id)
        driver = self.driver(home.place)
        with driver.exclusively(home):
            if self._find_home(instance_id) is None:
                # Whoever was held up here for long comes too late.
                raise InstanceNotPlaced("The instance's database has been removed meanwhile.")
            driver.create(home)
        with self._lock:
            self._homes[instance_id] = home
        return driver.public_url(home)

    def open(self, instance_id: InstanceId) -> Database:
        """The instance's database."""
        with self._lock:
            database = self._recent.get(instance_id) or self._alive.get(instance_id)
        if database is None:
            database = self._open_new(instance_id)
        if database not in self._checked:
            self._check_schema(instance_id, database)
        self._keep(instance_id, database)
        if self._on_open is not None:
            self._on_open(instance_id, database)
        return database

    def drop(self, instance_id: InstanceId) -> None:
        """Remove database and user from their server, then what is known about them."""
        name_database(instance_id, "sqlite")
        home = self._find_home(instance_id)
        if home is None:
            return
        self._forget(instance_id)

        def body(tx: Tx) -> JsonObject:
            if repository.remove_home(tx, instance_id):
                tx.emit(
                    "instance.database_removed", subject=instance_id, data={"database": home.database_name}
                )
            return {}

        driver = self.driver(home.place)
        with driver.exclusively(home):
            driver.drop(home)
            self._platform.run_tx(new_id("op"), body, origin=system_origin("removeInstanceDatabase"))
        self._forget(instance_id)

    def migration_url(self, instance_id: InstanceId) -> str:
        """The database's URL with its password."""
        home = self._home(instance_id)
        return self.driver(home.place).migration_url(home)

    def migration_tls(self, instance_id: InstanceId) -> SSLContext | None:
        """How the database's server proves who it is."""
        return self.driver(self._home(instance_id).place).tls

    def is_current(self, instance_id: InstanceId) -> bool:
        """Whether the database has the newest schema."""
        with self._lock:
            database = self._recent.get(instance_id) or self._alive.get(instance_id)
        if database is None:
            database = self._open_new(instance_id)
        return _revision_of(database) == migrate.head("instance")

    def close(self) -> None:
        """Close all that are open."""
        with self._lock:
            databases = list(self._alive.values())
            self._recent.clear()
            self._alive.clear()
            self._homes.clear()
        for database in databases:
            database.close()

    def forget(self, instance_id: InstanceId) -> None:
        """Let go of what is known about a database: somebody else has moved or removed it."""
        self._forget(instance_id)

    def renew_server(self, server_id: ServerId, tls_ca: str | None) -> None:
        """Take over another way to a server: connections made from now on ask for the new authority."""
        with self._lock:
            driver = self._drivers.get(server_id)
            if driver is not None:
                driver.trust(tls_ca)
            for instance_id, home in self._homes.items():
                if home.place.server_id == server_id:
                    self._homes[instance_id] = replace(home, place=replace(home.place, tls_ca=tls_ca))

    def driver(self, place: ServerPlace) -> DatabaseDriver:
        """The driver of a server; made when it is first needed."""
        with self._lock:
            driver = self._drivers.get(place.server_id)
            if driver is None:
                driver = self._drivers[place.server_id] = self._make_driver(place)
            return driver

    def _make_driver(self, place: ServerPlace) -> DatabaseDriver:
        if place.kind == "sqlite":
            return SqliteDirectory(
                self._data_dir / place.address,
                engines=self._files,
                clock=self._clock,
                templates=self._data_dir / OLD_DIRECTORY,
            )
        key = address_key(place.kind, place.address)
        budget = self._budgets.setdefault(key, ConnectionBudget(self._bounds.connections))
        engines = ServerEngines("mariadb", budget=budget, tls_ca=place.tls_ca)
        return MariaDbServer(place, admin=self._admin_of(place), engines=engines, clock=self._clock)

    def _admin_of(self, place: ServerPlace) -> Callable[[], ServerAdmin]:
        """The administrator is read whenever he is needed, and kept nowhere: his password may have changed."""
        server_id = ServerId(str(place.server_id))
        host, port = split_address(place.address)

        def admin() -> ServerAdmin:
            found = self._platform.read(lambda reader: repository.find_admin(reader, server_id))
            if found is None:
                raise InstanceNotPlaced("The server of the instance is not registered any more.")
            password = self._seal.open(found.password, owner=server_id)
            return ServerAdmin(
                ServerAccess(host=host, port=port, user=found.user, password=password, tls_ca=found.tls_ca)
            )

        return admin

    def _assign(self, instance_id: InstanceId) -> DatabaseHome:
        """Store where the database will be, unless that is known."""
        known = self._find_home(instance_id)
        if known is not None:
            return known

        def body(tx: Tx) -> JsonObject:
            placed = servers.list_placed_on(tx, instance_id)
            if not placed:
                raise InstanceNotPlaced("No server holds a place for the instance.")
            server = placed[0]
            name = name_database(instance_id, server.kind)
            is_file = server.kind == "sqlite"
            home = DatabaseHome(
                instance_id=instance_id,
                place=ServerPlace(server_id=server.server_id, kind=server.kind, address=server.address),
                database_name=name,
                user_name=None if is_file else name,
                password=None if is_file else self._seal.seal(make_password(), owner=instance_id),
            )
            if repository.add_home(tx, home):
                data: JsonObject = {"server": server.name, "database": name}
                tx.emit("instance.database_assigned", subject=instance_id, data=data)
            return {}

        self._platform.run_tx(new_id("op"), body, origin=system_origin("assignInstanceDatabase"))
        home = self._find_home(instance_id)
        if home is None:
            raise InstanceNotPlaced("The instance has just been removed.")
        return home

    def _home(self, instance_id: InstanceId) -> DatabaseHome:
        with self._lock:
            home = self._homes.get(instance_id)
        if home is None:
            name_database(instance_id, "sqlite")
            home = self._find_home(instance_id)
            if home is None:
                raise InstanceDatabaseMissing("The instance's database does not exist.")
            with self._lock:
                self._homes[instance_id] = home
        return home

    def _find_home(self, instance_id: InstanceId) -> DatabaseHome | None:
        home = self._platform.read(
            lambda reader: (
                repository.find_home(reader, instance_id) or repository.find_old_home(reader, instance_id)
            )
        )
        return None if home is None else self._unseal(home)

    def _unseal(self, home: DatabaseHome) -> DatabaseHome:
        if home.password is None:
            return home
        return replace(home, password=self._seal.open(home.password, owner=home.instance_id))

    def _open_new(self, instance_id: InstanceId) -> Database:
        home = self._home(instance_id)
        database = self.driver(home.place).open(home)
        with self._lock:
            return self._alive.setdefault(instance_id, database)

    def _check_schema(self, instance_id: InstanceId, database: Database) -> None:
        """Once for each `Database`: it may come from an older wops. Old code runs on a newer schema."""
        if _revision_of(database) < migrate.head("instance"):
            home = self._home(instance_id)
            driver = self.driver(home.place)
            migrate.upgrade(driver.migration_url(home), "instance", tls=driver.tls)
        self._checked.add(database)

    def _keep(self, instance_id: InstanceId, database: Database) -> None:
        oldest = None
        with self._lock:
            self._recent[instance_id] = database
            self._recent.move_to_end(instance_id)
            if len(self._recent) > self._bounds.databases:
                _, oldest = self._recent.popitem(last=False)
        if oldest is not None:
            oldest.close()

    def _forget(self, instance_id: InstanceId) -> None:
        with self._lock:
            database = self._alive.pop(instance_id, None)
            self._recent.pop(instance_id, None)
            self._homes.pop(instance_id, None)
        if database is not None:
            database.close()


def _revision_of(database: Database) -> str:
    """Its revision. An empty one is never filled here: what it held is lost, or it has not been finished."""
    try:
        revision = read_revision(database)
    except NoSuchDatabase:
        raise InstanceDatabaseMissing("The instance's database does not exist.") from None
    if revision is None:
        raise InstanceDatabaseMissing("The instance's database is empty: lost, or never finished.")
    return revision

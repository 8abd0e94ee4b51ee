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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from ssl import SSLContext

from app.core import migrate
from app.core.clock import Clock
from app.core.db import Database, Tx
from app.core.db_admin import ServerAccess, ServerAdmin
from app.core.db_pool import MOST_CONNECTIONS
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from tenancy.database import repository
from tenancy.database.driver import DatabaseDriver
from tenancy.database.home import OLD_DIRECTORY, DatabaseHome, ServerPlace, name_database
from tenancy.database.mariadb import MariaDbServer
from tenancy.database.opened import MOST_OPEN, OpenedDatabases, ServerBudgets
from tenancy.database.sealing import PasswordSeal, make_password
from tenancy.database.sqlite import SqliteDirectory
from tenancy.errors import InstanceDatabaseMissing
from tenancy.server import repository as servers
from tenancy.server.errors import DatabasePasswordDamaged, InstanceNotPlaced
from tenancy.server.record import ServerId, split_address

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a process keeps at most.

    Attributes:
        connections: per address of a database server, and over all directories together.
        databases: those that nobody holds.
    """

    connections: int = MOST_CONNECTIONS
    databases: int = MOST_OPEN


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
        bounds = bounds or Bounds()
        self._lock = threading.Lock()
        self._drivers: dict[ServerId | None, DatabaseDriver] = {}
        self._servers = ServerBudgets(bounds.connections)
        self._homes: dict[InstanceId, DatabaseHome] = {}
        self._opened = OpenedDatabases(self._connect, self._upgrade, most=bounds.databases)

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
        database = self._opened.open(instance_id)
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
        return self._opened.is_current(instance_id)

    def line_home(self, instance_id: InstanceId) -> DatabaseHome:
        """Where the database is, for a line that works in another directory: a directory is named from the root.

        Raises:
            InstanceDatabaseMissing: it has not been created.
            DatabasePasswordDamaged: its stored password cannot be opened.
        """
        home = self._home(instance_id)
        if home.place.kind != "sqlite":
            return home
        address = str((self._data_dir / home.place.address).resolve())
        return replace(home, place=replace(home.place, address=address))

    def close(self) -> None:
        """Close all that are open."""
        with self._lock:
            self._homes.clear()
        self._opened.close()

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
                engines=self._servers.files,
                clock=self._clock,
                templates=self._data_dir / OLD_DIRECTORY,
            )
        return MariaDbServer(
            place, admin=self._admin_of(place), engines=self._servers.engines(place), clock=self._clock
        )

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

    def _connect(self, instance_id: InstanceId) -> Database:
        home = self._home(instance_id)
        return self.driver(home.place).open(home)

    def _upgrade(self, instance_id: InstanceId) -> None:
        home = self._home(instance_id)
        driver = self.driver(home.place)
        migrate.upgrade(driver.migration_url(home), "instance", tls=driver.tls)

    def _forget(self, instance_id: InstanceId) -> None:
        with self._lock:
            self._homes.pop(instance_id, None)
        self._opened.forget(instance_id)

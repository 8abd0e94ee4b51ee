"""Many instances as an older wops left them: databases at the first release's last schema, with some rows in them."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from app.core.clock import SystemClock
from app.core.db import Database
from app.core.ids import InstanceId
from app.core.migrate import upgrade
from tenancy import CredentialKey, PlacedDatabases
from tenancy.credential import credential_key
from tenancy.database.home import name_database
from tenancy.database.sealing import PasswordSeal
from tests.service.database import EngineKind, MariaDbTemplate
from tests.service.mariadb import MariaDbServer

OLD_INSTANCE = "0026"
OLD_PLATFORM = "0015"
CLIENTS = 2
EVENTS = 3
_SERVER = "srv_00000000000000000000000000000001"


@dataclass
class Fleet:
    """A platform and its instances.

    Args:
        folder: the data directory.
        server: where the databases are; None: files.
        count: of instances, all of them ready.
        events: in each of them.
    """

    folder: Path
    count: int
    server: MariaDbServer | None = None
    events: int = EVENTS
    platform_url: str = ""
    ids: list[InstanceId] = field(default_factory=list)
    _passwords: dict[InstanceId, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids = [InstanceId(f"ins_{number:032x}") for number in range(1, self.count + 1)]
        self.folder.mkdir(mode=0o700)
        self.key: CredentialKey = credential_key(self.folder / "credential.key")
        if self.server is None:
            self._make_files()
        else:
            self._make_databases(self.server)

    @property
    def kind(self) -> EngineKind:
        return "sqlite" if self.server is None else "mariadb"

    @property
    def names(self) -> list[str]:
        return [self.name(instance_id) for instance_id in self.ids]

    def name(self, instance_id: InstanceId) -> str:
        """The name of an instance in URLs."""
        return f"fleet-{int(instance_id[4:], 16)}"

    def url(self, instance_id: InstanceId) -> str:
        """Of an instance's database, as its own user."""
        if self.server is None:
            return f"sqlite:///{self.file(instance_id)}"
        name, password = name_database(instance_id, "mariadb"), self._passwords[instance_id]
        return f"mysql+pymysql://{name}:{password}@{self.server.host}:{self.server.port}/{name}"

    def file(self, instance_id: InstanceId) -> Path:
        """Of an instance on SQLite."""
        return self.folder / "instances" / f"{instance_id}.db"

    @contextmanager
    def connect(self, instance_id: InstanceId) -> Iterator[Connection]:
        """A transaction on an instance's database."""
        with connected(self.url(instance_id)) as connection:
            yield connection

    @contextmanager
    def platform(self) -> Iterator[Connection]:
        """A transaction on the platform database."""
        with connected(self.platform_url) as connection:
            yield connection

    @contextmanager
    def open(self) -> Iterator[tuple[Database, PlacedDatabases]]:
        """The platform database and the instances', as the product opens them."""
        clock = SystemClock()
        with closing(Database(self.platform_url, clock=clock)) as database:
            seal = PasswordSeal(self.key)
            databases = PlacedDatabases(database, data_dir=self.folder, seal=seal, clock=clock)
            with closing(databases):
                yield database, databases

    def command(self, *arguments: str) -> list[str]:
        """`wops migrate` over this platform."""
        call = "from app.cli import main; main()"
        return [sys.executable, "-c", call, "migrate", "--data-dir", str(self.folder), *arguments]

    def environment(self) -> dict[str, str]:
        """For that command; the password of a platform database on a server stands here alone."""
        chosen = {} if self.server is None else {"WOPS_PLATFORM_DATABASE": self.platform_url}
        return {**os.environ, **chosen}

    def migrate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def revisions(self) -> dict[InstanceId, str]:
        """What every database says of itself."""
        found: dict[InstanceId, str] = {}
        for instance_id in self.ids:
            with self.connect(instance_id) as connection:
                found[instance_id] = str(
                    connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
                )
        return found

    def drop(self) -> None:
        """Remove what stands on the server."""
        if self.server is None:
            return
        names = ["fleet_platform", "fleet_template", *(name_database(each, "mariadb") for each in self.ids)]
        self.server.execute(
            *(f"DROP DATABASE IF EXISTS `{name}`" for name in names),
            *(f"DROP USER IF EXISTS `{name}`@`%`" for name in names),
        )

    def _make_files(self) -> None:
        self.platform_url = f"sqlite:///{self.folder / 'platform.db'}"
        upgrade(self.platform_url, "platform", to=OLD_PLATFORM)
        (self.folder / "instances").mkdir(mode=0o700)
        template = self.folder / "template.db"
        upgrade(f"sqlite:///{template}", "instance", to=OLD_INSTANCE)
        with connected(f"sqlite:///{template}") as connection:
            _fill(connection, self.events)
        with closing(sqlite3.connect(template)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        for instance_id in self.ids:
            shutil.copyfile(template, self.file(instance_id))
        template.unlink()
        with self.platform() as connection:
            self._add_instances(connection, [f"sqlite:///{self.file(each)}" for each in self.ids])

    def _make_databases(self, server: MariaDbServer) -> None:
        # Before there were servers there were no databases on them: the platform's own schema is the newest.
        self.drop()
        self.platform_url = server.create_database("fleet_platform").url
        upgrade(self.platform_url, "platform")
        access = server.create_database("fleet_template")
        upgrade(access.url, "instance", to=OLD_INSTANCE)
        with connected(access.url) as connection:
            _fill(connection, self.events)
        template = MariaDbTemplate.of(server, access.database)
        statements: list[str] = []
        for instance_id in self.ids:
            name, password = name_database(instance_id, "mariadb"), secrets.token_hex(16)
            self._passwords[instance_id] = password
            pattern = name.replace("_", r"\_")
            statements += [
                f"CREATE DATABASE `{name}`",
                f"CREATE USER `{name}`@`%` IDENTIFIED BY '{password}'",
                f"GRANT ALL ON `{pattern}`.* TO `{name}`@`%`",
                *template.copy_into(name),
            ]
        # What is lost in a crash now would be made again; the run itself is as durable as ever.
        server.execute(
            "SET GLOBAL innodb_flush_log_at_trx_commit=0",
            *statements,
            "SET GLOBAL innodb_flush_log_at_trx_commit=1",
        )
        with self.platform() as connection:
            urls = [f"mysql+pymysql://{server.host}:{server.port}/{each}" for each in self.ids]
            self._add_instances(connection, urls)
            self._add_homes(connection, server)

    def _add_instances(self, connection: Connection, urls: Sequence[str]) -> None:
        # A list of columns as the first release has it; backticks, for `lines` is a word of MariaDB's.
        connection.execute(
            text(
                "INSERT INTO instance (instance_id, customer_id, name, edition, `lines`, country, firm_code, pool,"
                " state, health, database_url, config_version, applied_version, created_at_us) VALUES"
                " (:id, 'cus_1', :name, 'dedicated', 1, 'DE', :code, 'shared', 'ready', 'ok', :url, 1, 1, 1)"
            ),
            [
                {"id": each, "name": self.name(each), "code": 6_500_000 + number, "url": url}
                for number, (each, url) in enumerate(zip(self.ids, urls, strict=True))
            ],
        )

    def _add_homes(self, connection: Connection, server: MariaDbServer) -> None:
        address = f"{server.host}:{server.port}"
        connection.execute(
            text(
                "INSERT INTO server (server_id, name, kind, purpose, site, country, capacity, used, state, address,"
                f" version, created_at_us) VALUES ('{_SERVER}', 'fleet', 'mariadb', 'shared', 'here', 'DE', 1000,"
                f" {self.count}, 'active', '{address}', 1, 1)"
            )
        )
        seal = PasswordSeal(self.key)
        connection.execute(
            text(
                "INSERT INTO instance_database (instance_id, server_id, database_name, user_name, password,"
                f" created_at_us) VALUES (:id, '{_SERVER}', :name, :name, :password, 1)"
            ),
            [
                {
                    "id": each,
                    "name": name_database(each, "mariadb"),
                    "password": seal.seal(self._passwords[each], owner=each),
                }
                for each in self.ids
            ],
        )


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A transaction on a database."""
    # Nobody listens on the loopback device, and reading every authority's certificate takes 30 ms.
    arguments = {} if url.startswith("sqlite:") else {"ssl_disabled": True}
    engine = create_engine(url, poolclass=NullPool, connect_args=arguments)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _fill(connection: Connection, events: int) -> None:
    clients: list[dict[str, Any]] = [
        {"id": f"cli_{number:032x}", "name": f"client-{number}", "at": number} for number in range(CLIENTS)
    ]
    connection.execute(
        text(
            "INSERT INTO api_client (client_id, name, username, secret_hash, scopes, created_at_us)"
            " VALUES (:id, :name, :name, 'hash', '[]', :at)"
        ),
        clients,
    )
    connection.execute(
        text(
            "INSERT INTO outbox_event (sequence, event_id, type, subject, op_id, data, occurred_at_us, delivery)"
            " VALUES (:n, :id, 'item.changed', 'itm_1', :id, '{}', 1, 0)"
        ),
        [{"n": number, "id": f"evt_{number}"} for number in range(1, events + 1)],
    )
    connection.execute(text(f"UPDATE outbox_sequence SET last = {events}"))

"""Servers for tests: directories, or one MariaDB server registered several times over, as an operator would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.core.clock import Clock
from app.core.db import Database, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from tenancy.credential import CredentialKey
from tenancy.database.placed import Bounds, PlacedDatabases
from tenancy.database.repository import list_homes
from tenancy.database.sealing import PasswordSeal
from tenancy.server.embedded import register_embedded_servers
from tenancy.server.record import ServerCreate, ServerId, ServerPurpose
from tenancy.server.service import add_server
from tests.service.mariadb import MariaDbServer

DEDICATED = 40


@dataclass(frozen=True, slots=True)
class MariaDbAdmin:
    """A server and the administrator that wops uses on it."""

    server: MariaDbServer
    user: str
    password: str = field(repr=False)

    @property
    def address(self) -> str:
        return f"{self.server.host}:{self.server.port}"

    def describe(
        self, name: str, *, purpose: ServerPurpose = "shared", capacity: int = 1000, site: str = "karlsruhe"
    ) -> ServerCreate:
        return ServerCreate(
            name=name,
            kind="mariadb",
            purpose=purpose,
            site=site,
            country="DE",
            capacity=1 if purpose == "dedicated" else capacity,
            address=self.address,
            admin_user=self.user,
            admin_password=self.password,
            shares_address=True,
        )


def make_admin(server: MariaDbServer) -> MariaDbAdmin:
    """An administrator with what wops needs and no more."""
    user = f"admin_{new_id('a')[-12:]}"
    return MariaDbAdmin(server, user, server.create_admin(user))


def store_server(platform: Database, asked: ServerCreate, *, key: CredentialKey) -> ServerId:
    """Register a server without trying it out."""
    return store_servers(platform, [asked], key=key)[0]


def store_servers(platform: Database, asked: Sequence[ServerCreate], *, key: CredentialKey) -> list[ServerId]:
    """The same for several, in one transaction."""
    seal = PasswordSeal(key)
    ids = [ServerId(new_id("srv")) for _ in asked]

    def body(tx: Tx) -> JsonObject:
        for server_id, each in zip(ids, asked, strict=True):
            password = each.admin_password
            sealed = None if password is None else seal.seal(password, owner=server_id)
            add_server(tx, each, server_id=server_id, sealed_password=sealed)
        return {}

    platform.run_tx(new_id("op"), body)
    return ids


@contextmanager
def open_placed(
    platform: Database, *, data_dir: Path, key: CredentialKey, clock: Clock, bounds: Bounds | None = None
) -> Iterator[PlacedDatabases]:
    """The databases as a further process has them, on servers that are there; closed at the end, not removed."""
    databases = PlacedDatabases(
        platform, data_dir=data_dir, seal=PasswordSeal(key), clock=clock, bounds=bounds
    )
    with closing(databases):
        yield databases


@contextmanager
def placed_databases(
    platform: Database, *, data_dir: Path, key: CredentialKey, clock: Clock, admin: MariaDbAdmin | None
) -> Iterator[PlacedDatabases]:
    """Servers enough for any test, and the databases on them; removed at the end.

    Args:
        admin: on MariaDB; None for directories.
    """
    if admin is None:
        register_embedded_servers(platform, dedicated=DEDICATED)
    else:
        dedicated = [
            admin.describe(f"db-dedicated-{n}", purpose="dedicated", site=f"site-{n % 3}")
            for n in range(1, DEDICATED + 1)
        ]
        store_servers(platform, [admin.describe("db-shared"), *dedicated], key=key)
    databases = PlacedDatabases(platform, data_dir=data_dir, seal=PasswordSeal(key), clock=clock)
    try:
        yield databases
    finally:
        databases.close()
        if admin is not None:
            for home in platform.read(list_homes):
                databases.drop(home.instance_id)

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.db import Database
from tests.fake.clock import FakeClock
from tests.integration.tenancy.workshop import Workshop
from tests.integration.tenancy.world import KEY, World
from tests.service.database import EngineKind
from tests.service.mariadb import MariaDbServer
from tests.service.placed import MariaDbAdmin, make_admin, placed_databases


@pytest.fixture(scope="session")
def mariadb_admin(mariadb_server: MariaDbServer) -> MariaDbAdmin:
    """The session's MariaDB server with the administrator that wops uses on it."""
    return make_admin(mariadb_server)


@pytest.fixture
def world(
    engine_kind: EngineKind,
    platform_db: Database,
    tmp_path: Path,
    clock: FakeClock,
    request: pytest.FixtureRequest,
) -> Iterator[World]:
    admin: MariaDbAdmin | None = None
    if engine_kind == "mariadb":
        admin = request.getfixturevalue("mariadb_admin")
    with placed_databases(platform_db, data_dir=tmp_path, key=KEY, clock=clock, admin=admin) as databases:
        yield World(platform=platform_db, databases=databases, clock=clock)


@pytest.fixture
def workshop(platform_db: Database, clock: FakeClock) -> Workshop:
    return Workshop(platform_db, clock)

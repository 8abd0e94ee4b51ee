from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.db import Database
from tenancy import InstanceDatabases, SqliteInstanceDatabases
from tests.fake.clock import FakeClock
from tests.integration.tenancy.world import MadeInstanceDatabases, World
from tests.service.database import DatabaseMaker, EngineKind


@pytest.fixture
def world(
    engine_kind: EngineKind,
    platform_db: Database,
    database_maker: DatabaseMaker,
    tmp_path: Path,
    clock: FakeClock,
) -> Iterator[World]:
    databases: InstanceDatabases
    if engine_kind == "sqlite":
        databases = SqliteInstanceDatabases(tmp_path / "instances", clock=clock)
    else:
        databases = MadeInstanceDatabases(database_maker, engine_kind, clock)
    yield World(platform=platform_db, databases=databases, clock=clock)
    databases.close()

"""Boxes from before a box said whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from app.core.db import Database
from app.core.migrate import head, migrate, upgrade
from app.core.migrate_error import MigrationInterrupted
from migrations.backfill import CHUNK
from tenancy.box.repository import list_boxes
from tests.service.database import EngineKind
from tests.service.mariadb import MariaDbServer

_BEFORE = "0049"
_INSTANCE = text(
    "INSERT INTO instance (instance_id, customer_id, name, edition, `lines`, country, firm_code, pool, state, health,"
    " config_version, applied_version, created_at_us)"
    " VALUES (:id, 'cus_1', :name, :edition, 1, 'DE', :code, :pool, 'ready', 'ok', 1, 1, 1)"
)
_BOX = text(
    "INSERT INTO box (name, pool, driver, operation_time_ms, created_at_us) VALUES (:name, :pool, 'software', 20, 1)"
)


@pytest.fixture
def url(engine_kind: EngineKind, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database."""
    if engine_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'owner.sqlite3'}"
        return
    server: MariaDbServer = request.getfixturevalue("mariadb_server")
    server.drop_database("box_owner")
    yield server.create_database("box_owner").url
    server.drop_database("box_owner")


def fill(url: str, count: int) -> None:
    """So many instances with two boxes of their own, and one that shares its box."""
    upgrade(url, "platform", to=_BEFORE)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        own = range(count)
        edition = {"edition": "high_availability"}
        rows = [{"id": f"ins_{n}", "name": f"i-{n}", "code": n + 1, "pool": f"i-{n}", **edition} for n in own]
        shared = {"id": "ins_s", "name": "s", "code": count + 1, "pool": "shared", "edition": "dedicated"}
        connection.execute(_INSTANCE, [*rows, shared])
        boxes = [{"name": f"i-{n}-box-{m}", "pool": f"i-{n}"} for n in own for m in (1, 2)]
        others = [{"name": "shared-box-1", "pool": "shared"}, {"name": "left-box-1", "pool": "left"}]
        connection.execute(_BOX, [*boxes, *others])
    engine.dispose()


def check(url: str, count: int) -> None:
    database = Database(url)
    found = {record.name: record for record in database.read(list_boxes)}
    database.close()
    assert len(found) == 2 * count + 2
    for name, record in found.items():
        owner = f"ins_{name.split('-')[1]}" if name.startswith("i-") else None
        assert record.spec.owner == owner
    old = found["shared-box-1"]
    assert (old.state, old.version, old.spec.drained, old.spec.transactions) == (
        "active",
        1,
        False,
        "unlimited",
    )
    assert (old.spec.jitter, old.spec.faults.total, old.spec.token, old.spec.lent_to) == (0, 0, None, None)


def test_old_boxes_get_the_owner_of_their_pool(url: str) -> None:
    count = CHUNK // 2 + 7
    fill(url, count)
    upgrade(url, "platform")
    check(url, count)


def test_filling_that_was_killed_goes_on_where_it_was(url: str) -> None:
    fill(url, CHUNK)
    calls = 0

    def kill_after_the_first_chunk() -> None:
        nonlocal calls
        calls += 1
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            columns = connection.execute(text("SELECT * FROM box WHERE name = 'i-0-box-1'")).one()._mapping
        engine.dispose()
        if columns.get("owner"):
            raise MigrationInterrupted("killed")

    with pytest.raises(MigrationInterrupted):
        migrate(url, "platform", between=kill_after_the_first_chunk)
    assert calls > 1
    upgrade(url, "platform")
    assert head("platform") >= "0062"
    check(url, CHUNK)

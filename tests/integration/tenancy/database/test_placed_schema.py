"""The schema of instances' databases: copied, older, newer, empty, half made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from app.core import db_admin, migrate
from app.core.db import Database
from app.core.ids import InstanceId
from app.core.outbox import last_sequence
from tenancy.errors import InstanceDatabaseMissing
from tests.integration.tenancy.database.fleet import Fleet, Raw, mark, tables_of
from tests.service.database import EngineKind


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_copied_schema_is_the_migrated_one(fleet: Fleet, database_maker: object) -> None:
    """Table by table as the server writes them down, and row by row."""
    copied = fleet.databases.migration_url(fleet.made())
    fresh = fleet.placed()
    _empty_database(fleet, fresh)
    migrated = fleet.databases.migration_url(fresh)
    assert migrate.upgrade(migrated, "instance")
    assert _definitions(copied) == _definitions(migrated)


def _empty_database(fleet: Fleet, instance_id: InstanceId) -> None:
    """What `create` makes before it makes tables."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(db_admin.ServerAdmin, "write_schema", lambda *_: None)
        fleet.databases.create(instance_id)


def _definitions(url: str) -> dict[str, tuple[str, list[tuple[object, ...]]]]:
    database = Database(url)
    found: dict[str, tuple[str, list[tuple[object, ...]]]] = {}
    with Raw(database) as cursor:
        cursor.execute("SHOW TABLES")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SHOW CREATE TABLE `{table}`")
            definition = cursor.fetchall()[0][1]
            cursor.execute(f"SELECT * FROM `{table}`")
            found[table] = (definition, sorted(cursor.fetchall()))
    database.close()
    return found


def test_database_of_an_older_wops_is_migrated_when_it_is_opened(fleet: Fleet) -> None:
    instance_id = fleet.placed()
    fleet.databases.create(instance_id)
    _set_back(fleet.databases.open(instance_id))
    fleet.databases.close()
    assert not fleet.databases.is_current(instance_id)
    fleet.databases.open(instance_id)
    assert fleet.databases.is_current(instance_id)


def test_empty_database_is_not_taken_for_a_new_one(fleet: Fleet, engine_kind: EngineKind) -> None:
    """Only `create` makes a schema; an empty one in the place of what was there would hide that it is lost."""
    instance_id = fleet.made()
    _empty(fleet.databases.open(instance_id), engine_kind)
    fleet.databases.close()
    for call in (fleet.databases.open, fleet.databases.is_current, fleet.databases.open):
        with pytest.raises(InstanceDatabaseMissing):
            call(instance_id)
    assert migrate.current(fleet.databases.migration_url(instance_id)) is None
    fleet.databases.create(instance_id)
    mark(fleet.databases.open(instance_id))


def _empty(database: Database, engine_kind: EngineKind) -> None:
    if engine_kind == "sqlite":
        database.close()
        path = Path(str(database.engine.url.database).removeprefix("file:").partition("?")[0])
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(b"")
        return
    connection = database.engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("SHOW TABLES")
    names = [row[0] for row in cursor.fetchall()]
    cursor.execute("SET SESSION foreign_key_checks=0")
    cursor.execute("DROP TABLE " + ", ".join(f"`{name}`" for name in names))
    cursor.execute("SET SESSION foreign_key_checks=1")
    connection.close()


def test_newer_schema_than_ours_is_left_alone(fleet: Fleet) -> None:
    instance_id = fleet.made()
    _set_revision(fleet.databases.open(instance_id), "9999")
    fleet.databases.close()
    mark(fleet.databases.open(instance_id))
    assert migrate.current(fleet.databases.migration_url(instance_id)) == "9999"


def _set_back(database: Database) -> None:
    """As if the newest revision had not been run; every revision can be run again."""
    _set_revision(database, f"{int(migrate.head('instance')) - 1:04}")


def _set_revision(database: Database, revision: str) -> None:
    connection = database.engine.raw_connection()
    connection.cursor().execute(f"UPDATE alembic_version SET version_num = '{revision}'")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_file_from_before_there_were_servers_goes_on_working(
    fleet: Fleet, tmp_path: Path, make_old: Callable[[Fleet, InstanceId], Path]
) -> None:
    instance_id = fleet.made()
    path = make_old(fleet, instance_id)
    fleet.databases.close()
    mark(fleet.databases.open(instance_id))
    assert fleet.databases.create(instance_id) == f"sqlite:///{path}"
    assert fleet.databases.open(instance_id).read(last_sequence) == 1
    fleet.databases.drop(instance_id)
    assert not path.exists()
    assert path.is_relative_to(tmp_path)


@pytest.fixture
def make_old() -> Callable[[Fleet, InstanceId], Path]:
    def make(fleet: Fleet, instance_id: InstanceId) -> Path:
        url = fleet.databases.migration_url(instance_id)
        with fleet.platform.engine.begin() as connection:
            connection.execute(text("DELETE FROM instance_database"))
            connection.execute(text("DELETE FROM placement"))
            connection.execute(
                text(
                    "INSERT INTO instance (instance_id, customer_id, name, edition, lines, country, firm_code,"
                    " pool, state, health, database_url, config_version, applied_version, created_at_us)"
                    " VALUES (:id, 'cus_1', 'old', 'datacenter', 1, 'DE', 6000100, 'shared', 'ready', 'ok',"
                    " :url, 1, 1, 0)"
                ),
                {"id": instance_id, "url": url},
            )
        return Path(url.removeprefix("sqlite:///"))

    return make


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_tables_that_an_older_wops_left_half_made_are_made_anew(fleet: Fleet) -> None:
    """A killed provisioning is finished by a newer wops: its tables are not taken for those of the newest schema."""
    fleet.made()
    instance_id = fleet.placed()
    _empty_database(fleet, instance_id)
    database = Database(fleet.databases.migration_url(instance_id))
    with Raw(database) as cursor:
        cursor.execute("CREATE TABLE op (old_column INT PRIMARY KEY)")
        cursor.execute("CREATE TABLE of_old_times (old_column INT PRIMARY KEY)")
        cursor.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
    database.close()
    fleet.databases.create(instance_id)
    other = fleet.made()
    assert tables_of(fleet, instance_id) == tables_of(fleet, other)
    made, expected = (_definitions(fleet.databases.migration_url(each)) for each in (instance_id, other))
    assert made == expected

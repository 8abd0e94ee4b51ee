"""A process killed at any statement of making or removing a database: a repeat ends well."""

from __future__ import annotations

from datetime import datetime, timedelta

import pymysql
import pytest

from app.core.ids import InstanceId
from tenancy.database import repository
from tenancy.errors import InstanceDatabaseMissing
from tests.fake.clock import FakeClock
from tests.fake.killed import Killed
from tests.integration.tenancy.database.fleet import Fleet, mark, tables_of
from tests.service.placed import MariaDbAdmin

STEPS = ("CREATE DATABASE", "CREATE USER", "ALTER USER", "GRANT", "CREATE TABLE", "INSERT IGNORE", "COMMIT")


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_create_killed_at_any_statement_is_finished_by_a_repeat(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    fleet.made()  # The process has its copy of the schema.
    instance_id = fleet.placed()
    if step == "COMMIT":
        _kill_at_commit(fleet, instance_id, monkeypatch, after=after)
    else:
        with monkeypatch.context() as patched:
            _kill_at(step, patched, after=after)
            with pytest.raises(Killed):
                fleet.databases.create(instance_id)
    fleet.databases.close()
    assert fleet.databases.create(instance_id)
    mark(fleet.databases.open(instance_id))
    assert fleet.databases.is_current(instance_id)
    assert tables_of(fleet, instance_id) == tables_of(fleet, fleet.made())


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_what_a_killed_process_left_on_the_server_is_removed(
    fleet: Fleet, mariadb_admin: MariaDbAdmin, clock: FakeClock
) -> None:
    server = mariadb_admin.server
    old = f"{uuid_of(clock.now() - timedelta(hours=2)):032x}"
    young = f"{uuid_of(clock.now()):032x}"
    left = [f"{prefix}{old}" for prefix in ("wops_draft_", "wops_check_")]
    kept = ["wops_check_of_somebody", *(f"{prefix}{young}" for prefix in ("wops_draft_", "wops_check_"))]
    for name in (*left, *kept):
        server.execute(f"CREATE DATABASE `{name}`")
    fleet.made()
    with server.connect_admin() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        there = {row[0] for row in cursor.fetchall()}
    for name in kept:
        server.execute(f"DROP DATABASE `{name}`")
    assert there & {*left, *kept} == {*kept}


def uuid_of(at: datetime) -> int:
    """A UUIDv7 of that time: its first 48 bits are milliseconds."""
    return int(at.timestamp() * 1000) << 80


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
@pytest.mark.parametrize("step", STEPS[:-1])
def test_create_killed_at_any_statement_can_be_taken_back(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fleet.made()
    instance_id = fleet.placed()
    with monkeypatch.context() as patched:
        _kill_at(step, patched, after=True)
        with pytest.raises(Killed):
            fleet.databases.create(instance_id)
    # Half a database is not served.
    with pytest.raises(InstanceDatabaseMissing):
        fleet.databases.open(instance_id)
    fleet.databases.drop(instance_id)
    with pytest.raises(InstanceDatabaseMissing):
        fleet.databases.open(instance_id)


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
@pytest.mark.parametrize("step", ["DROP USER", "KILL", "DROP DATABASE"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_drop_killed_at_any_statement_is_finished_by_a_repeat(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    instance_id = fleet.made()
    with monkeypatch.context() as patched:
        _kill_at(step, patched, after=after)
        with pytest.raises(Killed):
            fleet.databases.drop(instance_id)
    fleet.databases.close()
    fleet.databases.drop(instance_id)
    assert fleet.platform.read(repository.list_homes) == []


def _kill_at(step: str, patched: pytest.MonkeyPatch, *, after: bool) -> None:
    """Die at the second table, or at any other first statement that begins like this."""
    execute = pymysql.cursors.Cursor.execute
    left = [2 if step == "CREATE TABLE" else 1]

    def killing(self: pymysql.cursors.Cursor, query: str | bytearray, args: object = None) -> int:
        # `executemany` builds its statement as bytes.
        hit = (query if isinstance(query, str) else query.decode()).startswith(step)
        left[0] -= hit
        if hit and not left[0] and not after:
            raise Killed
        result = execute(self, query, args)  # type: ignore[arg-type]
        if hit and not left[0]:
            raise Killed
        return result

    patched.setattr(pymysql.cursors.Cursor, "execute", killing)


def _kill_at_commit(
    fleet: Fleet, instance_id: InstanceId, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    """Die around the transaction that stores where the database will be, before the server was touched."""
    run_tx = fleet.platform.run_tx

    def killing(*args: object, **more: object) -> object:
        if after:
            run_tx(*args, **more)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(fleet.platform, "run_tx", killing)
        with pytest.raises(Killed):
            fleet.databases.create(instance_id)
    assert bool(fleet.platform.read(lambda reader: repository.find_home(reader, instance_id))) is after

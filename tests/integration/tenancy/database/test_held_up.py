"""A process that stood still while another worked, and goes on: nothing is lost, and nothing is made for nobody."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pymysql
import pytest

from app.core.db_admin import SchemaCopy, ServerAdmin
from app.core.outbox import last_sequence
from tenancy import PasswordSeal, PlacedDatabases
from tenancy.database.home import DatabaseHome
from tenancy.database.mariadb import MariaDbServer
from tenancy.server.errors import InstanceNotPlaced
from tests.integration.tenancy.database.fleet import Fleet, mark
from tests.integration.tenancy.world import KEY
from tests.service.placed import MariaDbAdmin
from tests.service.wait import wait_until


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_process_that_was_held_up_while_making_a_database_shuts_others_out_and_ruins_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, mariadb_admin: MariaDbAdmin, tmp_path: Path
) -> None:
    instance_id = fleet.placed()
    other = PlacedDatabases(
        fleet.platform, data_dir=tmp_path, seal=PasswordSeal(KEY), clock=fleet.platform.clock
    )
    held, go_on = threading.Event(), threading.Event()
    make = MariaDbServer._schema_copy

    def hold(server: MariaDbServer, admin: ServerAdmin) -> SchemaCopy:
        if not held.is_set():
            held.set()
            assert go_on.wait(60)
        return make(server, admin)

    monkeypatch.setattr(MariaDbServer, "_schema_copy", hold)
    with closing(other), ThreadPoolExecutor(2) as pool:
        first = pool.submit(fleet.databases.create, instance_id)
        assert held.wait(60)
        second = pool.submit(other.create, instance_id)
        wait_until(lambda: "User lock" in _ask(mariadb_admin, "SHOW PROCESSLIST"), "the other to wait")
        assert not second.done()
        go_on.set()
        assert first.result() == second.result()
        mark(other.open(instance_id))
        assert fleet.databases.create(instance_id) == first.result()
        assert other.open(instance_id).read(last_sequence) == 1


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_process_that_was_held_up_until_the_database_was_removed_makes_none(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, mariadb_admin: MariaDbAdmin
) -> None:
    instance_id = fleet.made()
    name = fleet.databases.open(instance_id).engine.url.database
    enter = MariaDbServer.exclusively

    def too_late(server: MariaDbServer, home: DatabaseHome) -> AbstractContextManager[None]:
        monkeypatch.setattr(MariaDbServer, "exclusively", enter)
        fleet.databases.drop(instance_id)
        return enter(server, home)

    monkeypatch.setattr(MariaDbServer, "exclusively", too_late)
    with pytest.raises(InstanceNotPlaced):
        fleet.databases.create(instance_id)
    assert str(name) not in _ask(mariadb_admin, "SHOW DATABASES")


def _connect(admin: MariaDbAdmin) -> pymysql.Connection[pymysql.cursors.Cursor]:
    return pymysql.connect(
        host=admin.server.host, port=admin.server.port, user=admin.user, password=admin.password
    )


def _ask(admin: MariaDbAdmin, statement: str) -> str:
    with closing(_connect(admin)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return repr(cursor.fetchall())

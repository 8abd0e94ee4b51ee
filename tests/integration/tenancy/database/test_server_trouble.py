"""A database server that is killed, comes back, or never was one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.db import Database
from app.core.db_admin import ServerAccess, ServerAdmin, ServerRejected, ServerUnfit, ServerUnreachable
from app.core.errors import DatabaseUnavailable, DomainError
from tenancy.database import repository
from tenancy.database.sealing import make_password
from tests.fake.clock import FakeClock
from tests.integration.tenancy.database.fleet import Fleet, mark
from tests.integration.tenancy.world import KEY
from tests.service.mariadb import MariaDbServer, run_mariadb
from tests.service.placed import MariaDbAdmin, make_admin, open_placed, store_server


@pytest.fixture
def own_server() -> Iterator[MariaDbServer]:
    with run_mariadb() as server:
        yield server


@pytest.fixture
def own_fleet(
    platform_db: Database, own_server: MariaDbServer, tmp_path: Path, clock: FakeClock
) -> Iterator[Fleet]:
    """The platform is elsewhere; only the instances' server dies."""
    store_server(platform_db, make_admin(own_server).describe("db-1"), key=KEY)
    with open_placed(platform_db, data_dir=tmp_path, key=KEY, clock=clock) as databases:
        yield Fleet(platform_db, databases)


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_server_killed_in_the_middle_of_create_comes_back_and_create_is_finished(
    own_fleet: Fleet, own_server: MariaDbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = own_fleet.made(), own_fleet.placed()
    mark(own_fleet.databases.open(first))
    write_schema = ServerAdmin.write_schema

    def killing(self: ServerAdmin, *args: object) -> None:
        own_server.process.kill()
        own_server.process.wait()
        write_schema(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(ServerAdmin, "write_schema", killing)
        with pytest.raises(ServerUnreachable) as refused:
            own_fleet.databases.create(second)
    assert refused.value.code == "server_unreachable"
    for call in (own_fleet.databases.create, own_fleet.databases.drop):
        with pytest.raises(ServerUnreachable):
            call(second)
    # What is known of it stays, so that it can be finished or taken back.
    assert own_fleet.platform.read(lambda reader: repository.find_home(reader, second)) is not None
    with own_server.restarted():
        own_fleet.databases.create(second)
        for each in (first, second):
            mark(own_fleet.databases.open(each), "again")
        own_fleet.databases.drop(second)
        own_fleet.databases.close()


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_opening_on_a_dead_server_says_that_it_does_not_answer(
    own_fleet: Fleet, own_server: MariaDbServer
) -> None:
    instance_id = own_fleet.made()
    own_fleet.databases.close()
    own_server.process.kill()
    own_server.process.wait()
    with pytest.raises(DatabaseUnavailable):
        own_fleet.databases.open(instance_id)
    own_fleet.databases.close()


def access(admin: MariaDbAdmin, **other: object) -> ServerAdmin:
    known = {
        "host": admin.server.host,
        "port": admin.server.port,
        "user": admin.user,
        "password": admin.password,
    }
    return ServerAdmin(ServerAccess(**{**known, **other}))  # type: ignore[arg-type]


def test_server_that_can_hold_instances_is_left_as_it_was(mariadb_admin: MariaDbAdmin) -> None:
    access(mariadb_admin).check_fitness(make_password())
    assert access(mariadb_admin).list_databases("wops_check_") == []


def test_nobody_listens(mariadb_admin: MariaDbAdmin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(ServerUnreachable):
        access(mariadb_admin, port=port).check_fitness(make_password())


def test_wrong_password_is_told_from_silence_and_not_repeated(mariadb_admin: MariaDbAdmin) -> None:
    for other in ({"password": "not-the-password"}, {"user": "nobody"}):
        with pytest.raises(ServerRejected) as refused:
            access(mariadb_admin, **other).check_fitness(make_password())
        _says_nothing(refused.value, mariadb_admin.password, "not-the-password")


@pytest.mark.parametrize(
    "rights",
    [
        (),
        ("GRANT CREATE USER ON *.* TO {who}",),
        (
            "GRANT CREATE USER ON *.* TO {who}",
            r"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES"
            r" ON `wops\_%`.* TO {who}",
        ),
    ],
    ids=["none", "users_only", "may_not_pass_rights_on"],
)
def test_administrator_without_the_rights_is_refused(
    mariadb_admin: MariaDbAdmin, rights: tuple[str, ...]
) -> None:
    who = "`poor_admin`@`%`"
    mariadb_admin.server.execute(
        f"CREATE OR REPLACE USER {who} IDENTIFIED BY 'secret-of-his'",
        *(each.format(who=who) for each in rights),
    )
    with pytest.raises(ServerUnfit) as refused:
        access(mariadb_admin, user="poor_admin", password="secret-of-his").check_fitness(make_password())
    assert refused.value.code == "server_unfit"
    _says_nothing(refused.value, "secret-of-his")
    mariadb_admin.server.execute(f"DROP USER {who}")


def test_tls_is_demanded_of_a_server_that_has_none(mariadb_admin: MariaDbAdmin, tls_ca: str) -> None:
    """Whoever stands in between could take TLS away; then nothing is said to him."""
    with pytest.raises(ServerUnreachable):
        access(mariadb_admin, tls_ca=tls_ca).check_fitness(make_password())


def _says_nothing(error: DomainError, *secrets: str) -> None:
    told = f"{error!r} {error} {error.detail} {error.__cause__!r}"
    assert error.__cause__ is None
    assert all(secret not in told for secret in secrets)

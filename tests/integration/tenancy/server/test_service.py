from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.command import Command
from app.core.db import Database
from app.core.db_admin import ServerRejected
from app.core.outbox import list_events
from tenancy import PasswordSeal, Server, ServerChange, ServerId, ServerService
from tenancy.database.repository import find_admin
from tenancy.errors import TenancyError
from tenancy.server.errors import (
    ServerDescriptionUnfit,
    ServerInUse,
    ServerNameTaken,
    ServerNotFound,
    ServerTaken,
    ServerVersionConflict,
)
from tests.fake.clock import FakeClock
from tests.integration.tenancy.server.test_placing import DISK, place, release
from tests.integration.tenancy.world import KEY
from tests.service.mariadb import MariaDbServer
from tests.service.placed import MariaDbAdmin, make_admin, open_placed


@pytest.fixture
def servers(platform_db: Database) -> ServerService:
    return ServerService(platform_db, seal=PasswordSeal(KEY))


def register(servers: ServerService, name: str = "disk") -> Server:
    return servers.register_server(replace(DISK, name=name, address=name)).value


def test_database_server_is_tried_out_and_its_password_sealed(
    servers: ServerService, platform_db: Database, mariadb_admin: MariaDbAdmin
) -> None:
    server = servers.register_server(mariadb_admin.describe("db-1")).value
    assert (server.state, server.used, server.version) == ("active", 0, 1)
    stored = platform_db.read(lambda reader: find_admin(reader, server.server_id))
    assert stored is not None
    assert mariadb_admin.password not in stored.password
    assert PasswordSeal(KEY).open(stored.password, owner=server.server_id) == mariadb_admin.password
    events = platform_db.read(lambda reader: list_events(reader, after=0, limit=100))
    assert [each.type for each in events] == ["server.registered"]
    assert mariadb_admin.password not in repr(events)
    assert mariadb_admin.password not in repr(server)


def test_database_server_that_refuses_is_not_registered(
    servers: ServerService, mariadb_admin: MariaDbAdmin
) -> None:
    with pytest.raises(ServerRejected):
        servers.register_server(replace(mariadb_admin.describe("db-1"), admin_password="wrong"))
    assert servers.list_servers() == []


def test_repeat_of_a_registration_needs_no_server(
    servers: ServerService, mariadb_admin: MariaDbAdmin
) -> None:
    """It is answered from what is stored, even when the server is down or its password has changed by now."""
    command = Command(op_id="register-1")
    first = servers.register_server(mariadb_admin.describe("db-1"), command=command)
    away = replace(mariadb_admin.describe("db-1"), address="127.0.0.1:1")
    assert servers.register_server(away, command=command).value == first.value


def test_two_who_register_one_address_at_once(servers: ServerService) -> None:
    def attempt(number: int) -> str:
        try:
            servers.register_server(replace(DISK, name=f"disk-{number}"))
        except ServerTaken as error:
            return error.code
        return "registered"

    with ThreadPoolExecutor(4) as pool:
        outcome = sorted(pool.map(attempt, range(4)))
    assert outcome == ["registered", *["server_taken"] * 3]
    with pytest.raises(ServerTaken) as refused:
        register_as(servers, "another")
    assert refused.value.detail["name"] == servers.list_servers()[0].name
    servers.register_server(replace(DISK, name="meant", shares_address=True))
    assert len(servers.list_servers()) == 2


def register_as(servers: ServerService, name: str) -> Server:
    return servers.register_server(replace(DISK, name=name)).value


def test_administrators_password_is_rotated_on_a_real_server(
    platform_db: Database, mariadb_server: MariaDbServer, tmp_path: Path, clock: FakeClock
) -> None:
    seal, told = PasswordSeal(KEY), list[ServerId]()
    servers = ServerService(platform_db, seal=seal, on_renewed=lambda server_id, _ca: told.append(server_id))
    old, new = make_admin(mariadb_server), make_admin(mariadb_server)
    server = servers.register_server(old.describe("db-1")).value
    before = place(platform_db)
    way = ServerChange(admin_user=new.user, admin_password=new.password)
    command = Command(op_id="rotate-1")
    with open_placed(platform_db, data_dir=tmp_path, key=KEY, clock=clock) as databases:
        databases.create(before)
        with pytest.raises(ServerRejected):
            servers.change_server(server.server_id, ServerChange(admin_password="wrong"), version=1)
        assert servers.get_server(server.server_id) == replace(server, used=1)
        changed = servers.change_server(server.server_id, way, version=1, command=command).value
        assert (changed.admin_user, changed.version, told) == (new.user, 2, [server.server_id])
        mariadb_server.execute(f"DROP USER `{old.user}`@`%`")
        after = place(platform_db)
        databases.create(after)
        for each in (before, after):
            databases.drop(each)
    # Answered from what is stored: the version the caller saw is long past.
    assert servers.change_server(server.server_id, way, version=1, command=command).replayed
    with pytest.raises(ServerVersionConflict):
        servers.change_server(server.server_id, way, version=1)
    events = platform_db.read(lambda reader: list_events(reader, after=0, limit=100))
    assert new.password not in repr(events) + repr(way)


def test_directory_has_no_administrator_to_change(servers: ServerService) -> None:
    server = register(servers)
    with pytest.raises(ServerDescriptionUnfit):
        servers.change_server(server.server_id, ServerChange(admin_user="a"), version=1)


def test_what_is_no_certificate_is_refused_before_anybody_is_asked(
    servers: ServerService, mariadb_admin: MariaDbAdmin
) -> None:
    with pytest.raises(ServerDescriptionUnfit) as refused:
        servers.register_server(replace(mariadb_admin.describe("db-1"), tls_ca="not a certificate"))
    assert refused.value.detail == {"field": "tls_ca"}


def test_same_command_registers_once_and_the_same_name_is_refused(servers: ServerService) -> None:
    command = Command(op_id="register-1")
    first, again = (servers.register_server(DISK, command=command) for _ in range(2))
    assert (first.replayed, again.replayed) == (False, True)
    assert again.value == first.value
    with pytest.raises(ServerNameTaken):
        servers.register_server(replace(DISK, address="elsewhere"))
    assert len(servers.list_servers()) == 1


def test_pages_are_ordered(servers: ServerService) -> None:
    known = [register(servers, f"disk-{n}") for n in range(3)]
    assert servers.list_servers(limit=2) == known[:2]
    assert servers.list_servers(after=known[1].server_id) == known[2:]


def test_draining_server_keeps_what_it_has_and_takes_nothing_new(
    servers: ServerService, platform_db: Database
) -> None:
    server = register(servers)
    placed = place(platform_db)
    draining = servers.change_server(server.server_id, ServerChange(state="draining"), version=1).value
    assert (draining.state, draining.used, draining.version) == ("draining", 1, 2)
    with pytest.raises(TenancyError) as refused:
        place(platform_db)
    assert refused.value.code == "capacity_exhausted"
    with pytest.raises(ServerInUse):
        servers.change_server(server.server_id, ServerChange(state="retired"), version=2)
    release(platform_db, placed)
    retired = servers.change_server(server.server_id, ServerChange(state="retired"), version=2).value
    assert (retired.state, retired.used) == ("retired", 0)
    changed = [
        each
        for each in platform_db.read(lambda reader: list_events(reader, after=0, limit=100))
        if each.type == "server.changed"
    ]
    assert [each.data for each in changed] == [
        {"capacity": 3, "state": "draining"},
        {"capacity": 3, "state": "retired"},
    ]


def test_capacity_never_falls_below_what_is_placed(servers: ServerService, platform_db: Database) -> None:
    server = register(servers)
    for _ in range(2):
        place(platform_db)
    with pytest.raises(ServerInUse) as refused:
        servers.change_server(server.server_id, ServerChange(capacity=1), version=1)
    assert refused.value.detail == {"used": 2}
    for capacity in (0, 100_001):
        with pytest.raises(ServerDescriptionUnfit):
            servers.change_server(server.server_id, ServerChange(capacity=capacity), version=1)
    assert servers.change_server(server.server_id, ServerChange(capacity=2), version=1).value.capacity == 2
    with pytest.raises(TenancyError):
        place(platform_db)


def test_change_of_what_somebody_changed_meanwhile_is_refused(servers: ServerService) -> None:
    server = register(servers)

    def change(capacity: int) -> str:
        try:
            servers.change_server(server.server_id, ServerChange(capacity=capacity), version=1)
        except ServerVersionConflict as error:
            return error.code
        return "changed"

    with ThreadPoolExecutor(4) as pool:
        outcome = sorted(pool.map(change, range(10, 14)))
    assert outcome == ["changed", *["server_version_conflict"] * 3]
    assert servers.get_server(server.server_id).version == 2


def test_server_is_removed_only_when_it_holds_nothing(servers: ServerService, platform_db: Database) -> None:
    server = register(servers)
    placed = place(platform_db)
    with pytest.raises(ServerInUse):
        servers.remove_server(server.server_id, version=1)
    release(platform_db, placed)
    with pytest.raises(ServerVersionConflict):
        servers.remove_server(server.server_id, version=7)
    servers.remove_server(server.server_id, version=1)
    for call in (
        lambda: servers.get_server(server.server_id),
        lambda: servers.remove_server(server.server_id, version=1),
        lambda: servers.change_server(ServerId("srv_0"), ServerChange(capacity=2), version=1),
    ):
        with pytest.raises(ServerNotFound):
            call()

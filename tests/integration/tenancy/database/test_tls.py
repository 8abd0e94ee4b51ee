"""A database server whose certificate is checked: its authority and its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.db import Database
from app.core.db_admin import ServerAccess, ServerAdmin, ServerUnreachable
from app.core.errors import DatabaseUnavailable
from app.core.outbox import last_sequence
from tenancy import PasswordSeal, ServerChange, ServerService
from tenancy.database.sealing import make_password
from tests.fake.clock import FakeClock
from tests.integration.tenancy.database.fleet import Fleet, Raw, look, mark
from tests.integration.tenancy.world import KEY
from tests.service.mariadb import MariaDbServer, run_mariadb
from tests.service.pki import Issued, issue_for_server, make_server_authority
from tests.service.placed import MariaDbAdmin, make_admin, open_placed, store_servers


@pytest.fixture(scope="module")
def authority() -> Issued:
    return make_server_authority()


@pytest.fixture(scope="module")
def tls_admin(authority: Issued) -> Iterator[MariaDbAdmin]:
    with run_mariadb() as server:
        _give_certificate(server, authority)
        server.process.terminate()
        server.process.wait(30)
        with server.restarted(
            ssl_cert=str(server.folder / "cert.pem"), ssl_key=str(server.folder / "key.pem")
        ):
            yield make_admin(server)


def _give_certificate(server: MariaDbServer, authority: Issued) -> None:
    issued = issue_for_server("127.0.0.1", issuer=authority)
    owner = (server.folder / "data").stat()
    for name, text in (("cert.pem", issued.pem), ("key.pem", issued.key_pem)):
        path = server.folder / name
        path.write_text(text)
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)


def access(admin: MariaDbAdmin, tls_ca: str, *, host: str | None = None) -> ServerAdmin:
    return ServerAdmin(
        ServerAccess(
            host=host or admin.server.host,
            port=admin.server.port,
            user=admin.user,
            password=admin.password,
            tls_ca=tls_ca,
        )
    )


def test_certificate_of_the_named_authority_and_host_is_accepted(
    tls_admin: MariaDbAdmin, authority: Issued
) -> None:
    access(tls_admin, authority.pem).check_fitness(make_password())


def test_certificate_of_another_authority_is_refused(tls_admin: MariaDbAdmin) -> None:
    with pytest.raises(ServerUnreachable):
        access(tls_admin, make_server_authority().pem).check_fitness(make_password())


def test_certificate_of_another_host_is_refused(tls_admin: MariaDbAdmin, authority: Issued) -> None:
    with pytest.raises(ServerUnreachable):
        access(tls_admin, authority.pem, host="localhost").check_fitness(make_password())


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_instances_are_created_migrated_and_served_over_tls_alone(
    platform_db: Database, tls_admin: MariaDbAdmin, authority: Issued, tmp_path: Path, clock: FakeClock
) -> None:
    store_servers(platform_db, [replace(tls_admin.describe("db-1"), tls_ca=authority.pem)], key=KEY)
    with open_placed(platform_db, data_dir=tmp_path, key=KEY, clock=clock) as databases:
        instance_id = Fleet(platform_db, databases).made()
        assert databases.migration_tls(instance_id) is not None
        database = databases.open(instance_id)
        mark(database)
        with Raw(database) as cursor:
            ((_, cipher),) = look(cursor, "SHOW STATUS LIKE 'Ssl_cipher'")
        assert cipher
        assert database.read(last_sequence) == 1
        databases.drop(instance_id)


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_authority_is_exchanged_while_instances_are_open(
    platform_db: Database, tls_admin: MariaDbAdmin, authority: Issued, tmp_path: Path, clock: FakeClock
) -> None:
    """From then on connections to databases that are open already ask for the new one as well."""
    (server_id,) = store_servers(
        platform_db, [replace(tls_admin.describe("db-1"), tls_ca=authority.pem)], key=KEY
    )
    stranger = make_server_authority()
    both = f"{authority.pem}{stranger.pem}"
    with open_placed(platform_db, data_dir=tmp_path, key=KEY, clock=clock) as databases:
        servers = ServerService(platform_db, seal=PasswordSeal(KEY), on_renewed=databases.renew_server)
        instance_id = Fleet(platform_db, databases).made()
        database = databases.open(instance_id)
        with pytest.raises(ServerUnreachable):
            servers.change_server(server_id, ServerChange(tls_ca=stranger.pem), version=1)
        mark(database)
        servers.change_server(server_id, ServerChange(tls_ca=both), version=1)
        database.engine.dispose()
        mark(database, "again")
        databases.renew_server(server_id, stranger.pem)
        database.engine.dispose()
        with pytest.raises(DatabaseUnavailable):
            database.read(last_sequence)
        databases.renew_server(server_id, both)
        databases.drop(instance_id)

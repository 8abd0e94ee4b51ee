"""The private server that all MariaDB tests stand on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from sqlalchemy import inspect

from app.core.db import Database
from tests.architecture.source import ROOT
from tests.service.mariadb import MariaDbAccess, MariaDbServer, run_mariadb
from tests.service.wait import wait_until

_RUN_A_SERVER = """
import sys
from tests.service.mariadb import run_mariadb
with run_mariadb(in_memory=True) as server:
    print(server.process.pid, server.folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def access(mariadb_server: MariaDbServer) -> Iterator[MariaDbAccess]:
    yield mariadb_server.create_database("service_a")
    mariadb_server.drop_database("service_a")


@pytest.fixture
def neighbour(mariadb_server: MariaDbServer) -> Iterator[MariaDbAccess]:
    """Its name differs from the other's in the one place where GRANT takes `_` for any character."""
    yield mariadb_server.create_database("servicexa")
    mariadb_server.drop_database("servicexa")


def test_database_user_sees_no_other_database(
    mariadb_server: MariaDbServer, access: MariaDbAccess, neighbour: MariaDbAccess
) -> None:
    connection = pymysql.connect(
        host=mariadb_server.host, port=mariadb_server.port, user=access.user, password=access.password
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        assert {row[0] for row in cursor.fetchall()} == {"information_schema", access.database}
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            cursor.execute(f"USE {neighbour.database}")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("innodb_flush_log_at_trx_commit", "1"),
        ("innodb_snapshot_isolation", "ON"),
        # The one exception: the usual default, so that a table without a collation of its own is found out.
        ("collation_server", "utf8mb4_general_ci"),
        ("lower_case_table_names", "0"),
    ],
)
def test_server_runs_with_what_production_runs_with(
    mariadb_server: MariaDbServer, variable: str, value: str
) -> None:
    with mariadb_server.connect_admin() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL VARIABLES LIKE %s", (variable,))
        assert cursor.fetchall() == ((variable, value),)


def test_server_dies_with_the_process_that_started_it_and_the_next_one_removes_what_it_left(
    mariadb_server: MariaDbServer,
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _RUN_A_SERVER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().decode().split()
        assert _is_alive(pid)
        os.kill(parent.pid, signal.SIGKILL)
        wait_until(lambda: not _is_alive(pid), "the server to be gone")
    assert Path(folder).is_dir()
    with run_mariadb(in_memory=True):
        assert not Path(folder).exists()
        assert mariadb_server.folder.is_dir(), "its server lives"


def _is_alive(pid: str) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to ask does not."""
    try:
        status = Path("/proc", pid, "stat").read_text()
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def test_new_database_is_migrated(instance_db: Database, platform_db: Database) -> None:
    for database, table in ((instance_db, "ledger_entry"), (platform_db, "customer")):
        assert {"op", "outbox_event", table} <= set(inspect(database.engine).get_table_names())


def test_new_database_holds_the_rows_that_migrations_wrote(instance_db: Database) -> None:
    with instance_db.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT last FROM outbox_sequence").fetchall()
    assert [tuple(row) for row in rows] == [(0,)]

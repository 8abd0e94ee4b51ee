"""What an instance's database user is refused on the real server; the server's own error numbers are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
import pytest
from sqlalchemy.engine import make_url

from app.core.ids import InstanceId
from app.core.outbox import last_sequence
from tests.integration.tenancy.database.fleet import Fleet, look, mark

pytestmark = pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)

# Source: MariaDB manual, "MariaDB Error Codes".
DATABASE_REFUSED, TABLE_REFUSED, RIGHT_MISSING, LOGIN_REFUSED = 1044, 1142, 1227, 1045
GRANT_REFUSED, ROUTINE_REFUSED = 1410, 1370


@contextmanager
def session_of(fleet: Fleet, instance_id: InstanceId) -> Iterator[Any]:
    url = make_url(fleet.databases.migration_url(instance_id))
    connection = pymysql.connect(
        host=url.host,
        port=url.port or 0,
        user=url.username,
        password=url.password or "",
        database=url.database,
        ssl_disabled=True,
        autocommit=True,
    )
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def refused_with(cursor: Any, statement: str) -> int:
    with pytest.raises(pymysql.err.MySQLError) as refused:
        cursor.execute(statement)
    return int(refused.value.args[0])


def name_of(fleet: Fleet, instance_id: InstanceId) -> str:
    return str(make_url(fleet.databases.migration_url(instance_id)).database)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM `{name}`.outbox_event",
        "INSERT INTO `{name}`.op (op_id, fingerprint, created_at_us) VALUES ('x', '', 0)",
        "UPDATE `{name}`.outbox_event SET data = '{{}}'",
        "DELETE FROM `{name}`.outbox_event",
        "CREATE TABLE `{name}`.mine (id INT)",
        "ALTER TABLE `{name}`.outbox_event ADD COLUMN mine INT",
        "DROP TABLE `{name}`.outbox_event",
        "CREATE TABLE stolen AS SELECT * FROM `{name}`.outbox_event",
        "RENAME TABLE outbox_event TO `{name}`.mine",
        "SHOW CREATE TABLE `{name}`.outbox_event",
        "LOCK TABLES `{name}`.outbox_event READ",
    ],
)
def test_tables_of_others_and_of_the_platform_are_refused(fleet: Fleet, statement: str) -> None:
    mine, other = fleet.made(), fleet.made()
    mark(fleet.databases.open(other))
    platform = str(fleet.platform.engine.url.database)
    with session_of(fleet, mine) as cursor:
        for name in (name_of(fleet, other), platform):
            found = refused_with(cursor, statement.format(name=name))
            assert found in (TABLE_REFUSED, DATABASE_REFUSED), found
    assert fleet.databases.open(other).read(last_sequence) == 1


def test_databases_of_others_are_refused_as_a_whole(fleet: Fleet) -> None:
    mine, other = fleet.made(), fleet.made()
    with session_of(fleet, mine) as cursor:
        for name in (name_of(fleet, other), str(fleet.platform.engine.url.database), "mysql"):
            assert refused_with(cursor, f"USE `{name}`") == DATABASE_REFUSED
            assert refused_with(cursor, f"DROP DATABASE `{name}`") == DATABASE_REFUSED
        # The pattern of the right is no pattern: `_` stands for itself.
        similar = name_of(fleet, mine).replace("_", "x")
        assert refused_with(cursor, f"CREATE DATABASE `{similar}`") == DATABASE_REFUSED


def test_accounts_and_rights_of_the_server_are_refused(fleet: Fleet) -> None:
    mine, other = fleet.made(), fleet.made()
    me, somebody = name_of(fleet, mine), name_of(fleet, other)
    with session_of(fleet, mine) as cursor:
        for table in ("user", "global_priv", "db"):
            assert refused_with(cursor, f"SELECT * FROM mysql.`{table}`") == TABLE_REFUSED
        assert refused_with(cursor, f"GRANT SELECT ON `{me}`.* TO `{somebody}`@`%`") in (
            DATABASE_REFUSED,
            GRANT_REFUSED,
        )
        for statement in (
            "CREATE USER mine",
            f"ALTER USER `{somebody}`@`%` IDENTIFIED BY 'x'",
            f"DROP USER `{somebody}`@`%`",
            "SET GLOBAL max_connections = 1",
            "FLUSH TABLES WITH READ LOCK",
            "SHUTDOWN",
        ):
            assert refused_with(cursor, statement) in (RIGHT_MISSING, TABLE_REFUSED, 1396), statement
        assert refused_with(cursor, "SELECT 1 INTO OUTFILE 'stolen'") in (LOGIN_REFUSED, RIGHT_MISSING)
        assert refused_with(cursor, "LOAD DATA INFILE 'x' INTO TABLE op") in (LOGIN_REFUSED, RIGHT_MISSING)
        assert refused_with(cursor, "CREATE FUNCTION f() RETURNS INT RETURN 1") == DATABASE_REFUSED


def test_nothing_shows_that_there_are_others(fleet: Fleet) -> None:
    mine, other = fleet.made(), fleet.made()
    mark(fleet.databases.open(other))
    me, somebody = name_of(fleet, mine), name_of(fleet, other)
    with session_of(fleet, other), session_of(fleet, mine) as cursor:
        assert look(cursor, "SHOW DATABASES") == [("information_schema",), (me,)]
        for statement in (
            "SELECT schema_name FROM information_schema.schemata",
            "SELECT DISTINCT table_schema FROM information_schema.tables",
            "SELECT DISTINCT table_schema FROM information_schema.columns",
            "SELECT DISTINCT table_schema FROM information_schema.statistics",
            "SELECT DISTINCT grantee FROM information_schema.schema_privileges",
            "SELECT DISTINCT grantee FROM information_schema.user_privileges",
            "SELECT user, db FROM information_schema.processlist",
            "SHOW PROCESSLIST",
            "SHOW GRANTS",
        ):
            assert somebody not in repr(look(cursor, statement)), statement


def test_his_rights_are_those_that_are_needed_and_no_more(fleet: Fleet) -> None:
    mine = fleet.made()
    me = name_of(fleet, mine)
    with session_of(fleet, mine) as cursor:
        granted = [row[0] for row in look(cursor, "SHOW GRANTS")]
    assert len(granted) == 2
    assert granted[0].startswith("GRANT USAGE ON *.*")
    assert "MAX_USER_CONNECTIONS 64" in granted[0]
    escaped = me.replace("_", "\\_")
    assert granted[1].endswith(f"ON `{escaped}`.* TO `{me}`@`%`")
    assert "GRANT OPTION" not in "".join(granted)


def test_password_of_another_lets_nobody_in(fleet: Fleet) -> None:
    mine, other = (make_url(fleet.databases.migration_url(fleet.made())) for _ in range(2))
    with pytest.raises(pymysql.err.OperationalError) as refused:
        pymysql.connect(
            host=other.host,
            port=other.port or 0,
            user=other.username,
            password=mine.password or "",
            ssl_disabled=True,
        )
    assert refused.value.args[0] == LOGIN_REFUSED

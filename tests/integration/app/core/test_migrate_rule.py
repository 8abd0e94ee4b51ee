"""Old code runs on the new schema: expand → backfill → contract, held for every revision since the first release."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.pool import NullPool

from app.core.chain import GENESIS, link_hash
from app.core.clock import SystemClock, to_us
from app.core.db import Database
from app.core.migrate import MIGRATIONS, Tree, current, head, migrate, sole_run, upgrade
from app.core.migrate_error import (
    MigrationInterrupted,
    MigrationRefused,
    MigrationRunning,
    NoSchema,
    SchemaConflict,
)
from app.core.migrate_lease import LEASE_TTL, Lease, kept, make_table
from app.core.outbox_chain import entry_of
from migrations.backfill import CHUNK
from tests.fake.clock import FakeClock
from tests.integration.app.core.conftest import HastyClock
from tests.integration.app.core.old_statement import INSTANCE_STATEMENTS, PLATFORM_STATEMENTS
from tests.service.database import EngineKind
from tests.service.mariadb import MariaDbServer
from tests.service.wait import wait_until

FIRST_RELEASE: Mapping[Tree, str] = {"instance": "0026", "platform": "0015"}
OLD_STATEMENTS: Mapping[Tree, tuple[str, ...]] = {
    "instance": INSTANCE_STATEMENTS,
    "platform": PLATFORM_STATEMENTS,
}
_DDL = re.compile(r"\s*(CREATE|ALTER|DROP|RENAME|TRUNCATE)\b", re.IGNORECASE)
_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)

tree_of = pytest.mark.parametrize("tree", ["instance", "platform"])


@pytest.fixture
def url(engine_kind: EngineKind, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database."""
    if engine_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'rule.sqlite3'}"
        return
    server: MariaDbServer = request.getfixturevalue("mariadb_server")
    server.drop_database("migrate_rule")
    yield server.create_database("migrate_rule").url
    server.drop_database("migrate_rule")


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@contextmanager
def _noting() -> Iterator[list[tuple[str, int]]]:
    """Every statement that any engine runs meanwhile, with how many rows it struck."""
    noted: list[tuple[str, int]] = []

    def note(_c: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not re.search(r"\b(schema_lease|alembic_version)\b", statement):
            noted.append((statement, cursor.rowcount))

    event.listen(Engine, "after_cursor_execute", note)
    try:
        yield noted
    finally:
        event.remove(Engine, "after_cursor_execute", note)


# What a revision may do to a schema that older code is working on.


@dataclass(frozen=True)
class _Schema:
    """A schema as a database has it: per table, its columns; and its unique keys."""

    columns: dict[str, dict[str, tuple[str, bool, bool]]]
    unique: dict[str, set[tuple[str, ...]]]
    without_key: list[str]


def _schema(url: str) -> _Schema:
    engine = create_engine(url, poolclass=NullPool)
    found = inspect(engine)
    tables = found.get_table_names()
    schema = _Schema(
        columns={
            table: {
                column["name"]: (str(column["type"]), bool(column["nullable"]), column["default"] is not None)
                for column in found.get_columns(table)
            }
            for table in tables
        },
        unique={
            table: {tuple(each["column_names"]) for each in found.get_unique_constraints(table)}
            | {tuple(map(str, each["column_names"])) for each in found.get_indexes(table) if each["unique"]}
            for table in tables
        },
        without_key=[table for table in tables if not found.get_pk_constraint(table)["constrained_columns"]],
    )
    engine.dispose()
    return schema


def _breaks_old_code(before: _Schema, after: _Schema) -> list[str]:
    found = [f"table {table} has no primary key" for table in after.without_key]
    for table, columns in before.columns.items():
        now = after.columns.get(table)
        if now is None:
            found.append(f"table {table} is gone")
            continue
        found += [f"column {table}.{name} is gone" for name in columns if name not in now]
        found += [
            f"column {table}.{name} changed its type"
            for name in columns & now.keys()
            if columns[name] != now[name]
        ]
        found += [
            f"column {table}.{name} must be given a value"
            for name in now.keys() - columns.keys()
            if not (now[name][1] or now[name][2])
        ]
        found += [f"{table} has a new unique key {key}" for key in after.unique[table] - before.unique[table]]
    return found


def _declared(tree: Tree, revision: str) -> dict[str, object]:
    [path] = (MIGRATIONS / tree / "versions").glob(f"{revision}_*.py")
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }


@tree_of
@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_no_revision_takes_away_what_older_code_uses(url: str, tree: Tree) -> None:
    upgrade(url, tree, to=FIRST_RELEASE[tree])
    before = _schema(url)
    for number in range(int(FIRST_RELEASE[tree]) + 1, int(head(tree)) + 1):
        revision = f"{number:04}"
        with _noting() as noted:
            upgrade(url, tree, to=revision)
        assert len([each for each, _ in noted if _DDL.match(each)]) <= 1, f"{revision}: one statement"
        after, declared = _schema(url), _declared(tree, revision)
        if declared.get("phase") == "contract":
            assert re.fullmatch(r"\d+\.\d+\.\d+", str(declared.get("unused_since"))), revision
        else:
            assert _breaks_old_code(before, after) == [], revision
        before = after


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DROP TABLE api_client", "table api_client is gone"),
        ("ALTER TABLE api_client DROP COLUMN scopes", "column api_client.scopes is gone"),
        ("ALTER TABLE api_client RENAME COLUMN scopes TO rights", "column api_client.scopes is gone"),
        ("ALTER TABLE op ADD COLUMN x INTEGER NOT NULL DEFAULT 1", None),
        ("ALTER TABLE op ADD COLUMN x INTEGER", None),
        ("CREATE UNIQUE INDEX u ON api_client (name)", "api_client has a new unique key ('name',)"),
        ("CREATE TABLE t (a INTEGER)", "table t has no primary key"),
    ],
)
def test_the_rule_finds_what_breaks_older_code(url: str, statement: str, complaint: str | None) -> None:
    upgrade(url, "instance", to=FIRST_RELEASE["instance"])
    before = _schema(url)
    with _connected(url) as connection:
        connection.exec_driver_sql(statement)
    assert _breaks_old_code(before, _schema(url))[:1] == ([complaint] if complaint else [])


@tree_of
def test_statements_of_the_release_before_run_on_the_newest_schema(url: str, tree: Tree) -> None:
    upgrade(url, tree)
    for statement in OLD_STATEMENTS[tree]:
        names = re.findall(r":(\w+)", statement)
        values = {name: 0 if name == "b_after" else 1 for name in names}
        with _connected(url) as connection:
            result = connection.execute(text(statement), values)
            if statement.startswith("INSERT"):
                assert result.rowcount == 1, statement


@tree_of
def test_old_code_works_on_while_its_schema_is_changed(url: str, tree: Tree) -> None:
    """Four threads write and read as the release before does it, from before the first revision to after the last."""
    upgrade(url, tree, to=FIRST_RELEASE[tree])
    insert = next(each for each in OLD_STATEMENTS[tree] if each.startswith("INSERT INTO outbox_event"))
    read = next(each for each in OLD_STATEMENTS[tree] if each.startswith("SELECT sequence"))
    database = Database(url)

    def work(number: int) -> int:
        written = 0
        while not done or written < 20:
            values = dict.fromkeys(re.findall(r":(\w+)", insert), number * 1000000 + written)
            with database.engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE" if database.dialect == "sqlite" else "BEGIN")
                assert connection.execute(text(insert), values).rowcount == 1
                connection.execute(text(read), {"b_after": 0, "b_limit": 10}).all()
                connection.exec_driver_sql("COMMIT")
            written += 1
        return written

    done: list[bool] = []
    with ThreadPoolExecutor(4) as threads:
        workers = [threads.submit(work, number) for number in range(1, 5)]
        try:
            upgrade(url, tree)
        finally:
            done.append(True)
        written = sum(worker.result() for worker in workers)
    with _connected(url) as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM outbox_event")).scalar() == written
    assert current(url) == head(tree)
    database.close()


# Backfills.


def _fill_clients(url: str, count: int) -> None:
    statement = next(each for each in INSTANCE_STATEMENTS if each.startswith("INSERT INTO api_client"))
    rows = [
        {
            "client_id": f"cli_{number:032x}",
            "name": f"client-{number}",
            "username": f"user-{number}",
            "secret_hash": f"hash-{number}",
            "scopes": "[]",
            "created_at_us": number,
            "disabled_at_us": None,
            "last_used_us": None,
        }
        for number in range(count)
    ]
    with _connected(url) as connection:
        connection.execute(text(statement), rows)


def _secrets(url: str) -> list[tuple[str, str, str, int, object]]:
    with _connected(url) as connection:
        rows = connection.execute(
            text(
                "SELECT secret_id, client_id, secret_hash, created_at_us, ends_at_us FROM client_secret"
                " ORDER BY created_at_us"
            )
        )
        return [tuple(row) for row in rows]


def _expected(count: int) -> list[tuple[str, str, str, int, object]]:
    return [(f"sec_{n:032x}", f"cli_{n:032x}", f"hash-{n}", n, None) for n in range(count)]


def test_secrets_of_older_clients_are_filled_in_a_few_at_a_time(url: str) -> None:
    assert CHUNK <= 500, "what a cluster carries in one transaction"
    count = 2 * CHUNK + 3
    upgrade(url, "instance", to=FIRST_RELEASE["instance"])
    _fill_clients(url, count)
    with _noting() as noted:
        upgrade(url, "instance")
    chunks = [rows for statement, rows in noted if _WRITES.match(statement) and "client_secret" in statement]
    assert chunks == [CHUNK, CHUNK, 3, 0]
    assert _secrets(url) == _expected(count)


def test_backfill_that_was_killed_goes_on_where_it_was(url: str) -> None:
    count = 3 * CHUNK
    upgrade(url, "instance", to=FIRST_RELEASE["instance"])
    _fill_clients(url, count)

    def kill_after_the_first_chunk() -> None:
        if current(url) == "0044" and _secrets(url):
            raise MigrationInterrupted("killed")

    with pytest.raises(MigrationInterrupted):
        migrate(url, "instance", between=kill_after_the_first_chunk)
    assert (current(url), len(_secrets(url))) == ("0044", CHUNK)
    upgrade(url, "instance")
    assert (current(url), _secrets(url)) == (head("instance"), _expected(count))


def test_secret_that_a_newer_wops_has_made_meanwhile_stays_the_only_one(url: str) -> None:
    upgrade(url, "instance", to="0044")
    _fill_clients(url, 2)
    with _connected(url) as connection:
        connection.execute(
            text(
                "INSERT INTO client_secret (secret_id, client_id, secret_hash, created_at_us)"
                f" VALUES ('sec_new', 'cli_{0:032x}', 'newer', 9)"
            )
        )
    upgrade(url, "instance")
    assert [row[0] for row in _secrets(url)] == [f"sec_{1:032x}", "sec_new"]


def test_old_events_are_chained_a_few_at_a_time(url: str) -> None:
    upgrade(url, "instance", to=FIRST_RELEASE["instance"])
    count = CHUNK + 7
    with _connected(url) as connection:
        insert = next(each for each in INSTANCE_STATEMENTS if each.startswith("INSERT INTO outbox_event"))
        connection.execute(
            text(insert),
            [dict.fromkeys(re.findall(r":(\w+)", insert), number) for number in range(1, count + 1)],
        )
        connection.execute(text(f"UPDATE outbox_sequence SET last = {count}"))
    upgrade(url, "instance")
    database = Database(url)
    assert (database.chain_up(), database.chain_up()) == (count, 0)
    previous = GENESIS
    with _connected(url) as connection:
        for row in connection.execute(text("SELECT * FROM outbox_event ORDER BY sequence")):
            previous = link_hash(previous, entry_of(row))
            assert row.hash == previous
    database.close()


# Many at once, and what is in the way.


def test_many_at_once_carry_out_every_revision_once(url: str) -> None:
    upgrade(url, "instance", to=FIRST_RELEASE["instance"])
    with _noting() as noted, ThreadPoolExecutor(6) as threads:
        done = list(threads.map(lambda _: migrate(url, "instance"), range(6)))
    assert {each.after for each in done} == {head("instance")}
    statements = [each for each, _ in noted if _DDL.match(each)]
    # All six may ask for the lease table, which is no revision and was left out of the notes.
    assert len(statements) == len(set(statements))


def test_different_databases_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / str(number)}.sqlite3" for number in range(8)]
    trees: list[Tree] = ["instance", "platform"] * 4
    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(migrate, urls, trees))
    assert [each.after for each in done] == [head(tree) for tree in trees]
    one, other = _schema(urls[0]), _schema(urls[1])
    assert all(_schema(url) == (one, other)[number % 2] for number, url in enumerate(urls))


def test_newer_schema_than_this_wops_knows_is_left_alone(url: str) -> None:
    upgrade(url, "instance")
    with _connected(url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = _schema(url)
    done = migrate(url, "instance")
    assert (done.before, done.after, done.changed) == ("9999", "9999", False)
    assert _schema(url) == before


def test_database_of_somebody_else_is_refused(url: str) -> None:
    with _connected(url) as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('ae1027a6acf')"))
    with pytest.raises(MigrationRefused, match="not ours"):
        migrate(url, "instance")


def test_table_of_somebody_else_is_named_and_not_taken_for_ours(url: str) -> None:
    upgrade(url, "instance", to=FIRST_RELEASE["instance"])
    with _connected(url) as connection:
        connection.execute(text("CREATE TABLE client_secret (id INTEGER PRIMARY KEY, x INTEGER)"))
        connection.execute(text("INSERT INTO client_secret VALUES (1, 2)"))
    with pytest.raises(SchemaConflict, match="client_secret"):
        migrate(url, "instance")
    assert current(url) == "0036"
    with _connected(url) as connection:
        assert connection.execute(text("SELECT * FROM client_secret")).all() == [(1, 2)]
        connection.execute(text("DROP TABLE client_secret"))
    assert migrate(url, "instance").after == head("instance")


def test_owner_of_a_lease_is_not_disturbed_until_it_has_run_out(url: str) -> None:
    upgrade(url, "instance", to=FIRST_RELEASE["instance"])
    engine = create_engine(url, poolclass=NullPool)
    make_table(engine)
    engine.dispose()
    with _connected(url) as connection:
        connection.execute(text("INSERT INTO schema_lease VALUES ('schema', 'somebody', 9000000000000000)"))
    with pytest.raises(MigrationRunning):
        migrate(url, "instance", clock=HastyClock())
    assert current(url) == FIRST_RELEASE["instance"]
    with _connected(url) as connection:
        connection.execute(text("UPDATE schema_lease SET until_us = 1"))
    assert migrate(url, "instance").after == head("instance")
    with _connected(url) as connection:
        assert connection.execute(text("SELECT * FROM schema_lease")).all() == []


def test_dead_run_is_waited_for_and_a_living_one_is_not(url: str) -> None:
    upgrade(url, "platform")
    clock = FakeClock()
    with (
        sole_run(url, clock=SystemClock()),
        pytest.raises(MigrationRunning),
        sole_run(url, clock=SystemClock()),
    ):
        pytest.fail("two runs at once")
    with _connected(url) as connection:
        soon = to_us(clock.now() + timedelta(seconds=10))
        connection.execute(text(f"INSERT INTO schema_lease VALUES ('instances', 'killed', {soon})"))
    waiting = HastyClock()
    with sole_run(url, clock=waiting) as lost:
        assert not lost.is_set()
    assert timedelta(seconds=10) < timedelta(seconds=sum(waiting.pauses)) < timedelta(seconds=11)


def test_run_that_was_frozen_for_too_long_hears_that_another_has_taken_over(url: str) -> None:
    upgrade(url, "platform")
    with sole_run(url, clock=SystemClock()) as lost:
        with _connected(url) as connection:
            connection.execute(text("UPDATE schema_lease SET holder = 'another'"))
        wait_until(lost.is_set, "the loss to be noticed")
    with _connected(url) as connection:
        assert connection.execute(text("SELECT holder FROM schema_lease")).all() == [("another",)]


def test_run_whose_database_is_silent_for_longer_than_the_lease_does_not_go_on(url: str) -> None:
    upgrade(url, "platform")
    clock = FakeClock()
    with sole_run(url, clock=clock) as lost:
        with _connected(url) as connection:
            connection.execute(text("DROP TABLE schema_lease"))
        assert not lost.is_set()
        clock.advance(LEASE_TTL)
        wait_until(lost.is_set, "the loss to be noticed")


class _DefectiveLease(Lease):
    def renew(self) -> None:
        raise RuntimeError("a defect")


def test_run_whose_keeper_fails_does_not_go_on(url: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    lease = _DefectiveLease(engine, "x", clock=SystemClock())
    lease.take_unless_alive()
    with kept(lease) as lost:
        wait_until(lost.is_set, "the failure to be noticed")


@pytest.mark.parametrize("tree", ["platform", "instance"])
def test_empty_database_gets_a_schema_only_where_it_may_be_empty(url: str, tree: Tree) -> None:
    with pytest.raises(NoSchema):
        migrate(url, tree, may_create=False)
    with _connected(url) as connection:
        assert inspect(connection).get_table_names() == []
    assert migrate(url, tree).before is None
    assert not migrate(url, tree, may_create=False).changed

"""Migrations: what they make is what the code knows, and each can be killed and run again."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import BigInteger, Engine, Integer, MetaData, String, Text, create_engine, inspect, select
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.pool import NullPool

import app.licensing.tables
import app.operations.audit.tables
import app.operations.probe.tables
import app.operations.reconcile.tables
import editions.tables
import tenancy.access.tables
import tenancy.front.tables
import tenancy.line.tables
import tenancy.operation.tables
import tenancy.rule.tables
import tenancy.staff.tables
import tenancy.tables
from app.core.migrate import MIGRATIONS, Tree, current, head, upgrade
from app.core.migrate_lease import LEASE_TABLE
from app.core.schema import instance_metadata, platform_metadata
from tests.service.database import EngineKind
from tests.service.mariadb import MariaDbServer

TREES: tuple[Tree, ...] = ("instance", "platform")
METADATA: dict[Tree, MetaData] = {"instance": instance_metadata, "platform": platform_metadata}
TABLE_MODULES = (
    app.licensing.tables,
    app.operations.audit.tables,
    app.operations.probe.tables,
    app.operations.reconcile.tables,
    editions.tables,
    tenancy.access.tables,
    tenancy.front.tables,
    tenancy.line.tables,
    tenancy.operation.tables,
    tenancy.rule.tables,
    tenancy.staff.tables,
    tenancy.tables,
)
"""Importing them is what fills the metadata."""

OWN_TABLES = {"alembic_version", LEASE_TABLE}
"""Of the migrations themselves, outside the trees."""

COLLATION = "utf8mb4_nopad_bin"
"""As SQLite compares: byte by byte, trailing spaces too."""

tree_of = pytest.mark.parametrize("tree", TREES)


def _files(tree: Tree) -> list[Path]:
    return sorted((MIGRATIONS / tree / "versions").glob("*.py"))


REVISIONS = [(tree, path) for tree in TREES for path in _files(tree)]
each_revision = pytest.mark.parametrize(
    ("tree", "path"), REVISIONS, ids=[f"{tree}-{path.stem}" for tree, path in REVISIONS]
)


@pytest.fixture
def new_url(
    engine_kind: EngineKind, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[[], str]]:
    """Makes empty databases."""
    made: list[str] = []

    def make() -> str:
        name = f"migrate_{len(made)}"
        made.append(name)
        if engine_kind == "sqlite":
            return f"sqlite:///{tmp_path / name}.sqlite3"
        server: MariaDbServer = request.getfixturevalue("mariadb_server")
        server.drop_database(name)
        return server.create_database(name).url

    yield make
    if engine_kind == "mariadb":
        for name in made:
            request.getfixturevalue("mariadb_server").drop_database(name)


def _engine(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


def _forget_to(url: str, revision: str | None) -> None:
    """As if the process had been killed after the statement of a revision, before its number was stored."""
    with _engine(url).begin() as connection:
        if revision is None:
            connection.exec_driver_sql("DELETE FROM alembic_version")
        else:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")


def _differences(url: str, tree: Tree) -> list[object]:
    with _engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": _differs})
        found: list[object] = list(compare_metadata(context, METADATA[tree]))
    return [each for each in found if not _is_about_leases(each)]


def _is_about_leases(difference: object) -> bool:
    return isinstance(difference, tuple) and getattr(difference[1], "name", None) == LEASE_TABLE


def _differs(
    _context: object, _inspected: object, _column: object, inspected_type: object, known_type: object
) -> bool | None:
    """MariaDB gives a TEXT that is too long for itself its longer name; None leaves all else to Alembic."""
    if isinstance(inspected_type, MEDIUMTEXT) and isinstance(known_type, Text):
        return not 2**16 <= (known_type.length or 0) < 2**24
    return None


def _sequence_rows(url: str) -> list[tuple[object, ...]]:
    with _engine(url).connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT name, last FROM outbox_sequence")]


@tree_of
def test_migrations_make_exactly_what_the_code_knows(new_url: Callable[[], str], tree: Tree) -> None:
    url = new_url()
    assert upgrade(url, tree) is True
    assert _differences(url, tree) == []
    assert current(url) == head(tree)
    assert upgrade(url, tree) is False


@tree_of
def test_every_revision_killed_before_its_number_was_stored_is_simply_run_again(
    new_url: Callable[[], str], tree: Tree
) -> None:
    url = new_url()
    before: str | None = None
    for path in _files(tree):
        revision = path.name[:4]
        upgrade(url, tree, to=revision)
        _forget_to(url, before)
        upgrade(url, tree, to=revision)
        assert current(url) == revision
        before = revision
    assert _differences(url, tree) == []
    assert _sequence_rows(url) == [("events", 0)]


@tree_of
def test_all_revisions_again_on_a_finished_database_change_nothing(
    new_url: Callable[[], str], tree: Tree
) -> None:
    url = new_url()
    upgrade(url, tree)
    with _engine(url).begin() as connection:
        connection.exec_driver_sql("UPDATE outbox_sequence SET last = 7")
    _forget_to(url, None)
    assert upgrade(url, tree) is True
    assert _differences(url, tree) == []
    assert _sequence_rows(url) == [("events", 7)]


@tree_of
def test_every_table_has_a_primary_key_in_the_database(new_url: Callable[[], str], tree: Tree) -> None:
    url = new_url()
    upgrade(url, tree)
    inspector = inspect(_engine(url))
    tables = inspector.get_table_names()
    assert set(tables) == {*METADATA[tree].tables, *OWN_TABLES}
    assert [table for table in tables if not inspector.get_pk_constraint(table)["constrained_columns"]] == []


@tree_of
def test_keys_that_differ_in_case_or_in_a_trailing_space_stay_apart(
    new_url: Callable[[], str], tree: Tree
) -> None:
    url = new_url()
    upgrade(url, tree)
    keys = ["SO-a1", "SO-A1", "SO-a1 ", "SO-ä1"]
    op = METADATA[tree].tables["op"]
    with _engine(url).begin() as connection:
        connection.execute(
            op.insert(), [{"op_id": key, "fingerprint": key, "created_at_us": 0} for key in keys]
        )
        for key in keys:
            assert connection.execute(select(op.c.fingerprint).where(op.c.op_id == key)).all() == [(key,)]


@tree_of
@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_no_text_is_compared_as_the_server_likes(new_url: Callable[[], str], tree: Tree) -> None:
    url = new_url()
    upgrade(url, tree)
    with _engine(url).connect() as connection:
        default = connection.exec_driver_sql("SELECT @@collation_server").scalar()
        rows = connection.exec_driver_sql(
            "SELECT table_name, column_name, collation_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND collation_name IS NOT NULL"
        ).all()
    assert default != COLLATION
    assert {row[0] for row in rows} == {*METADATA[tree].tables, *OWN_TABLES}
    assert [row for row in rows if row[0] != "alembic_version" and row[2] != COLLATION] == []


def test_trees_know_nothing_of_each_other(new_url: Callable[[], str]) -> None:
    for tree in TREES:
        url = new_url()
        upgrade(url, tree)
        assert set(inspect(_engine(url)).get_table_names()) == {*METADATA[tree].tables, *OWN_TABLES}


def test_database_that_was_never_migrated_is_at_no_revision(new_url: Callable[[], str]) -> None:
    assert current(new_url()) is None


# The files.


@tree_of
def test_files_are_numbered_from_one_without_a_gap(tree: Tree) -> None:
    names = [path.name for path in _files(tree)]
    assert [name[:5] for name in names] == [f"{number:04}_" for number in range(1, len(names) + 1)]
    assert [name for name in names if not re.fullmatch(r"\d{4}_[a-z0-9_]+\.py", name)] == []
    assert head(tree) == f"{len(names):04}"


@each_revision
def test_revision_follows_the_one_before(tree: Tree, path: Path) -> None:
    names = {
        node.targets[0].id: node.value
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    number = int(path.name[:4])
    assert ast.literal_eval(names["revision"]) == f"{number:04}"
    assert ast.literal_eval(names["down_revision"]) == (f"{number - 1:04}" if number > 1 else None)
    assert {name for name in names if not name.startswith("_")} <= {
        "revision",
        "down_revision",
        "phase",
        "unused_since",
    }


@each_revision
def test_revision_has_one_statement_that_can_be_repeated(tree: Tree, path: Path) -> None:
    module = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    assert "upgrade" in {function.name for function in functions}
    assert "downgrade" not in {function.name for function in functions}, "forward only"
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    changes = [node for node in calls if isinstance(node.func, ast.Attribute) and _is_op(node.func)]
    careful = [
        node
        for node in calls
        if isinstance(node.func, ast.Name) and node.func.id in {"add_column", "backfill"}
    ]
    if path.name == "0003_outbox_sequence_row.py":
        return  # Released with a statement of its own: an INSERT that finds its row.
    assert len(changes) + len(careful) == 1
    for change in changes:
        keywords = {keyword.arg: keyword.value for keyword in change.keywords}
        assert {"if_not_exists", "if_exists"} & keywords.keys()
        if cast(ast.Attribute, change.func).attr == "create_table":
            chosen = [ast.literal_eval(keywords[name]) for name in ("mysql_charset", "mysql_collate")]
            assert chosen == ["utf8mb4", COLLATION]


def _is_op(function: ast.Attribute) -> bool:
    return isinstance(function.value, ast.Name) and function.value.id == "op"


# The tables, as far as the kernel relies on them.


@tree_of
def test_columns_are_numbers_and_strings_without_conversions_or_defaults(tree: Tree) -> None:
    """Statements run on the bare cursor: SQLAlchemy would neither convert a value nor fill in a default of its own.

    A default of the database's is another matter: it is for older code that does not know the column.
    """
    odd = [
        str(column)
        for table in METADATA[tree].tables.values()
        for column in table.columns
        if type(column.type) not in (String, Integer, BigInteger, Text)
        or column.default is not None
        or column.onupdate is not None
    ]
    assert odd == []


@tree_of
def test_keys_and_indexed_texts_fit_an_index(tree: Tree) -> None:
    indexed = {
        column
        for table in METADATA[tree].tables.values()
        for column in (
            *table.primary_key.columns,
            *(column for index in table.indexes for column in index.columns),
            *(column for column in table.columns if column.unique),
        )
        if isinstance(column.type, String)
    }
    lengths = {str(column): getattr(column.type, "length", None) for column in indexed}
    assert {name: length for name, length in lengths.items() if length is None or length > 191} == {}


@tree_of
def test_times_are_64_bit(tree: Tree) -> None:
    times = [
        column
        for table in METADATA[tree].tables.values()
        for column in table.columns
        if column.name.endswith("_us")
    ]
    assert times
    assert [str(column) for column in times if type(column.type) is not BigInteger] == []


@tree_of
def test_generated_numbers_are_not_used(tree: Tree) -> None:
    """On a cluster they jump, and a number that the database makes cannot be part of a repeatable request."""
    generated = [
        str(table.autoincrement_column)
        for table in METADATA[tree].tables.values()
        if table.autoincrement_column is not None
    ]
    assert generated == []

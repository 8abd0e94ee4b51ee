"""Prepared statements do what SQLAlchemy itself would do: every statement of every repository, on both engines."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Select, String, Table, insert, select
from sqlalchemy.engine import Connection
from sqlalchemy.sql import ClauseElement, Delete, Insert, Update, visitors
from sqlalchemy.sql.elements import BinaryExpression, BindParameter
from sqlalchemy.sql.type_api import TypeEngine

from app.core.db import Database, Tx
from app.core.db_statement import SqlValue, StatementCache
from app.core.errors import DomainError
from app.core.json import JsonObject
from app.core.schema import instance_metadata, platform_metadata
from tests.architecture.source import iter_modules, module_name, relative
from tests.service.database import DatabaseMaker, EngineKind, Tree

REPOSITORIES = [
    module_name(relative(path))
    for path in iter_modules()
    if path.name in ("repository.py", "outbox.py", "outbox_chain.py") or relative(path) == "app/core/db.py"
]
ROWS = 3
METADATA: Mapping[Tree, MetaData] = {"instance": instance_metadata, "platform": platform_metadata}


def _statements() -> Iterator[tuple[str, ClauseElement]]:
    for name in REPOSITORIES:
        for label, value in vars(importlib.import_module(name)).items():
            if isinstance(value, (Select, Insert, Update, Delete)):
                yield f"{name}.{label}", value


STATEMENTS = list(_statements())
each_select = pytest.mark.parametrize(
    "statement",
    [each for _, each in STATEMENTS if isinstance(each, Select)],
    ids=[name for name, each in STATEMENTS if isinstance(each, Select)],
)
each_change = pytest.mark.parametrize(
    "statement",
    [each for _, each in STATEMENTS if not isinstance(each, Select)],
    ids=[name for name, each in STATEMENTS if not isinstance(each, Select)],
)


class RolledBack(DomainError):
    """Ends a transaction whose result has been looked at."""


def _value(kind: TypeEngine[Any], name: str, number: int) -> SqlValue:
    if isinstance(kind, String):
        return f"{name}{number}"[-(kind.length or 64) :]
    return number * 10


def _row(table: Table, number: int) -> dict[str, SqlValue]:
    return {column.name: _value(column.type, column.name, number) for column in table.columns}


def _tree(statement: ClauseElement) -> Tree:
    tables = {each for each in visitors.iterate(statement) if isinstance(each, Table)}
    if isinstance(statement, (Insert, Update, Delete)):
        tables.add(_target(statement))
    return "platform" if any(table.metadata is platform_metadata for table in tables) else "instance"


def _target(statement: Insert | Update | Delete) -> Table:
    assert isinstance(statement.table, Table)
    return statement.table


def _parameters(statement: ClauseElement) -> dict[str, SqlValue]:
    """Values for every name: those of the second row where a name is compared with a column."""
    if isinstance(statement, Insert) and not statement.compile().params.keys() - {
        c.key for c in _target(statement).c
    }:
        return _row(_target(statement), ROWS + 1)
    values: dict[str, SqlValue] = {}
    for element in visitors.iterate(statement):
        if isinstance(element, BindParameter) and element.required:
            values.setdefault(element.key, 2)
        if isinstance(element, BinaryExpression):
            values |= _compared(element.left, element.right) | _compared(element.right, element.left)
    for name, bind in statement.compile().binds.items():  # type: ignore[attr-defined]
        if bind.required:
            values.setdefault(name, 2 if isinstance(bind.type, Integer) else "x")
    return values


def _compared(column: Any, bind: Any) -> dict[str, SqlValue]:
    if isinstance(column, Column) and isinstance(bind, BindParameter) and bind.required:
        return {bind.key: _value(column.type, column.name, 2)}
    return {}


def _fill(connection: Connection, metadata: MetaData) -> None:
    for table in metadata.tables.values():
        if table.name != "outbox_sequence":
            connection.execute(insert(table), [_row(table, number) for number in range(1, ROWS + 1)])
    connection.commit()


@pytest.fixture(scope="module")
def open_filled(database_maker: DatabaseMaker) -> Iterator[Callable[[EngineKind, Tree], Database]]:
    """One database per engine and schema with three rows in every table; what tests change, they roll back."""
    opened: dict[tuple[EngineKind, Tree], tuple[str, Database]] = {}

    def find(kind: EngineKind, tree: Tree) -> Database:
        if (kind, tree) not in opened:
            url = database_maker.create(kind, tree)
            opened[kind, tree] = url, Database(url)
            with opened[kind, tree][1].engine.connect() as connection:
                _fill(connection, METADATA[tree])
        return opened[kind, tree][1]

    yield find
    for url, database in opened.values():
        database.close()
        database_maker.remove(url)


@pytest.fixture
def filled(
    statement: ClauseElement,
    engine_kind: EngineKind,
    open_filled: Callable[[EngineKind, Tree], Database],
) -> Database:
    return open_filled(engine_kind, _tree(statement))


def _content(engine: Connection, table: Table) -> list[tuple[object, ...]]:
    return sorted((tuple(row) for row in engine.execute(select(table))), key=repr)


@each_select
def test_query_gives_the_rows_and_names_that_sqlalchemy_gives(
    filled: Database, statement: Select[Any]
) -> None:
    parameters = _parameters(statement)
    ours = filled.read(lambda reader: reader.all(statement, parameters))
    with filled.engine.connect() as connection:
        result = connection.execute(statement, parameters)
        names = list(result.keys())
        theirs = [tuple(row) for row in result]
    assert sorted((tuple(row) for row in ours), key=repr) == sorted(theirs, key=repr)  # type: ignore[arg-type]
    assert all(list(row._fields) == names for row in ours)
    first = filled.read(lambda reader: reader.first(statement, parameters))
    assert (first is None) == (theirs == [])


@each_change
def test_change_matches_and_leaves_what_sqlalchemy_would(
    filled: Database, statement: Insert | Update | Delete
) -> None:
    table = _target(statement)
    parameters = _parameters(statement)
    with filled.engine.connect() as connection:
        # On SQLite, SQLAlchemy would commit each statement: the engine leaves transactions to run_tx.
        connection.exec_driver_sql("BEGIN")
        expected_count = connection.execute(statement, parameters).rowcount
        expected = _content(connection, table)
        connection.rollback()
    seen: list[object] = []

    def body(tx: Tx) -> JsonObject:
        seen.append(tx.write(statement, parameters))
        seen.append(sorted((tuple(row) for row in tx.all(select(table))), key=repr))  # type: ignore[arg-type]
        raise RolledBack("Looked at.")

    with pytest.raises(RolledBack):
        filled.run_tx("compare", body)
    if table.name == "op":
        seen[1] = [row for row in seen[1] if row[0] != "compare"]  # type: ignore[attr-defined]
    assert seen == [expected_count, expected]


@pytest.mark.parametrize("url", ["sqlite://", "mysql+pymysql://u:p@127.0.0.1/x"])
def test_every_statement_says_which_parameter_is_missing(url: str) -> None:
    cache = StatementCache(Database(url).engine.dialect)
    for _name, statement in STATEMENTS:
        prepared = cache.prepare(statement)
        parameters = _parameters(statement)
        assert len(prepared.arguments(parameters)) == len(prepared.names)
        for name in parameters.keys() & set(prepared.names):
            with pytest.raises(KeyError, match=name):
                prepared.arguments({key: value for key, value in parameters.items() if key != name})

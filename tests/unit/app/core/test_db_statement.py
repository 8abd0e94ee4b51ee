"""Preparing statements: constants, lists, names, and what cannot be prepared."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from app.core.db_statement import Parameters, SqlValue, StatementCache

t = Table("t", MetaData(), Column("a", String(9), primary_key=True), Column("n", Integer))
u = Table("u", t.metadata, Column("a", String(9), primary_key=True))


@pytest.fixture(params=["sqlite", "mariadb"])
def cache(request: pytest.FixtureRequest) -> StatementCache:
    dialect: Dialect
    if request.param == "sqlite":
        dialect = SQLiteDialect_pysqlite(paramstyle="qmark")
    else:
        dialect = MySQLDialect_pymysql(paramstyle="format")
    return StatementCache(dialect)


def same_on_both(text_: str) -> str:
    return " ".join(text_.replace("%s", "?").split())


@pytest.mark.parametrize(
    ("statement", "given", "sql", "arguments"),
    [
        (
            select(t.c.a).where(t.c.a.in_(["x", "y"]), t.c.n == bindparam("b_n")),
            {"b_n": 5},
            "SELECT t.a FROM t WHERE t.a IN (?, ?) AND t.n = ?",
            ("x", "y", 5),
        ),
        (
            select(t.c.a).where(t.c.n == bindparam("b_n"), t.c.a.not_in(("x",)), t.c.n.in_([1, 2])),
            {"b_n": 5},
            "SELECT t.a FROM t WHERE t.n = ? AND (t.a NOT IN (?)) AND t.n IN (?, ?)",
            (5, "x", 1, 2),
        ),
        (
            select(t.c.a).where(t.c.a.in_([bindparam("b_1"), bindparam("b_2")])),
            {"b_1": "x", "b_2": "y"},
            "SELECT t.a FROM t WHERE t.a IN (?, ?)",
            ("x", "y"),
        ),
        (
            select(t.c.a).where(or_(t.c.a == bindparam("b_a"), t.c.a > bindparam("b_a"))),
            {"b_a": "x"},
            "SELECT t.a FROM t WHERE t.a = ? OR t.a > ?",
            ("x", "x"),
        ),
        (
            select(t.c.a).where(tuple_(t.c.a, t.c.n) > tuple_(bindparam("b_a"), bindparam("b_n"))),
            {"b_a": "x", "b_n": 1},
            "SELECT t.a FROM t WHERE (t.a, t.n) > (?, ?)",
            ("x", 1),
        ),
        (
            update(t).where(t.c.a == bindparam("b_a"), t.c.n == 3).values(n=t.c.n + 1),
            {"b_a": "x"},
            "UPDATE t SET n=(t.n + ?) WHERE t.a = ? AND t.n = ?",
            (1, "x", 3),
        ),
        (
            update(t).where(t.c.a == bindparam("b_a")).values(n=None),
            {"b_a": "x"},
            "UPDATE t SET n=? WHERE t.a = ?",
            (None, "x"),
        ),
        (insert(t), {"a": "x", "n": 1}, "INSERT INTO t (a, n) VALUES (?, ?)", ("x", 1)),
        (
            insert(t).values(a=bindparam("b_a"), n=3),
            {"b_a": "x"},
            "INSERT INTO t (a, n) VALUES (?, ?)",
            ("x", 3),
        ),
        (delete(t).where(t.c.a == bindparam("b_a")), {"b_a": "x"}, "DELETE FROM t WHERE t.a = ?", ("x",)),
        (
            select(t.c.a).where(t.c.a == ":x %(y)s ? %s", t.c.a.is_(None)),
            {},
            "SELECT t.a FROM t WHERE t.a = ? AND t.a IS NULL",
            (":x %(y)s ? %s",),
        ),
        (select(literal("k").label("kind"), t.c.a), {}, "SELECT ? AS kind, t.a FROM t", ("k",)),
        (select(func.count().label("number")).select_from(t), {}, "SELECT count(*) AS number FROM t", ()),
    ],
)
def test_constants_and_given_values_stand_in_their_places(
    cache: StatementCache,
    statement: ClauseElement,
    given: Parameters,
    sql: str,
    arguments: tuple[SqlValue, ...],
) -> None:
    prepared = cache.prepare(statement)
    assert same_on_both(prepared.text) == sql
    assert prepared.arguments(given) == arguments


def test_surplus_values_do_no_harm_and_constants_cannot_be_replaced(cache: StatementCache) -> None:
    prepared = cache.prepare(select(t.c.a).where(t.c.n == 3, t.c.a == bindparam("b_a")))
    assert prepared.arguments({"b_a": "x", "n_1": 4, "other": 1}) == (3, "x")


@pytest.mark.parametrize(
    "statement",
    [
        insert(t),
        insert(t).values(a=bindparam("a"), n=3),
        select(t).where(t.c.n == 1, t.c.a == bindparam("a")),
    ],
)
def test_missing_parameter_is_named(cache: StatementCache, statement: ClauseElement) -> None:
    with pytest.raises(KeyError, match="'a'"):
        cache.prepare(statement).arguments({"n": 1})


def test_rows_have_the_names_of_the_columns(cache: StatementCache) -> None:
    statement = select(t.c.a, t.c.n.label("number"), func.max(u.c.a).label("most")).select_from(
        t.join(u, t.c.a == u.c.a)
    )
    row: Any = cache.prepare(statement).row._make(("x", 1, "y"))
    assert (row.a, row.number, row.most, row[1]) == ("x", 1, "y", 1)


@pytest.mark.parametrize("statement", [select(t.c.a, u.c.a), select(func.count()), select(t.c.n + 1)])
def test_columns_without_a_name_of_their_own_are_a_defect_that_shows(
    cache: StatementCache, statement: ClauseElement
) -> None:
    with pytest.raises(ValueError, match="field name"):
        cache.prepare(statement)


def test_list_of_the_callers_length_is_refused_and_never_matches_nothing(cache: StatementCache) -> None:
    with pytest.raises(TypeError, match="each place"):
        cache.prepare(select(t.c.a).where(t.c.a.in_(bindparam("b_list", expanding=True))))


def test_what_is_no_statement_is_refused(cache: StatementCache) -> None:
    with pytest.raises((TypeError, AttributeError)):
        cache.prepare(String(9))  # type: ignore[arg-type]


def test_percent_signs_in_the_text_are_kept() -> None:
    statement = select(t.c.a).where(text("a <> '%'"), t.c.n == bindparam("b_n"))
    mariadb = StatementCache(MySQLDialect_pymysql(paramstyle="format")).prepare(statement)
    assert (mariadb.text % mariadb.arguments({"b_n": 1})).endswith("a <> '%' AND t.n = 1")
    sqlite = StatementCache(SQLiteDialect_pysqlite(paramstyle="qmark")).prepare(statement)
    assert sqlite.text.endswith("a <> '%' AND t.n = ?")


def test_statement_is_prepared_once(cache: StatementCache) -> None:
    statement = select(t.c.a)
    assert cache.prepare(statement) is cache.prepare(statement)


def test_cache_holds_no_statement_that_nobody_holds(cache: StatementCache) -> None:
    kept = select(t.c.a)
    for number in range(100):
        cache.prepare(kept)
        cache.prepare(select(t.c.a).where(t.c.n == number))
    gc.collect()
    assert len(cache._prepared) == 1

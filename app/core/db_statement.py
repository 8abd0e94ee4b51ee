"""SQLAlchemy statements compiled once per dialect and run on the bare cursor.

Context: an activation is some twenty statements; SQLAlchemy's own execution costs several times what the
driver does per statement, which alone would miss the mark of half the bare driver's rate
(tests/bench/README.md). Decision: SQLAlchemy builds, compiles and pools; the compiled text runs on the DBAPI
cursor. Columns are strings and integers only, so no type processing is lost. Alternative: SQL strings by
hand, which lose the portability between SQLite and MariaDB.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Select
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import ValuesBase

SqlValue = None | int | float | str
Parameters = Mapping[str, SqlValue]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement in one dialect's text."""

    text: str
    names: tuple[str, ...]
    constants: Mapping[str, SqlValue]
    row: Any

    def arguments(self, parameters: Parameters) -> tuple[SqlValue, ...]:
        """Put named parameters in the order of the placeholders.

        Raises:
            KeyError: a parameter is missing.
        """
        constants = self.constants
        if not constants:
            return tuple([parameters[name] for name in self.names])
        return tuple([constants[name] if name in constants else parameters[name] for name in self.names])


class StatementCache:
    """Prepared statements of one dialect. Thread-safe: a race only compiles twice."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepared: WeakKeyDictionary[ClauseElement, Prepared] = WeakKeyDictionary()

    def prepare(self, statement: ClauseElement) -> Prepared:
        """Compile a statement, or return what was compiled before."""
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._prepared[statement] = _compile(statement, self._dialect)
        return prepared


_caches: dict[tuple[str, str], StatementCache] = {}


def statements_for(dialect: Dialect) -> StatementCache:
    """The statements of all engines that speak a dialect: a thousand databases do not prepare them a thousand times."""
    key = (dialect.name, dialect.paramstyle)
    found = _caches.get(key)
    return _caches.setdefault(key, StatementCache(dialect)) if found is None else found


def _compile(statement: ClauseElement, dialect: Dialect) -> Prepared:
    compiled = statement.compile(dialect=dialect)
    if not isinstance(compiled, SQLCompiler):
        raise TypeError("only SQL statements can be prepared")
    given = _names_the_caller_gives(statement, compiled)
    if any(compiled.binds[name].expanding for name in given if name in compiled.binds):
        # Prepared text has a fixed number of places; SQLAlchemy would make it one that matches nothing.
        raise TypeError("a list that the caller gives cannot be prepared: name one parameter for each place")
    # Lists of constants (`in_`) become one placeholder each; only this step wants a value for every other name.
    expanded = compiled.construct_expanded_state({name: None for name in compiled.binds if name in given})
    names = tuple(expanded.positiontup or ())
    constants = {
        name: value for name, value in expanded.parameters.items() if name in names and name not in given
    }
    return Prepared(text=expanded.statement, names=names, constants=constants, row=_row_type(statement))


def _row_type(statement: ClauseElement) -> Any:
    if not isinstance(statement, Select):
        return None
    return namedtuple("Row", [str(column.key) for column in statement.selected_columns])


def _names_the_caller_gives(statement: ClauseElement, compiled: SQLCompiler) -> frozenset[str]:
    """Bind names without a value of their own: explicit `bindparam`s, and the columns of a plain `insert(table)`."""
    given = {name for name, bind in compiled.binds.items() if bind.required}
    if isinstance(statement, ValuesBase) and not getattr(statement, "_values", None):
        given.update(column.key for column in statement.table.c)
    return frozenset(given)

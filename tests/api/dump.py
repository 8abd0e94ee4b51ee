"""What databases hold, and what differs between two moments."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

Rows = frozenset[tuple[Any, ...]]
Tables = Mapping[str, Rows]
Dump = Mapping[str, Tables]
"""Every row of every table, by the database's name."""

NOTED = ("access_failure",)
"""Who was refused, written down by the minute: kept out of comparisons, like the times of last use of secrets."""
_NONE: Rows = frozenset()


def dump(path: Path) -> dict[str, Rows]:
    """Every row of every table of an SQLite file, but for what lines note of callers by the minute."""
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: frozenset(_told(name, connection.execute(f"SELECT * FROM {name}").fetchall()))
            for name in names
            if name not in NOTED
        }


def compare(before: Dump, after: Dump, *, but: Collection[str] = ()) -> dict[tuple[str, str], Rows | None]:
    """The rows that are in one of the two only, by database and table, except of the tables named.

    A table that has come or gone without any row is told by None.
    """
    changed: dict[tuple[str, str], Rows | None] = {}
    for name in before.keys() | after.keys():
        old, new = before.get(name, {}), after.get(name, {})
        for table in (old.keys() | new.keys()) - set(but):
            if old.get(table) != new.get(table):
                changed[name, table] = (old.get(table, _NONE) ^ new.get(table, _NONE)) or None
    return changed


def _told(table: str, rows: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        if table in ("client_secret", "client_certificate"):
            # The last column says when it was used last.
            yield row[:-1]
        elif table != "op" or not str(row[0]).startswith("use_"):
            yield row

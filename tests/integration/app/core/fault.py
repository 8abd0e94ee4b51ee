"""Real connections that fail on demand: before a statement or COMMIT reaches the database, or after it was done."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pymysql
from sqlalchemy import Engine, event

Point = Literal["connect", "setup", "begin", "claim", "body", "outbox", "store", "commit"]
When = Literal["before", "after"]
Action = Callable[[], None]

_ALWAYS = 1_000_000


def raises(make: Callable[[], Exception]) -> Action:
    """An action that fails with a fresh error each time."""

    def act() -> None:
        raise make()

    return act


def mariadb_error(code: int) -> Callable[[], Exception]:
    """What PyMySQL raises for a code; 0 is its error for a session that is gone already."""
    if code == 0:
        return lambda: pymysql.err.InterfaceError(0, "")
    return lambda: pymysql.err.OperationalError(code, "injected")


def sqlite_error(code: int) -> Callable[[], Exception]:
    """What sqlite3 raises for a result code."""

    def make() -> Exception:
        error = sqlite3.OperationalError("injected")
        error.sqlite_errorcode = code
        return error

    return make


@dataclass(slots=True)
class _Planned:
    point: Point
    when: When
    action: Action
    times: int


class Faults:
    """Puts itself between an engine and its driver. Thread-safe.

    Attributes:
        opened: connections made so far.
        closed: connections closed so far by whoever used them.
    """

    def __init__(self, engine: Engine) -> None:
        self._lock = threading.Lock()
        self._plan: list[_Planned] = []
        self.opened = 0
        self.closed = 0
        event.listen(engine, "do_connect", self._connect)

    def at(self, point: Point, when: When, action: Action, *, times: int = 1) -> None:
        """Do something the next times that a point is reached."""
        with self._lock:
            self._plan.append(_Planned(point, when, action, times))

    def always(self, point: Point, when: When, action: Action) -> None:
        """Do something whenever a point is reached, until `clear`."""
        self.at(point, when, action, times=_ALWAYS)

    def clear(self) -> None:
        """Plan nothing any more."""
        with self._lock:
            self._plan.clear()

    def reach(self, point: Point, when: When) -> None:
        """Do what is planned here."""
        action = self._take(point, when)
        if action is not None:
            action()

    def count_closed(self) -> None:
        with self._lock:
            self.closed += 1

    def _take(self, point: Point, when: When) -> Action | None:
        with self._lock:
            for planned in self._plan:
                if (planned.point, planned.when) == (point, when) and planned.times > 0:
                    planned.times -= 1
                    return planned.action
        return None

    def _connect(self, dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        self.reach("connect", "before")
        with self._lock:
            self.opened += 1
        return _Connection(dialect.connect(*arguments, **options), self)


class _Connection:
    """A driver's connection. Everything that is not watched goes through."""

    def __init__(self, real: Any, faults: Faults) -> None:
        self._real = real
        self._faults = faults
        self._is_closed = False

    def cursor(self, *arguments: Any) -> _Cursor:
        return _Cursor(self._real.cursor(*arguments), self._faults)

    def commit(self) -> None:
        self._faults.reach("commit", "before")
        self._real.commit()
        self._faults.reach("commit", "after")

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._faults.count_closed()
        self._real.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Cursor:
    """A driver's cursor."""

    def __init__(self, real: Any, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def execute(self, text: str, *arguments: Any) -> Any:
        return self._watch(text, lambda: self._real.execute(text, *arguments))

    def executemany(self, text: str, *arguments: Any) -> Any:
        return self._watch(text, lambda: self._real.executemany(text, *arguments))

    def _watch(self, text: str, run: Callable[[], Any]) -> Any:
        point = _point_of(text)
        self._faults.reach(point, "before")
        answer = run()
        self._faults.reach(point, "after")
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


_BEGINNINGS: tuple[tuple[str, Point], ...] = (
    ("BEGIN", "begin"),
    ("INSERT INTO op ", "claim"),
    ("UPDATE op ", "store"),
    ("UPDATE outbox_", "outbox"),
    ("INSERT INTO outbox_", "outbox"),
    ("SELECT outbox_", "outbox"),
    ("UPDATE tally", "body"),
    ("SELECT tally", "body"),
    ("INSERT INTO tally", "body"),
)


def _point_of(text: str) -> Point:
    return next((point for beginning, point in _BEGINNINGS if text.startswith(beginning)), "setup")

"""Metering stays cheap: the number of statements of each call is fixed here, so that nobody adds one unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.core.db import Database, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from editions import QuotaState, count, count_call, release, reserve
from tests.integration.editions.material import MONTH, call, contract, effects, meter_for, put, serve

_KERNEL = 2
"""`run_tx` claims the operation id and stores the answer."""


class _Counting:
    """A driver cursor that counts what is executed."""

    def __init__(self, cursor: Any, texts: list[str]) -> None:
        self._cursor = cursor
        self._texts = texts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, text: str, *arguments: Any) -> Any:
        if not text.startswith("BEGIN"):
            self._texts.append(text)
        return self._cursor.execute(text, *arguments)

    def executemany(self, text: str, rows: Any) -> Any:
        self._texts.append(text)
        return self._cursor.executemany(text, rows)


class _Connection:
    """A driver connection whose cursors count."""

    def __init__(self, connection: Any, texts: list[str]) -> None:
        self._connection = connection
        self._texts = texts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def cursor(self) -> _Counting:
        return _Counting(self._connection.cursor(), self._texts)


@pytest.fixture
def statements(instance_db: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement the database is sent, without BEGIN and COMMIT."""
    put(instance_db, contract())
    texts: list[str] = []
    raw = instance_db.engine.raw_connection
    monkeypatch.setattr(instance_db.engine, "raw_connection", lambda: _Connection(raw(), texts))
    return texts


def _run(db: Database, body: Callable[[Tx], QuotaState]) -> None:
    def stored(tx: Tx) -> JsonObject:
        return body(tx).to_json()

    db.run_tx(new_id("op"), stored)


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("number", [1, 7])
def test_reserve_count_and_release_take_three_statements_each(
    instance_db: Database, statements: list[str], number: int
) -> None:
    first, second = effects(number), effects(number)
    _run(instance_db, lambda tx: reserve(tx, first, month=MONTH))
    assert len(statements) == _KERNEL + 3
    _run(instance_db, lambda tx: count(tx, first, month=MONTH))
    assert len(statements) == 2 * (_KERNEL + 3)
    _run(instance_db, lambda tx: reserve(tx, second, month=MONTH))
    _run(instance_db, lambda tx: release(tx, second, month=MONTH))
    assert len(statements) == 4 * (_KERNEL + 3)


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_written_call_takes_three_statements(instance_db: Database, statements: list[str]) -> None:
    one = call(instance_db.clock.now())
    _run(instance_db, lambda tx: count_call(tx, one))
    assert len(statements) == _KERNEL + 3


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_flush_takes_four_statements_and_two_more_to_fill_the_stock_up(
    instance_db: Database, statements: list[str]
) -> None:
    meter = meter_for(instance_db)
    serve(meter, instance_db, 5)
    statements.clear()
    meter.flush()
    assert len(statements) == _KERNEL + 4
    serve(meter, instance_db, 40)
    statements.clear()
    meter.flush()
    assert len(statements) == _KERNEL + 6


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_count_finds_its_reservations_by_key_however_long_the_month(
    instance_db: Database, statements: list[str]
) -> None:
    what = effects(3)
    _run(instance_db, lambda tx: reserve(tx, what, month=MONTH))
    _run(instance_db, lambda tx: count(tx, what, month=MONTH))
    text = next(each for each in statements if each.startswith("SELECT") and "ledger_entry" in each)
    with instance_db.engine.connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(f"EXPLAIN QUERY PLAN {text}", ("",) * text.count("?"))
        plan = " | ".join(str(row[3]) for row in cursor.fetchall())
    assert "ledger_entry USING INDEX sqlite_autoindex_ledger_entry_1 (effect_id=? AND step=?)" in plan

"""SQL of probes: their results, and the attempts to read what must not be readable."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final, cast

from sqlalchemy import and_, bindparam, delete, insert, or_, select
from sqlalchemy.exc import DBAPIError

from app.core.clock import from_us, to_us
from app.core.db import Database, Reader, Row, Tx
from app.core.db_statement import SqlValue
from app.core.json import dump_json, load_json
from app.core.schema import instance_metadata
from app.operations.probe.isolation import Check, ProbeResult
from app.operations.probe.tables import probe_result

_ADD = insert(probe_result)
_LAST = (
    select(probe_result)
    .where(probe_result.c.probe == bindparam("b_probe"))
    .order_by(probe_result.c.started_at_us.desc())
    .limit(bindparam("b_limit"))
)
_AT = select(probe_result).where(
    probe_result.c.probe == bindparam("b_probe"), probe_result.c.started_at_us == bindparam("b_at")
)
_FORGET = delete(probe_result).where(
    probe_result.c.probe == bindparam("b_probe"),
    or_(
        probe_result.c.started_at_us < bindparam("b_before"),
        and_(probe_result.c.started_at_us < bindparam("b_held_before"), probe_result.c.held == 1),
    ),
)
_event = instance_metadata.tables["outbox_event"]
_NEWEST_EVENT = select(_event.c.event_id).order_by(_event.c.sequence.desc()).limit(1)
_FIND_EVENT = select(_event.c.sequence).where(_event.c.event_id == bindparam("b_event"))
_op = instance_metadata.tables["op"]
_NEWEST_OPERATION = select(_op.c.op_id, _op.c.created_at_us).order_by(_op.c.created_at_us.desc()).limit(1)
# Two customers may take the same idempotency key, but not in the same microsecond.
_FIND_OPERATION = select(_op.c.op_id).where(
    _op.c.op_id == bindparam("b_op"), _op.c.created_at_us == bindparam("b_created")
)

_REFUSED: Final = frozenset({1044, 1045, 1142, 1143, 1227, 1698})
"""Access denied to a database, a server, a table, a column; a missing privilege. **Source:** MariaDB error codes."""
_NO_SUCH_TABLE: Final = 1146
"""Told to those only who may look: everybody else is refused, whether it is there or not. **Source:** as above; a test
asks a server."""


def add_result(tx: Tx, result: ProbeResult) -> None:
    """Store a round."""
    tx.write(
        _ADD,
        {
            "probe": result.probe,
            "started_at_us": to_us(result.started_at),
            "finished_at_us": to_us(result.finished_at),
            "held": int(result.held),
            "checks": dump_json([each.to_json() for each in result.checks]),
        },
    )


def list_results(reader: Reader, probe: str, *, limit: int) -> list[ProbeResult]:
    """The last rounds of a probe, newest first."""
    return [_to_result(row) for row in reader.all(_LAST, {"b_probe": probe, "b_limit": limit})]


def find_result(reader: Reader, probe: str, *, started_at_us: int) -> ProbeResult | None:
    """The round that began at that instant."""
    row = reader.first(_AT, {"b_probe": probe, "b_at": started_at_us})
    return None if row is None else _to_result(row)


def forget_results(tx: Tx, probe: str, *, before: datetime, held_before: datetime) -> int:
    """Delete old rounds, those that held earlier than the others; returns how many."""
    old: dict[str, SqlValue] = {"b_before": to_us(before), "b_held_before": to_us(held_before)}
    return tx.write(_FORGET, {"b_probe": probe, **old})


def newest_event(reader: Reader) -> str | None:
    """An id that exists in this database."""
    found = reader.scalar(_NEWEST_EVENT)
    return None if found is None else str(found)


def has_event(reader: Reader, event_id: str) -> bool:
    """Whether an id exists in this database."""
    return reader.first(_FIND_EVENT, {"b_event": event_id}) is not None


def newest_operation(reader: Reader) -> tuple[str, int] | None:
    """The operation that this database carried out last: its id and when (µs); none if all are forgotten."""
    row = reader.first(_NEWEST_OPERATION)
    return None if row is None else (str(row.op_id), int(row.created_at_us))


def has_operation(reader: Reader, operation: tuple[str, int]) -> bool:
    """Whether an operation was carried out in this database: the same one, not another of the same key."""
    return reader.first(_FIND_OPERATION, {"b_op": operation[0], "b_created": operation[1]}) is not None


def file_of(db: Database) -> Path:
    """The file that an SQLite database really has open; its URL may say so in many ways.

    **Source:** sqlite.org/pragma.html, "PRAGMA database_list".
    """
    with db.engine.connect() as connection:
        rows = connection.exec_driver_sql("PRAGMA database_list").fetchall()
    return next(Path(row[2]) for row in rows if row[1] == "main")


def try_to_read(db: Database, table: str) -> str:
    """Try to read a table as the database's own user; returns `refused`, `read`, or `absent`: he may look for it.

    Args:
        table: qualified and quoted; from ids of ours, never from what somebody typed.

    Raises:
        DBAPIError: something else than a refusal came of it.
    """
    try:
        with db.engine.connect() as connection:
            # Not a statement of the application: whatever privileges the user has, this must fail.
            connection.exec_driver_sql(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - see `table`
    except DBAPIError as error:
        number = error.orig.args[0] if error.orig is not None and error.orig.args else None
        if number in _REFUSED:
            return "refused"
        if number == _NO_SUCH_TABLE:
            return "absent"
        raise
    return "read"


def _to_result(row: Row) -> ProbeResult:
    checks = cast(list[dict[str, str]], load_json(row.checks))
    return ProbeResult(
        probe=row.probe,
        started_at=from_us(row.started_at_us),
        finished_at=from_us(row.finished_at_us),
        checks=tuple(Check(**each) for each in checks),  # type: ignore[arg-type]
    )

"""SQL of lines: platform schema."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import cast

from sqlalchemy import bindparam, delete, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.ids import InstanceId, LineId
from tenancy.line import tables
from tenancy.line.record import LinePhase, LineRecord, LineUser

_line = tables.line
_set = tables.line_set

_HOLD = update(_set).where(_set.c.instance_id == bindparam("b_instance")).values(version=_set.c.version + 1)
_ADD_SET = insert(_set)
_ADD = insert(_line)
_PUT = (
    update(_line)
    .where(
        _line.c.instance_id == bindparam("b_instance"),
        _line.c.number == bindparam("b_number"),
        _line.c.version == bindparam("b_expected"),
    )
    .values(
        weight=bindparam("b_weight"),
        phase=bindparam("b_phase"),
        out_by=bindparam("b_out_by"),
        out_reason=bindparam("b_out_reason"),
        out_since_us=bindparam("b_out_since"),
        contract_id=bindparam("b_contract"),
        ends_at_us=bindparam("b_ends_at"),
        version=_line.c.version + 1,
    )
)
_REMOVE = delete(_line).where(
    _line.c.instance_id == bindparam("b_instance"), _line.c.number == bindparam("b_number")
)
_LINES = select(_line).where(_line.c.instance_id == bindparam("b_instance"))
_LINE = select(_line).where(_line.c.line_id == bindparam("b_line"))
_BY_CONTRACT = select(_line).where(
    _line.c.instance_id == bindparam("b_instance"), _line.c.contract_id == bindparam("b_contract")
)
_ALL = select(_line)
_ENDED = select(_line).where(_line.c.phase == "active", _line.c.ends_at_us.is_not(None))


def hold_lines(tx: Tx, instance_id: InstanceId) -> None:
    """Guard the lines of an instance: first in every transaction that changes one of them."""
    if tx.write(_HOLD, {"b_instance": instance_id}) == 1:
        return
    if not tx.insert_if_absent(_ADD_SET, {"instance_id": instance_id, "version": 1}):
        tx.write(_HOLD, {"b_instance": instance_id})


def list_lines(reader: Reader, instance_id: InstanceId) -> dict[int, LineRecord]:
    """What is stored about lines of an instance, by number."""
    rows = reader.all(_LINES, {"b_instance": instance_id})
    return {row.number: _to_line(row) for row in rows}


def list_all_lines(reader: Reader) -> dict[InstanceId, dict[int, LineRecord]]:
    """What is stored about lines, by instance and number."""
    found: dict[InstanceId, dict[int, LineRecord]] = defaultdict(dict)
    for row in reader.all(_ALL):
        found[InstanceId(row.instance_id)][row.number] = _to_line(row)
    return found


def list_active_temporary(reader: Reader) -> list[LineRecord]:
    """Temporary lines in the front, in no order."""
    return [_to_line(row) for row in reader.all(_ENDED)]


def find_line(reader: Reader, line_id: LineId) -> LineRecord | None:
    """What is stored about a line."""
    row = reader.first(_LINE, {"b_line": line_id})
    return None if row is None else _to_line(row)


def find_by_contract(reader: Reader, instance_id: InstanceId, contract_id: str) -> LineRecord | None:
    """The temporary line that a contract row stands for."""
    row = reader.first(_BY_CONTRACT, {"b_instance": instance_id, "b_contract": contract_id})
    return None if row is None else _to_line(row)


def add_line(tx: Tx, line: LineRecord) -> bool:
    """Store a line, or what is said of one for the first time. False if something is stored."""
    return tx.insert_if_absent(
        _ADD,
        {
            "line_id": line.line_id,
            "instance_id": line.instance_id,
            "number": line.number,
            "weight": line.weight,
            "phase": line.phase,
            "out_by": line.out_by,
            "out_reason": line.out_reason,
            "out_since_us": _us(line.out_since),
            "contract_id": line.contract_id,
            "starts_at_us": _us(line.starts_at),
            "ends_at_us": _us(line.ends_at),
            "server_id": line.server_id,
            "version": line.version,
            "created_at_us": to_us(tx.now),
        },
    )


def put_line(tx: Tx, line: LineRecord) -> bool:
    """Store a changed line that still has the version it was read with. False if somebody else was faster."""
    parameters: Parameters = {
        "b_instance": line.instance_id,
        "b_number": line.number,
        "b_expected": line.version,
        "b_weight": line.weight,
        "b_phase": line.phase,
        "b_out_by": line.out_by,
        "b_out_reason": line.out_reason,
        "b_out_since": _us(line.out_since),
        "b_contract": line.contract_id,
        "b_ends_at": _us(line.ends_at),
    }
    return tx.write(_PUT, parameters) == 1


def remove_line(tx: Tx, line: LineRecord) -> bool:
    """Forget a temporary line. False if it is forgotten."""
    return tx.write(_REMOVE, {"b_instance": line.instance_id, "b_number": line.number}) == 1


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


def _time(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


def _to_line(row: Row) -> LineRecord:
    return LineRecord(
        line_id=LineId(row.line_id),
        instance_id=InstanceId(row.instance_id),
        number=row.number,
        weight=row.weight,
        phase=cast(LinePhase, row.phase),
        out_by=cast("LineUser | None", row.out_by),
        out_reason=row.out_reason,
        out_since=_time(row.out_since_us),
        contract_id=row.contract_id,
        starts_at=_time(row.starts_at_us),
        ends_at=_time(row.ends_at_us),
        server_id=row.server_id,
        version=row.version,
    )

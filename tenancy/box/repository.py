"""SQL of boxes: platform schema."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from sqlalchemy import bindparam, delete, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import SqlValue
from app.core.ids import InstanceId
from app.core.json import dump_json, load_object
from fsb_gateway.box_driver import BoxSpec, DriverName, Faults, TransactionModel
from fsb_gateway.error import BoxUnknown
from tenancy.box import tables
from tenancy.box.record import BoxRecord, BoxState, BoxUser, KeyHome
from tenancy.box.spec_json import describe_faults, describe_token, read_faults, read_token
from tenancy.box.watch import WORKING, Seen
from tenancy.tables import instance as _instance

_box = tables.box
_condition = tables.box_condition

_ADD = insert(_box)
_BOX = select(_box).where(_box.c.name == bindparam("b_name"))
_BOXES = select(_box).order_by(_box.c.name)
_PUT = (
    update(_box)
    .where(_box.c.name == bindparam("b_name"), _box.c.version == bindparam("b_expected"))
    .values(
        operation_time_ms=bindparam("b_operation_time_ms"),
        jitter_per_mille=bindparam("b_jitter_per_mille"),
        faults=bindparam("b_faults"),
        token=bindparam("b_token"),
        drained=bindparam("b_drained"),
        drained_by=bindparam("b_drained_by"),
        lent_to=bindparam("b_lent_to"),
        lent_until_us=bindparam("b_lent_until_us"),
        transactions=bindparam("b_transactions"),
        transactions_loaded=bindparam("b_transactions_loaded"),
        state=bindparam("b_state"),
        version=_box.c.version + 1,
    )
)
_REMOVE = delete(_box).where(_box.c.name == bindparam("b_name"))
_LOANS_OVER = (
    select(_box.c.name)
    .where(_box.c.lent_to.is_not(None), _box.c.lent_until_us <= bindparam("b_now"), _box.c.state == "active")
    .order_by(_box.c.name)
)
# An instance has its key from its order on; what never came into being has no row any more.
_HOMES = (
    select(_instance.c.instance_id, _instance.c.firm_code, _instance.c.pool)
    .where(_instance.c.state != "erased")
    .order_by(_instance.c.firm_code)
)
_CONDITIONS = select(_condition)
_ADD_CONDITION = insert(_condition)
_PUT_CONDITION = (
    update(_condition)
    .where(_condition.c.subject == bindparam("b_subject"), _condition.c.version == bindparam("b_expected"))
    .values(
        state=bindparam("b_state"),
        transactions_low=bindparam("b_transactions_low"),
        since_us=bindparam("b_since_us"),
        version=_condition.c.version + 1,
    )
)
_TOUCH_CONDITION = (
    update(_condition)
    .where(_condition.c.subject == bindparam("b_subject"))
    .values(version=_condition.c.version + 1)
)
_REMOVE_CONDITION = delete(_condition).where(_condition.c.subject == bindparam("b_subject"))


def add_box(tx: Tx, spec: BoxSpec, *, state: BoxState = "active") -> bool:
    """Store that a box is to be there. False if one of that name is known."""
    return tx.insert_if_absent(
        _ADD,
        {
            "name": spec.name,
            "pool": spec.pool,
            "driver": spec.driver,
            "created_at_us": to_us(tx.now),
            "owner": spec.owner,
            "version": 1,
            "drained_by": None,
            **_changing(spec, state),
        },
    )


def find_box(reader: Reader, name: str) -> BoxRecord | None:
    """The box of that name."""
    row = reader.first(_BOX, {"b_name": name})
    return None if row is None else _to_record(row)


def get_box(reader: Reader, name: str) -> BoxRecord:
    """Read one box.

    Raises:
        BoxUnknown: there is none of that name.
    """
    found = find_box(reader, name)
    if found is None:
        raise BoxUnknown("there is no such box", box=name[:64])
    return found


def list_boxes(reader: Reader) -> list[BoxRecord]:
    """All boxes, by name; a platform has some hundreds at most."""
    return [_to_record(row) for row in reader.all(_BOXES)]


def put_box(tx: Tx, record: BoxRecord) -> bool:
    """Store a changed box that still has the version it was read with. False if somebody else was faster."""
    values = {f"b_{name}": value for name, value in _changing(record.spec, record.state).items()}
    values["b_drained_by"] = record.drained_by
    return tx.write(_PUT, {"b_name": record.name, "b_expected": record.version, **values}) == 1


def touch_pool(tx: Tx, pool: str) -> None:
    """Write the row of a pool, so that nobody takes another box away from it at the same time without seeing this.

    A lock alone would do on one server; between the nodes of a cluster only what is written counts.
    """
    named: dict[str, SqlValue] = {"b_subject": f"pool:{pool}"}
    if tx.write(_TOUCH_CONDITION, named) != 1:
        seen = Seen(subject=f"pool:{pool}", state=WORKING, transactions_low=False, since=tx.now, version=0)
        if not put_condition(tx, seen):
            tx.write(_TOUCH_CONDITION, named)


def remove_box(tx: Tx, name: str) -> bool:
    """Forget a box and how it was seen. False if it was not known."""
    for subject in (f"box:{name}", f"keys:{name}"):
        tx.write(_REMOVE_CONDITION, {"b_subject": subject})
    return tx.write(_REMOVE, {"b_name": name}) == 1


def list_loans_over(reader: Reader) -> list[str]:
    """Names of boxes whose loan has ended, and which may still hold the borrower's keys."""
    return [row.name for row in reader.all(_LOANS_OVER, {"b_now": to_us(reader.now)})]


def list_key_homes(reader: Reader) -> list[KeyHome]:
    """Where each instance's firm key belongs, by firm code."""
    return [
        KeyHome(instance_id=InstanceId(row.instance_id), firm_code=row.firm_code, pool=row.pool)
        for row in reader.all(_HOMES)
    ]


def list_conditions(reader: Reader) -> dict[str, Seen]:
    """How boxes and pools were seen last, by subject."""
    return {
        row.subject: Seen(
            subject=row.subject,
            state=row.state,
            transactions_low=bool(row.transactions_low),
            since=from_us(row.since_us),
            version=row.version,
        )
        for row in reader.all(_CONDITIONS)
    }


def put_condition(tx: Tx, seen: Seen) -> bool:
    """Store how something is seen now. False if somebody else has stored something since it was read."""
    values: dict[str, SqlValue] = {
        "state": seen.state,
        "transactions_low": int(seen.transactions_low),
        "since_us": to_us(seen.since),
    }
    if seen.version == 0:
        return tx.insert_if_absent(_ADD_CONDITION, {"subject": seen.subject, "version": 1, **values})
    named = {f"b_{name}": value for name, value in values.items()}
    return tx.write(_PUT_CONDITION, {"b_subject": seen.subject, "b_expected": seen.version, **named}) == 1


def _changing(spec: BoxSpec, state: BoxState) -> dict[str, SqlValue]:
    return {
        "operation_time_ms": round(spec.operation_time.total_seconds() * 1000),
        "jitter_per_mille": round(spec.jitter * 1000),
        "faults": dump_json(describe_faults(spec.faults)) if spec.faults.total else None,
        "token": None if spec.token is None else dump_json(describe_token(spec.token)),
        "drained": int(spec.drained),
        "lent_to": spec.lent_to,
        "lent_until_us": None if spec.lent_until is None else to_us(spec.lent_until),
        "transactions": spec.transactions,
        "transactions_loaded": spec.transactions_loaded,
        "state": state,
    }


def _to_record(row: Row) -> BoxRecord:
    spec = BoxSpec(
        name=row.name,
        pool=row.pool,
        owner=row.owner,
        driver=cast(DriverName, row.driver),
        operation_time=timedelta(milliseconds=row.operation_time_ms),
        jitter=row.jitter_per_mille / 1000,
        faults=Faults() if row.faults is None else read_faults(load_object(row.faults)),
        token=None if row.token is None else read_token(load_object(row.token)),
        drained=bool(row.drained),
        lent_to=row.lent_to,
        lent_until=None if row.lent_until_us is None else from_us(row.lent_until_us),
        transactions=cast(TransactionModel, row.transactions),
        transactions_loaded=row.transactions_loaded,
    )
    return BoxRecord(
        spec=spec,
        state=cast(BoxState, row.state),
        version=row.version,
        created_at=from_us(row.created_at_us),
        drained_by=cast("BoxUser | None", row.drained_by),
    )

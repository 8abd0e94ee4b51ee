"""SQL of transfers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import cast

from sqlalchemy import bindparam, insert, or_, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import SqlValue
from app.core.ids import LicenseId, TransferId
from app.core.json import JsonObject, dump_json, load_json, load_object
from app.licensing import tables
from app.licensing.errors import TransferNotFound
from app.licensing.license.license import LicenseAction
from app.licensing.transfer.transfer_plan import Transfer, TransferAction, TransferState

_t = tables.transfer
_action = tables.transfer_action
_OVERVIEW = [column for column in _t.c if column.name not in ("job", "operations")]
_INSERT = insert(_t)
_INSERT_ACTION = insert(_action)
_BY_ID = select(*_OVERVIEW).where(_t.c.transfer_id == bindparam("b_id"))
_BY_NATURAL_KEY = select(_t.c.transfer_id).where(_t.c.natural_key == bindparam("b_key"))
_ACTIONS = select(_action).where(_action.c.transfer_id == bindparam("b_id")).order_by(_action.c.license_id)
_UNFINISHED = (
    select(_t.c.transfer_id, _t.c.natural_key, _t.c.state, _t.c.fuc, _t.c.operations)
    .where(
        _t.c.container == bindparam("b_container"),
        _t.c.fuc > bindparam("b_fuc"),
        or_(_t.c.state == str(TransferState.RESERVED), _t.c.state == str(TransferState.ISSUED)),
    )
    .order_by(_t.c.fuc)
)
_JOB = select(_t.c.job).where(_t.c.transfer_id == bindparam("b_id"))
_DUE = (
    select(_t.c.transfer_id, _t.c.deadline_at_us)
    .where(_t.c.state == str(TransferState.RESERVED), _t.c.retry_at_us <= bindparam("b_now"))
    .order_by(_t.c.retry_at_us)
    .limit(bindparam("b_limit"))
)
_RESERVED = (
    select(_t.c.transfer_id, _t.c.created_at_us)
    .where(_t.c.state == str(TransferState.RESERVED))
    .order_by(_t.c.transfer_id)
)
_ANY_RESERVED = select(_t.c.transfer_id).where(_t.c.state == str(TransferState.RESERVED)).limit(1)
_PUT_OFF = (
    update(_t)
    .where(
        _t.c.transfer_id == bindparam("b_id"),
        _t.c.state == str(TransferState.RESERVED),
        _t.c.retry_at_us <= bindparam("b_now"),
    )
    .values(retry_at_us=bindparam("b_next"))
)
_LET_GO = (
    update(_t)
    .where(_t.c.transfer_id == bindparam("b_id"), _t.c.state == str(TransferState.RESERVED))
    .values(retry_at_us=bindparam("b_next"))
)
_ISSUE = (
    update(_t)
    .where(_t.c.transfer_id == bindparam("b_id"), _t.c.state == str(TransferState.RESERVED))
    .values(
        state=str(TransferState.ISSUED),
        open_container=None,
        update_text=bindparam("b_update"),
        issued_at_us=bindparam("b_now"),
    )
)
_ROLL_BACK = (
    update(_t)
    .where(_t.c.transfer_id == bindparam("b_id"), _t.c.state == str(TransferState.RESERVED))
    .values(
        state=str(TransferState.ROLLED_BACK),
        open_container=None,
        natural_key=None,
        reason=bindparam("b_reason"),
    )
)
_CONFIRM = (
    update(_t)
    .where(
        _t.c.container == bindparam("b_container"),
        _t.c.state == str(TransferState.ISSUED),
        _t.c.fuc <= bindparam("b_fuc"),
    )
    .values(state=str(TransferState.CONFIRMED), confirmed_at_us=bindparam("b_now"))
)
_UNCONFIRM = (
    update(_t)
    .where(
        _t.c.container == bindparam("b_container"),
        _t.c.state == str(TransferState.CONFIRMED),
        _t.c.fuc > bindparam("b_fuc"),
    )
    .values(state=str(TransferState.ISSUED), confirmed_at_us=None)
)
_OPEN_OF_CONTAINER = select(_t.c.transfer_id).where(_t.c.open_container == bindparam("b_container"))
_OP_ID = select(_t.c.op_id).where(_t.c.transfer_id == bindparam("b_id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedTransfer:
    """A transfer that its container has not proven yet."""

    transfer_id: TransferId
    natural_key: str | None
    state: TransferState
    fuc: int
    operations: Sequence[JsonObject]


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTransfer:
    """A reserved transfer that nobody drives any more."""

    transfer_id: TransferId
    deadline_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedTransfer:
    """A transfer in the making."""

    transfer_id: TransferId
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTransfer:
    """A transfer about to be reserved."""

    transfer_id: TransferId
    natural_key: str
    container: str
    ticket: str | None
    action: TransferAction
    base_fuc: int
    fuc: int
    operations: Sequence[JsonObject]
    job: JsonObject
    month: str
    retry_at: datetime
    deadline_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedTransfer:
    """A transfer and, while it is reserved, what to send to the gateway for it, word for word as it is stored."""

    transfer: Transfer
    job: JsonObject | None


def add_transfer(
    tx: Tx, new: NewTransfer, actions: Sequence[tuple[LicenseId, LicenseAction]]
) -> OpenedTransfer:
    """Insert a reserved transfer and what it moves. The unique container column keeps it the only open one.

    Returns:
        What `open_transfer` would read back.
    """
    row: dict[str, SqlValue] = {
        "transfer_id": new.transfer_id,
        "natural_key": new.natural_key,
        "open_container": new.container,
        "container": new.container,
        "ticket": new.ticket,
        "action": str(new.action),
        "state": str(TransferState.RESERVED),
        "base_fuc": new.base_fuc,
        "fuc": new.fuc,
        "operations": dump_json(list(new.operations)),
        "job": dump_json(new.job),
        "update_text": None,
        "month": new.month,
        "op_id": tx.op_id,
        "reason": None,
        "retry_at_us": to_us(new.retry_at),
        "deadline_at_us": to_us(new.deadline_at),
        "created_at_us": to_us(tx.now),
        "issued_at_us": None,
        "confirmed_at_us": None,
    }
    tx.write(_INSERT, row)
    rows = [
        {"transfer_id": new.transfer_id, "license_id": each, "action": str(action)}
        for each, action in actions
    ]
    tx.write_many(_INSERT_ACTION, rows)
    written = cast(Row, SimpleNamespace(**row))
    return OpenedTransfer(transfer=_transfer_of(written, sorted(actions)), job=load_object(str(row["job"])))


def find_by_natural_key(reader: Reader, natural_key: str) -> TransferId | None:
    """The transfer that the same request made before, or None."""
    found = reader.scalar(_BY_NATURAL_KEY, {"b_key": natural_key})
    return None if found is None else TransferId(str(found))


def list_unfinished(reader: Reader, container: str, *, above_fuc: int) -> list[UnfinishedTransfer]:
    """Reserved and issued transfers above a counter, in the order of programming."""
    rows = reader.all(_UNFINISHED, {"b_container": container, "b_fuc": above_fuc})
    return [
        UnfinishedTransfer(
            transfer_id=TransferId(row.transfer_id),
            natural_key=row.natural_key,
            state=TransferState(row.state),
            fuc=row.fuc,
            operations=_operations(row.operations),
        )
        for row in rows
    ]


def issue(tx: Tx, transfer_id: TransferId, update_text: str) -> bool:
    """Compare-and-set: reserved → issued. At most one caller ever gets True."""
    return tx.write(_ISSUE, {"b_id": transfer_id, "b_update": update_text, "b_now": to_us(tx.now)}) == 1


def roll_back(tx: Tx, transfer_id: TransferId, reason: str) -> bool:
    """Compare-and-set: reserved → rolled back."""
    return tx.write(_ROLL_BACK, {"b_id": transfer_id, "b_reason": reason}) == 1


def confirm(tx: Tx, container: str, *, fuc: int) -> None:
    """Confirm every issued transfer that a counter proves."""
    tx.write(_CONFIRM, {"b_container": container, "b_fuc": fuc, "b_now": to_us(tx.now)})


def unconfirm(tx: Tx, container: str, *, fuc: int) -> None:
    """Have everything above a counter programmed again: the container was set back and staff accepts it."""
    tx.write(_UNCONFIRM, {"b_container": container, "b_fuc": fuc})


def put_off(tx: Tx, transfer_id: TransferId, *, until: datetime) -> bool:
    """Compare-and-set: take over the driving of a due transfer until a time."""
    return tx.write(_PUT_OFF, {"b_id": transfer_id, "b_now": to_us(tx.now), "b_next": to_us(until)}) == 1


def let_go(tx: Tx, transfer_id: TransferId, *, until: datetime) -> None:
    """Stop driving a transfer that is still reserved; it is due for anybody from then on."""
    tx.write(_LET_GO, {"b_id": transfer_id, "b_next": to_us(until)})


def list_due(reader: Reader, *, limit: int) -> list[DueTransfer]:
    """Reserved transfers that nobody drives any more."""
    return [
        DueTransfer(transfer_id=TransferId(row.transfer_id), deadline_at=from_us(row.deadline_at_us))
        for row in reader.all(_DUE, {"b_now": to_us(reader.now), "b_limit": limit})
    ]


def list_reserved(reader: Reader) -> list[ReservedTransfer]:
    """All transfers that have not ended, driven or not."""
    return [
        ReservedTransfer(transfer_id=TransferId(row.transfer_id), created_at=from_us(row.created_at_us))
        for row in reader.all(_RESERVED)
    ]


def has_reserved(reader: Reader) -> bool:
    """Whether any transfer is in the making."""
    return reader.first(_ANY_RESERVED) is not None


def get_job(reader: Reader, transfer_id: TransferId) -> JsonObject:
    """What to send to the gateway for a transfer, word for word as it was reserved.

    Raises:
        TransferNotFound: no such transfer.
    """
    text = reader.scalar(_JOB, {"b_id": transfer_id})
    if text is None:
        raise _not_found(transfer_id)
    return load_object(str(text))


def open_transfer(reader: Reader, transfer_id: TransferId) -> OpenedTransfer:
    """A transfer with its job if it is still to be programmed.

    Raises:
        TransferNotFound: no such transfer.
    """
    transfer = get_transfer(reader, transfer_id)
    reserved = transfer.state is TransferState.RESERVED
    return OpenedTransfer(transfer=transfer, job=get_job(reader, transfer_id) if reserved else None)


def get_op_id(reader: Reader, transfer_id: TransferId) -> str:
    """The operation id that reserved a transfer."""
    return str(reader.scalar(_OP_ID, {"b_id": transfer_id}))


def find_open_transfer(reader: Reader, container: str) -> TransferId | None:
    """The transfer in the making for a container, or None."""
    found = reader.scalar(_OPEN_OF_CONTAINER, {"b_container": container})
    return None if found is None else TransferId(str(found))


def list_actions(reader: Reader, transfer_id: TransferId) -> list[tuple[LicenseId, LicenseAction]]:
    """What a transfer moves."""
    rows = reader.all(_ACTIONS, {"b_id": transfer_id})
    return [(LicenseId(row.license_id), LicenseAction(row.action)) for row in rows]


def get_transfer(reader: Reader, transfer_id: TransferId) -> Transfer:
    """The transfer with this id.

    Raises:
        TransferNotFound: there is none.
    """
    row = reader.first(_BY_ID, {"b_id": transfer_id})
    if row is None:
        raise _not_found(transfer_id)
    return _transfer_of(row, list_actions(reader, transfer_id))


def _not_found(transfer_id: TransferId) -> TransferNotFound:
    return TransferNotFound(f"There is no transfer {transfer_id}.", transfer_id=transfer_id)


def _operations(text: str) -> Sequence[JsonObject]:
    value = load_json(text)
    if not isinstance(value, list):
        raise TypeError("operations are stored as a list")
    return value


def _transfer_of(row: Row, actions: Sequence[tuple[LicenseId, LicenseAction]]) -> Transfer:
    return Transfer(
        transfer_id=TransferId(row.transfer_id),
        container=row.container,
        ticket=row.ticket,
        action=TransferAction(row.action),
        state=TransferState(row.state),
        base_fuc=row.base_fuc,
        fuc=row.fuc,
        licenses=tuple(actions),
        update=row.update_text,
        month=row.month,
        reason=row.reason,
        deadline_at=from_us(row.deadline_at_us),
        created_at=from_us(row.created_at_us),
        issued_at=None if row.issued_at_us is None else from_us(row.issued_at_us),
        confirmed_at=None if row.confirmed_at_us is None else from_us(row.confirmed_at_us),
    )

"""SQL of licences that more than one part of License Central needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Select, bindparam, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.ids import LicenseId, TransferId
from app.core.json import load_json, load_object
from app.licensing import tables
from app.licensing.errors import LicenseNotFound
from app.licensing.license.license import License, LicenseState
from app.licensing.product_item import ProductOptions, options_from_json

_t = tables.license_
_BY_ID = select(_t).where(_t.c.license_id == bindparam("b_id"))
_BY_TICKET = select(_t).where(_t.c.ticket == bindparam("b_ticket")).order_by(_t.c.license_id)
_BY_CONTAINER = select(_t).where(_t.c.container == bindparam("b_container")).order_by(_t.c.license_id)
_HOLD = (
    update(_t)
    .where(
        _t.c.license_id == bindparam("b_id"),
        _t.c.state == bindparam("b_state"),
        _t.c.pending_transfer.is_(None),
    )
    .values(pending_transfer=bindparam("b_transfer"))
)
_FREE = (
    update(_t)
    .where(_t.c.license_id == bindparam("b_id"), _t.c.pending_transfer == bindparam("b_transfer"))
    .values(pending_transfer=None)
)
_ISSUE = (
    update(_t)
    .where(_t.c.license_id == bindparam("b_id"), _t.c.pending_transfer == bindparam("b_transfer"))
    .values(
        state=bindparam("b_state"),
        container=bindparam("b_container"),
        fuc=bindparam("b_fuc"),
        pending_transfer=None,
        changed_at_us=bindparam("b_now"),
    )
)
_CONFIRM_COLLECTED = (
    update(_t)
    .where(
        _t.c.container == bindparam("b_container"),
        _t.c.state == str(LicenseState.COLLECTED),
        _t.c.fuc <= bindparam("b_fuc"),
    )
    .values(state=str(LicenseState.CONFIRMED_COLLECTED), changed_at_us=bindparam("b_now"))
)
_CONFIRM_RETURNED = (
    update(_t)
    .where(
        _t.c.container == bindparam("b_container"),
        _t.c.state == str(LicenseState.RETURNED),
        _t.c.fuc <= bindparam("b_fuc"),
    )
    .values(
        state=str(LicenseState.CONFIRMED_RETURNED), container=None, fuc=None, changed_at_us=bindparam("b_now")
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseFilter:
    """Which licences to list; None does not narrow."""

    ticket: str | None = None
    container: str | None = None
    state: LicenseState | None = None


def get_license(reader: Reader, license_id: LicenseId) -> License:
    """The licence with this id.

    Raises:
        LicenseNotFound: there is none.
    """
    row = reader.first(_BY_ID, {"b_id": license_id})
    if row is None:
        raise LicenseNotFound(f"There is no licence {license_id}.", license_id=license_id)
    return license_of(row)


def find_license(reader: Reader, license_id: LicenseId) -> License | None:
    """The licence with this id, or None."""
    row = reader.first(_BY_ID, {"b_id": license_id})
    return None if row is None else license_of(row)


def list_ticket_licenses(reader: Reader, ticket: str) -> list[License]:
    """All licences of a ticket."""
    return [license_of(row) for row in reader.all(_BY_TICKET, {"b_ticket": ticket})]


def list_container_licenses(reader: Reader, serial: str) -> list[License]:
    """All licences that are in a container, or were last given to it and not confirmed."""
    return [license_of(row) for row in reader.all(_BY_CONTAINER, {"b_container": serial})]


def list_licenses(reader: Reader, chosen: LicenseFilter, *, after: str, limit: int) -> list[License]:
    """Licences in the order of their making, after a licence id."""
    parameters: Parameters = {"b_after": after, "b_limit": limit}
    given = {"ticket": chosen.ticket, "container": chosen.container, "state": chosen.state}
    wanted = {f"b_{name}": str(value) for name, value in given.items() if value is not None}
    statement = _filtered(tuple(name for name, value in given.items() if value is not None))
    return [license_of(row) for row in reader.all(statement, {**parameters, **wanted})]


@lru_cache(maxsize=8)
def _filtered(names: tuple[str, ...]) -> Select[tuple[object, ...]]:
    statement = select(_t).where(_t.c.license_id > bindparam("b_after"))
    for name in names:
        statement = statement.where(_t.c[name] == bindparam(f"b_{name}"))
    return statement.order_by(_t.c.license_id).limit(bindparam("b_limit"))


def hold_license(tx: Tx, license_: License, transfer_id: TransferId) -> bool:
    """Compare-and-set: reserve a licence for a transfer if nothing about it has changed."""
    held = {"b_id": license_.license_id, "b_state": str(license_.state), "b_transfer": transfer_id}
    return tx.write(_HOLD, held) == 1


def free_licenses(tx: Tx, transfer_id: TransferId, license_ids: Sequence[LicenseId]) -> None:
    """Let go of what a transfer holds."""
    tx.write_many(_FREE, [{"b_id": each, "b_transfer": transfer_id} for each in license_ids])


def issue_licenses(
    tx: Tx,
    transfer_id: TransferId,
    moves: Sequence[tuple[LicenseId, LicenseState]],
    *,
    container: str,
    fuc: int,
) -> None:
    """Move held licences into the state that their update brings about."""
    common: Parameters = {
        "b_transfer": transfer_id,
        "b_container": container,
        "b_fuc": fuc,
        "b_now": to_us(tx.now),
    }
    for license_id, state in moves:
        if tx.write(_ISSUE, {**common, "b_id": license_id, "b_state": str(state)}) != 1:
            raise RuntimeError(
                f"licence {license_id} is not held by transfer {transfer_id}: the books are damaged"
            )


def confirm_licenses(tx: Tx, *, container: str, fuc: int) -> None:
    """Confirm whatever a container's counter proves."""
    proven: Parameters = {"b_container": container, "b_fuc": fuc, "b_now": to_us(tx.now)}
    tx.write(_CONFIRM_COLLECTED, proven)
    tx.write(_CONFIRM_RETURNED, proven)


@lru_cache(maxsize=4096)
def _options(text: str) -> ProductOptions:
    return options_from_json(load_object(text))


@lru_cache(maxsize=1024)
def _container_types(text: str) -> tuple[str, ...]:
    value = load_json(text)
    if not isinstance(value, list):
        raise TypeError("container types are stored as a list")
    return tuple(str(each) for each in value)


def license_of(row: Row) -> License:
    """A licence from its row. Options repeat across licences, so reading them is cached."""
    return License(
        license_id=LicenseId(row.license_id),
        ticket=row.ticket,
        order_number=row.order_number,
        position=row.position,
        sku=row.sku,
        item_name=row.item_name,
        options=_options(row.options),
        returnable=bool(row.returnable),
        container_types=_container_types(row.container_types),
        state=LicenseState(row.state),
        generation=row.generation,
        container=row.container,
        fuc=row.fuc,
        pending_transfer=None if row.pending_transfer is None else TransferId(row.pending_transfer),
        created_at=from_us(row.created_at_us),
        changed_at=from_us(row.changed_at_us),
    )

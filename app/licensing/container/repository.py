"""SQL of containers."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.json import JsonObject, dump_json, load_object
from app.licensing import tables
from app.licensing.container.container_rule import Container, ContainerState, UnexpectedReason
from app.licensing.errors import ContainerNotFound
from app.licensing.product_item import container_type_of
from fsb_gateway import Context

_t = tables.container
_INSERT = insert(_t)
_TOUCH = update(_t).where(_t.c.serial == bindparam("b_serial")).values(version=_t.c.version + 1)
_BY_SERIAL = select(_t).where(_t.c.serial == bindparam("b_serial"))
_PROVE = (
    update(_t)
    .where(_t.c.serial == bindparam("b_serial"), _t.c.fuc_confirmed <= bindparam("b_fuc"))
    .values(
        fuc_confirmed=bindparam("b_fuc"),
        last_context_us=bindparam("b_made"),
        changed_at_us=bindparam("b_now"),
    )
)
_ISSUE = (
    update(_t)
    .where(
        _t.c.serial == bindparam("b_serial"),
        _t.c.fuc_issued == bindparam("b_before"),
        _t.c.state == str(ContainerState.OK),
    )
    .values(fuc_issued=bindparam("b_fuc"), changed_at_us=bindparam("b_now"))
)
_GIVE_CONTEXT_BACK = (
    update(_t).where(_t.c.serial == bindparam("b_serial")).values(last_context_us=_t.c.last_context_us - 1)
)
_SET_STATE = (
    update(_t)
    .where(_t.c.serial == bindparam("b_serial"))
    .values(
        state=bindparam("b_state"),
        reason=bindparam("b_reason"),
        reported=bindparam("b_reported"),
        changed_at_us=bindparam("b_now"),
    )
)
_ACCEPT = (
    update(_t)
    .where(_t.c.serial == bindparam("b_serial"))
    .values(
        key_thumbprint=bindparam("b_thumbprint"),
        signing_key=bindparam("b_signing_key"),
        encryption_key=bindparam("b_encryption_key"),
        fuc_confirmed=bindparam("b_fuc"),
        fuc_issued=bindparam("b_fuc_issued"),
        last_context_us=bindparam("b_made"),
        changed_at_us=bindparam("b_now"),
    )
)


def touch_container(tx: Tx, serial: str) -> bool:
    """Take the container's row, the guard of everything about it; False when the container is not known yet."""
    return tx.write(_TOUCH, {"b_serial": serial}) == 1


def register_container(tx: Tx, context: Context) -> bool:
    """Insert a container by its first context, unless somebody else just did."""
    now = to_us(tx.now)
    return tx.insert_if_absent(
        _INSERT,
        {
            "serial": context.serial,
            "container_type": str(container_type_of(context.serial)),
            "key_thumbprint": context.signing_key_thumbprint,
            "signing_key": dump_json(dict(context.signing_key)),
            "encryption_key": dump_json(dict(context.encryption_key)),
            "fuc_confirmed": context.fuc,
            "fuc_issued": context.fuc,
            "last_context_us": to_us(context.made_at),
            "state": str(ContainerState.OK),
            "reason": None,
            "reported": None,
            "version": 1,
            "created_at_us": now,
            "changed_at_us": now,
        },
    )


def prove(tx: Tx, context: Context) -> None:
    """Note what a fitting context proves."""
    proven: Parameters = {
        "b_serial": context.serial,
        "b_fuc": context.fuc,
        "b_made": to_us(context.made_at),
        "b_now": to_us(tx.now),
    }
    tx.write(_PROVE, proven)


def give_context_back(tx: Tx, serial: str) -> None:
    """Let the newest context be used once more: the transfer it was used for came to nothing.

    A receipt may have come in between; then it is the receipt that could be used again, which does no harm.
    """
    tx.write(_GIVE_CONTEXT_BACK, {"b_serial": serial})


def issue(tx: Tx, serial: str, *, fuc: int) -> bool:
    """Compare-and-set: raise the issued counter of a container in order to `fuc`, from the one just before it."""
    raised: Parameters = {"b_serial": serial, "b_before": fuc - 1, "b_fuc": fuc, "b_now": to_us(tx.now)}
    return tx.write(_ISSUE, raised) == 1


def set_unexpected(tx: Tx, context: Context, reason: UnexpectedReason) -> None:
    """Stop everything about a container until staff decides; keeps what it reported as evidence."""
    reported: JsonObject = {
        "fuc": context.fuc,
        "made_at_us": to_us(context.made_at),
        "key_thumbprint": context.signing_key_thumbprint,
        "signing_key": dict(context.signing_key),
        "encryption_key": dict(context.encryption_key),
        "context_digest": context.digest,
    }
    changed: Parameters = {
        "b_serial": context.serial,
        "b_state": str(ContainerState.UNEXPECTED_STATE),
        "b_reason": str(reason),
        "b_reported": dump_json(reported),
        "b_now": to_us(tx.now),
    }
    tx.write(_SET_STATE, changed)


def set_state(tx: Tx, serial: str, state: ContainerState) -> None:
    """Set a state that needs no evidence."""
    changed: Parameters = {
        "b_serial": serial,
        "b_state": str(state),
        "b_reason": None,
        "b_reported": None,
        "b_now": to_us(tx.now),
    }
    tx.write(_SET_STATE, changed)


def accept_reported(tx: Tx, container: Container, reported: JsonObject) -> int:
    """Make what the container reported the truth of the books; returns the counter it is at now.

    The issued counter never falls: what the container lacks is programmed again with its next update.
    """
    fuc = int(str(reported["fuc"]))
    accepted: Parameters = {
        "b_serial": container.serial,
        "b_thumbprint": str(reported["key_thumbprint"]),
        "b_signing_key": dump_json(reported["signing_key"]),
        "b_encryption_key": dump_json(reported["encryption_key"]),
        "b_fuc": fuc,
        "b_fuc_issued": max(fuc, container.fuc_issued),
        "b_made": int(str(reported["made_at_us"])),
        "b_now": to_us(tx.now),
    }
    tx.write(_ACCEPT, accepted)
    return fuc


def audited(container: Container) -> JsonObject:
    """What the audit keeps of a container that is about to change: its state and counters."""
    return {
        "state": str(container.state),
        "fuc_issued": container.fuc_issued,
        "fuc_confirmed": container.fuc_confirmed,
    }


def find_container(reader: Reader, serial: str) -> Container | None:
    """The container with this serial, or None."""
    row = reader.first(_BY_SERIAL, {"b_serial": serial})
    return None if row is None else _container_of(row)


def get_container(reader: Reader, serial: str) -> Container:
    """The container with this serial.

    Raises:
        ContainerNotFound: it has never sent a context here.
    """
    container = find_container(reader, serial)
    if container is None:
        raise ContainerNotFound(f"Container {serial} is not known here.", serial=serial)
    return container


def _container_of(row: Row) -> Container:
    return Container(
        serial=row.serial,
        container_type=row.container_type,
        key_thumbprint=row.key_thumbprint,
        signing_key=_jwk(row.signing_key),
        encryption_key=_jwk(row.encryption_key),
        fuc_confirmed=row.fuc_confirmed,
        fuc_issued=row.fuc_issued,
        last_context_at=from_us(row.last_context_us),
        state=ContainerState(row.state),
        reason=None if row.reason is None else UnexpectedReason(row.reason),
        reported=None if row.reported is None else load_object(row.reported),
        version=row.version,
        created_at=from_us(row.created_at_us),
        changed_at=from_us(row.changed_at_us),
    )


def _jwk(text: str) -> dict[str, str]:
    return {name: str(value) for name, value in load_object(text).items()}

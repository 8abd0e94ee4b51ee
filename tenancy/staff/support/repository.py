"""SQL of support access (platform database) and its uses (instance database)."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sqlalchemy import and_, bindparam, insert, or_, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import SqlValue
from app.core.ids import InstanceId
from tenancy.staff import tables
from tenancy.staff.errors import SupportAccessNotFound
from tenancy.staff.support.record import SupportAccess, SupportScope, SupportState, SupportUse

_access = tables.support_access
_use = tables.support_use

_ADD = insert(_access)
_of_instance = and_(
    _access.c.access_id == bindparam("b_access"), _access.c.instance_id == bindparam("b_instance")
)
_GET = select(_access).where(_of_instance)
_GET_ANY = select(_access).where(_access.c.access_id == bindparam("b_access"))
_OPEN = select(_access).where(_access.c.open_key == bindparam("b_key"))
_page = _access.c.access_id > bindparam("b_after")
_LIST = select(_access).where(_page).order_by(_access.c.access_id).limit(bindparam("b_limit"))
_LIST_OF_INSTANCE = (
    select(_access)
    .where(_page, _access.c.instance_id == bindparam("b_instance"))
    .order_by(_access.c.access_id)
    .limit(bindparam("b_limit"))
)
_holds = and_(_access.c.state == "approved", _access.c.expires_at_us > bindparam("b_now"))
_HOLDING = (
    select(_access)
    .where(
        _access.c.instance_id == bindparam("b_instance"),
        _access.c.person_id == bindparam("b_person"),
        _holds,
    )
    # One that allows more comes first: `write` after `read` in the alphabet.
    .order_by(_access.c.scope.desc(), _access.c.expires_at_us.desc())
    .limit(1)
)
_waits = and_(_access.c.state == "requested", _access.c.expires_at_us > bindparam("b_now"))
_decided = {
    "decided_by": bindparam("b_by"),
    "decided_at_us": bindparam("b_now"),
    "open_key": None,
    "version": _access.c.version + 1,
}
_of_version = and_(_of_instance, _access.c.version == bindparam("b_version"))
_APPROVE = (
    update(_access)
    .where(_of_version, _waits)
    .values(state="approved", expires_at_us=bindparam("b_until"), **_decided)
)
_REFUSE = update(_access).where(_of_version, _waits).values(state="refused", **_decided)
_REVOKE = update(_access).where(_of_instance, _holds).values(state="revoked", **_decided)
_over = and_(
    or_(_access.c.state == "requested", _access.c.state == "approved"),
    _access.c.expires_at_us <= bindparam("b_now"),
)
_OVERDUE = select(_access).where(_over).order_by(_access.c.access_id).limit(bindparam("b_limit"))
_EXPIRE = (
    update(_access)
    .where(_access.c.access_id == bindparam("b_access"), _over)
    .values(state="expired", open_key=None, version=_access.c.version + 1)
)
_ADD_USE = insert(_use)
_USES = (
    select(_use)
    .where(_use.c.access_id == bindparam("b_access"), _use.c.hour > bindparam("b_after"))
    .order_by(_use.c.hour)
    .limit(bindparam("b_limit"))
)


def add_access(tx: Tx, access: SupportAccess) -> bool:
    """Store a request. False if the same person waits for an answer about the same instance."""
    return tx.insert_if_absent(
        _ADD,
        {
            "access_id": access.access_id,
            "instance_id": access.instance_id,
            "person_id": access.person_id,
            "reason": access.reason,
            "hours": access.hours,
            "scope": access.scope,
            "state": access.state,
            "requested_at_us": to_us(access.requested_at),
            "expires_at_us": to_us(access.expires_at),
            "decided_by": None,
            "decided_at_us": None,
            "open_key": _open_key(access.instance_id, access.person_id),
            "version": access.version,
        },
    )


def get_access(reader: Reader, access_id: str, instance_id: InstanceId | None = None) -> SupportAccess:
    """Read one access, as it stands now; of that instance, if one is named.

    Raises:
        SupportAccessNotFound: there is none like that.
    """
    if instance_id is None:
        row = reader.first(_GET_ANY, {"b_access": access_id})
    else:
        row = reader.first(_GET, {"b_access": access_id, "b_instance": instance_id})
    if row is None:
        raise SupportAccessNotFound("There is no such support access.")
    return _to_access(row, reader.now)


def find_open(reader: Reader, instance_id: InstanceId, person_id: str) -> SupportAccess | None:
    """The person's request about an instance that nobody has decided or expired."""
    row = reader.first(_OPEN, {"b_key": _open_key(instance_id, person_id)})
    return None if row is None else _to_access(row, reader.now)


def find_holding(reader: Reader, instance_id: InstanceId, person_id: str) -> SupportAccess | None:
    """The access by which a person may be in an instance now; the one that allows most."""
    known: dict[str, SqlValue] = {
        "b_instance": instance_id,
        "b_person": person_id,
        "b_now": to_us(reader.now),
    }
    row = reader.first(_HOLDING, known)
    return None if row is None else _to_access(row, reader.now)


def list_accesses(
    reader: Reader, *, after: str, limit: int, instance_id: InstanceId | None
) -> list[SupportAccess]:
    """Accesses with an id above `after`, oldest first; those of one instance, if one is named."""
    page: dict[str, str | int] = {"b_after": after, "b_limit": limit}
    if instance_id is None:
        rows = reader.all(_LIST, page)
    else:
        rows = reader.all(_LIST_OF_INSTANCE, {**page, "b_instance": instance_id})
    return [_to_access(row, reader.now) for row in rows]


def list_overdue(reader: Reader, *, limit: int) -> list[SupportAccess]:
    """Accesses whose time is over and that are not closed yet."""
    rows = reader.all(_OVERDUE, {"b_now": to_us(reader.now), "b_limit": limit})
    return [_to_access(row, reader.now) for row in rows]


def approve(tx: Tx, access: SupportAccess, *, version: int, by: str, until: datetime) -> bool:
    """Let support in. False if the access is not waiting in that version."""
    return (
        tx.write(_APPROVE, {**_decision(tx, access, by), "b_version": version, "b_until": to_us(until)}) == 1
    )


def refuse(tx: Tx, access: SupportAccess, *, version: int, by: str) -> bool:
    """Do not let support in. False if the access is not waiting in that version."""
    return tx.write(_REFUSE, {**_decision(tx, access, by), "b_version": version}) == 1


def revoke(tx: Tx, access: SupportAccess, *, by: str) -> bool:
    """Let support in no longer. False if the access does not hold."""
    return tx.write(_REVOKE, _decision(tx, access, by)) == 1


def expire(tx: Tx, access_id: str) -> bool:
    """Close an access whose time is over. False if it is not one."""
    return tx.write(_EXPIRE, {"b_access": access_id, "b_now": to_us(tx.now)}) == 1


def add_use(tx: Tx, access_id: str, *, hour: int, action: str) -> bool:
    """Note in the instance's database that an access was used. False if that is noted for this hour."""
    row: dict[str, SqlValue] = {
        "access_id": access_id,
        "hour": hour,
        "first_at_us": to_us(tx.now),
        "action": action,
    }
    return tx.insert_if_absent(_ADD_USE, row)


def list_uses(reader: Reader, access_id: str, *, after: int, limit: int) -> list[tuple[int, SupportUse]]:
    """(hour, use) of an access after an hour, oldest first, out of the instance's database."""
    rows = reader.all(_USES, {"b_access": access_id, "b_after": after, "b_limit": limit})
    return [(row.hour, SupportUse(first_at=from_us(row.first_at_us), action=row.action)) for row in rows]


def _decision(tx: Tx, access: SupportAccess, by: str) -> dict[str, str | int]:
    return {
        "b_access": access.access_id,
        "b_instance": access.instance_id,
        "b_by": by,
        "b_now": to_us(tx.now),
    }


def _open_key(instance_id: InstanceId, person_id: str) -> str:
    return f"{instance_id}:{person_id}"


def _to_access(row: Row, now: datetime) -> SupportAccess:
    # Whoever closes overdue accesses may be late; what callers see is never.
    over = row.state in ("requested", "approved") and row.expires_at_us <= to_us(now)
    return SupportAccess(
        access_id=row.access_id,
        instance_id=InstanceId(row.instance_id),
        person_id=row.person_id,
        reason=row.reason,
        hours=row.hours,
        scope=cast(SupportScope, row.scope),
        state="expired" if over else cast(SupportState, row.state),
        requested_at=from_us(row.requested_at_us),
        expires_at=from_us(row.expires_at_us),
        decided_by=row.decided_by,
        decided_at=None if row.decided_at_us is None else from_us(row.decided_at_us),
        version=row.version,
    )

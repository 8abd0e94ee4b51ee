"""SQL of staff: people, their keys and tokens, requests for approval."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Final, cast

from sqlalchemy import Update, and_, bindparam, case, delete, insert, or_, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import SqlValue
from app.core.ids import OperationId
from app.core.json import JsonObject, dump_json, load_object
from tenancy.errors import StaffTokenNotFound
from tenancy.staff import tables
from tenancy.staff.errors import ApprovalNotFound, PersonNotFound
from tenancy.staff.record import Approval, ApprovalState, Person, StaffRole, StaffToken

_person = tables.person
_key = tables.subject_key
_token = tables.staff_token
_approval = tables.approval

_DIGEST_LETTERS: Final = 32
"""128 bits: nobody finds two requests that share one. The column has room for it."""
_ADD_PERSON = insert(_person)
_ADD_KEY = insert(_key)
_PERSON = select(_person).where(_person.c.person_id == bindparam("b_person"))
_PERSON_BY_NAME = select(_person).where(_person.c.name == bindparam("b_name"))
_PEOPLE = (
    select(_person)
    .where(_person.c.person_id > bindparam("b_after"))
    .order_by(_person.c.person_id)
    .limit(bindparam("b_limit"))
)
_KEY_OF = select(_key.c.wrapped_key).where(_key.c.person_id == bindparam("b_person"))
_ERASE_PERSON = (
    update(_person)
    .where(_person.c.person_id == bindparam("b_person"), _person.c.erased_at_us.is_(None))
    .values(name=None, erased_at_us=bindparam("b_now"))
)
_ERASE_KEY = delete(_key).where(_key.c.person_id == bindparam("b_person"))
_ERASE_TOKEN_NAMES = (
    update(_token).where(_token.c.person_id == bindparam("b_person")).values(name=bindparam("b_name"))
)

_ADD_TOKEN = insert(_token)
_BY_HASH = (
    select(_token, _person.c.sealed_name)
    .select_from(_token.outerjoin(_person, _person.c.person_id == _token.c.person_id))
    .where(
        or_(
            _token.c.token_hash == bindparam("b_hash"),
            and_(
                _token.c.previous_hash == bindparam("b_hash"),
                _token.c.previous_ends_at_us > bindparam("b_now"),
            ),
        )
    )
)
_GET_TOKEN = select(_token).where(_token.c.token_id == bindparam("b_token"))
_LIST_TOKENS = (
    select(_token)
    .where(_token.c.token_id > bindparam("b_after"))
    .order_by(_token.c.token_id)
    .limit(bindparam("b_limit"))
)
_REVOKE = (
    update(_token)
    .where(_token.c.token_id == bindparam("b_token"), _token.c.revoked_at_us.is_(None))
    .values(revoked_at_us=bindparam("b_now"))
)
_LIVING_OF = (
    select(_token.c.token_id)
    .where(_token.c.person_id == bindparam("b_person"), _token.c.revoked_at_us.is_(None))
    .order_by(_token.c.token_id)
)
_HOLDING = (
    select(_token.c.token_id)
    .where(
        _token.c.token_id == bindparam("b_token"),
        _token.c.revoked_at_us.is_(None),
        _token.c.expires_at_us > bindparam("b_now"),
    )
    .limit(1)
)
_HOLDING_OF = (
    select(_token.c.token_id)
    .where(
        _token.c.person_id == bindparam("b_person"),
        _token.c.revoked_at_us.is_(None),
        _token.c.expires_at_us > bindparam("b_now"),
    )
    .limit(1)
)
# Whoever rotates while the secret before still holds may have lost the answer: that secret stays, the one that perhaps
# nobody has goes. MariaDB assigns from left to right: what is read is assigned later, or in the same place.
_before_holds = _token.c.previous_ends_at_us > bindparam("b_now")
_ROTATE: Update = (
    update(_token)
    .where(
        _token.c.token_id == bindparam("b_token"),
        _token.c.revoked_at_us.is_(None),
        _token.c.expires_at_us > bindparam("b_now"),
    )
    .ordered_values(
        (_token.c.previous_hash, case((_before_holds, _token.c.previous_hash), else_=_token.c.token_hash)),
        (
            _token.c.previous_ends_at_us,
            case(
                (
                    and_(_before_holds, _token.c.previous_ends_at_us < bindparam("b_ends_at")),
                    _token.c.previous_ends_at_us,
                ),
                else_=bindparam("b_ends_at"),
            ),
        ),
        (_token.c.token_hash, bindparam("b_hash")),
    )
)

_ADD_APPROVAL = insert(_approval)
_GET_APPROVAL = select(_approval).where(_approval.c.approval_id == bindparam("b_approval"))
_APPROVAL_OF = select(_approval).where(_approval.c.operation_id == bindparam("b_operation")).limit(1)
_OPEN_APPROVAL = select(_approval).where(_approval.c.open_key == bindparam("b_key"))
_LIST_APPROVALS = (
    select(_approval)
    .where(_approval.c.approval_id > bindparam("b_after"))
    .order_by(_approval.c.approval_id)
    .limit(bindparam("b_limit"))
)
_waits = and_(_approval.c.state == "requested", _approval.c.expires_at_us > bindparam("b_now"))
_LIST_WAITING = (
    select(_approval)
    .where(_approval.c.approval_id > bindparam("b_after"), _waits)
    .order_by(_approval.c.approval_id)
    .limit(bindparam("b_limit"))
)
_OVERDUE = (
    select(_approval)
    .where(_approval.c.state == "requested", _approval.c.expires_at_us <= bindparam("b_now"))
    .order_by(_approval.c.expires_at_us)
    .limit(bindparam("b_limit"))
)
_APPROVE = (
    update(_approval)
    .where(
        _approval.c.approval_id == bindparam("b_approval"),
        _approval.c.version == bindparam("b_version"),
        _approval.c.requested_by != bindparam("b_by"),
        _waits,
    )
    .values(
        state="approved",
        decided_by=bindparam("b_by"),
        decided_at_us=bindparam("b_now"),
        open_key=None,
        version=_approval.c.version + 1,
    )
)
_REJECT = (
    update(_approval)
    .where(_approval.c.approval_id == bindparam("b_approval"), _waits)
    .values(
        state="rejected",
        decided_by=bindparam("b_by"),
        decided_at_us=bindparam("b_now"),
        open_key=None,
        version=_approval.c.version + 1,
    )
)
_EXPIRE = (
    update(_approval)
    .where(
        _approval.c.approval_id == bindparam("b_approval"),
        _approval.c.state == "requested",
        _approval.c.expires_at_us <= bindparam("b_now"),
    )
    .values(state="expired", open_key=None, version=_approval.c.version + 1)
)
_SET_OPERATION = (
    update(_approval)
    .where(_approval.c.approval_id == bindparam("b_approval"), _approval.c.operation_id.is_(None))
    .values(operation_id=bindparam("b_operation"))
)


def add_person(tx: Tx, person: Person, *, wrapped_key: str) -> bool:
    """Store a person with his key. False, and nothing stored, if somebody of that name is there."""
    row: dict[str, SqlValue] = {
        "person_id": person.person_id,
        "name": person.name,
        "sealed_name": person.sealed_name,
        "created_at_us": to_us(person.created_at),
        "erased_at_us": None,
    }
    if not tx.insert_if_absent(_ADD_PERSON, row):
        return False
    tx.write(
        _ADD_KEY,
        {
            "person_id": person.person_id,
            "wrapped_key": wrapped_key,
            "created_at_us": to_us(person.created_at),
        },
    )
    return True


def get_person(reader: Reader, person_id: str) -> Person:
    """Read one person, erased or not.

    Raises:
        PersonNotFound: there is none of that id.
    """
    row = reader.first(_PERSON, {"b_person": person_id})
    if row is None:
        raise PersonNotFound("There is no such member of staff.")
    return _to_person(row)


def find_person_by_name(reader: Reader, name: str) -> Person | None:
    """The person of that name."""
    row = reader.first(_PERSON_BY_NAME, {"b_name": name})
    return None if row is None else _to_person(row)


def list_people(reader: Reader, *, after: str, limit: int) -> list[Person]:
    """People with an id above `after`, oldest first, the erased ones too."""
    return [_to_person(row) for row in reader.all(_PEOPLE, {"b_after": after, "b_limit": limit})]


def find_wrapped_key(reader: Reader, person_id: str) -> str | None:
    """The person's key as stored; None once it has been erased."""
    found = reader.scalar(_KEY_OF, {"b_person": person_id})
    return None if found is None else str(found)


def erase_person(tx: Tx, person_id: str, *, token_name: str) -> bool:
    """Forget name and key of a person and what his tokens were called. False if that had been done before."""
    if tx.write(_ERASE_PERSON, {"b_person": person_id, "b_now": to_us(tx.now)}) != 1:
        return False
    tx.write(_ERASE_KEY, {"b_person": person_id})
    tx.write(_ERASE_TOKEN_NAMES, {"b_person": person_id, "b_name": token_name})
    return True


def add_token(tx: Tx, token: StaffToken, *, token_hash: str) -> None:
    """Store a token."""
    tx.write(
        _ADD_TOKEN,
        {
            "token_id": token.token_id,
            "name": token.name,
            "role": token.role,
            "token_hash": token_hash,
            "created_at_us": to_us(token.created_at),
            "expires_at_us": to_us(token.expires_at),
            "revoked_at_us": None,
            "person_id": token.person_id,
            "previous_hash": None,
            "previous_ends_at_us": None,
        },
    )


def find_by_hash(reader: Reader, token_hash: str, *, at: datetime) -> tuple[StaffToken, str | None] | None:
    """The token with that hash, or whose secret before the last rotation had it; and its person's sealed name."""
    row = reader.first(_BY_HASH, {"b_hash": token_hash, "b_now": to_us(at)})
    return None if row is None else (_to_token(row), row.sealed_name)


def get_token(reader: Reader, token_id: str) -> StaffToken:
    """Read one token.

    Raises:
        StaffTokenNotFound: there is none of that id.
    """
    row = reader.first(_GET_TOKEN, {"b_token": token_id})
    if row is None:
        raise StaffTokenNotFound("There is no such staff token.")
    return _to_token(row)


def list_tokens(reader: Reader, *, after: str, limit: int) -> list[StaffToken]:
    """Tokens with an id above `after`, oldest first, those that ended too."""
    return [_to_token(row) for row in reader.all(_LIST_TOKENS, {"b_after": after, "b_limit": limit})]


def revoke_token(tx: Tx, token_id: str) -> bool:
    """End a token. False if it had been ended before, or does not exist."""
    return tx.write(_REVOKE, {"b_token": token_id, "b_now": to_us(tx.now)}) == 1


def list_living_tokens(reader: Reader, person_id: str) -> list[str]:
    """Ids of a person's tokens that have not been revoked."""
    return [row.token_id for row in reader.all(_LIVING_OF, {"b_person": person_id})]


def has_token(reader: Reader, person_id: str) -> bool:
    """Whether a person has a token that holds."""
    return reader.first(_HOLDING_OF, {"b_person": person_id, "b_now": to_us(reader.now)}) is not None


def holds(reader: Reader, token_id: str) -> bool:
    """Whether a token holds now."""
    return reader.first(_HOLDING, {"b_token": token_id, "b_now": to_us(reader.now)}) is not None


def rotate_token(tx: Tx, token_id: str, *, token_hash: str, previous_ends_at: datetime) -> bool:
    """Give a token another secret; the one before holds until then, or its own end. False if the token has ended."""
    change: dict[str, SqlValue] = {"b_token": token_id, "b_hash": token_hash, "b_now": to_us(tx.now)}
    return tx.write(_ROTATE, {**change, "b_ends_at": to_us(previous_ends_at)}) == 1


def add_approval(tx: Tx, approval: Approval, wish: JsonObject) -> bool:
    """Store a request. False if the same action waits for approval on the same object, and the same is asked of it."""
    return tx.insert_if_absent(
        _ADD_APPROVAL,
        {
            "approval_id": approval.approval_id,
            "action": approval.action,
            "object_id": approval.object_id,
            "parameters": dump_json(approval.parameters),
            "reason": approval.reason,
            "state": approval.state,
            "requested_by": approval.requested_by,
            "requested_at_us": to_us(approval.requested_at),
            "expires_at_us": to_us(approval.expires_at),
            "decided_by": None,
            "decided_at_us": None,
            "operation_id": None,
            "open_key": _open_key(approval.action, approval.object_id, wish),
            "version": approval.version,
        },
    )


def get_approval(reader: Reader, approval_id: str) -> Approval:
    """Read one request, as it stands now.

    Raises:
        ApprovalNotFound: there is none of that id.
    """
    row = reader.first(_GET_APPROVAL, {"b_approval": approval_id})
    if row is None:
        raise ApprovalNotFound("There is no such request for approval.")
    return _to_approval(row, reader.now)


def find_approval_of(reader: Reader, operation_id: OperationId) -> Approval | None:
    """The request whose approval started an operation."""
    row = reader.first(_APPROVAL_OF, {"b_operation": operation_id})
    return None if row is None else _to_approval(row, reader.now)


def find_open_approval(reader: Reader, action: str, object_id: str, wish: JsonObject) -> Approval | None:
    """The request for an action on an object, and for this of it, that nobody has decided or expired."""
    row = reader.first(_OPEN_APPROVAL, {"b_key": _open_key(action, object_id, wish)})
    return None if row is None else _to_approval(row, reader.now)


def list_approvals(reader: Reader, *, after: str, limit: int, waiting: bool) -> list[Approval]:
    """Requests with an id above `after`, oldest first; all of them, or those that can be decided."""
    page: dict[str, SqlValue] = {"b_after": after, "b_limit": limit}
    if waiting:
        rows = reader.all(_LIST_WAITING, {**page, "b_now": to_us(reader.now)})
    else:
        rows = reader.all(_LIST_APPROVALS, page)
    return [_to_approval(row, reader.now) for row in rows]


def list_overdue_approvals(reader: Reader, *, limit: int) -> list[Approval]:
    """Requests that nobody decided in time."""
    rows = reader.all(_OVERDUE, {"b_now": to_us(reader.now), "b_limit": limit})
    return [_to_approval(row, reader.now) for row in rows]


def approve(tx: Tx, approval_id: str, *, version: int, by: str) -> bool:
    """Approve a waiting request of that version that somebody else has made. False if there is none like that."""
    change: dict[str, SqlValue] = {
        "b_approval": approval_id,
        "b_version": version,
        "b_by": by,
        "b_now": to_us(tx.now),
    }
    return tx.write(_APPROVE, change) == 1


def reject(tx: Tx, approval_id: str, *, by: str) -> bool:
    """Reject a waiting request. False if it is not waiting."""
    return tx.write(_REJECT, {"b_approval": approval_id, "b_by": by, "b_now": to_us(tx.now)}) == 1


def expire_approval(tx: Tx, approval_id: str) -> bool:
    """Close a request that nobody decided in time. False if it is not one."""
    return tx.write(_EXPIRE, {"b_approval": approval_id, "b_now": to_us(tx.now)}) == 1


def set_operation(tx: Tx, approval_id: str, operation_id: OperationId) -> bool:
    """Note what an approval has started. False if it had started something before."""
    return tx.write(_SET_OPERATION, {"b_approval": approval_id, "b_operation": operation_id}) == 1


def _open_key(action: str, object_id: str, wish: JsonObject) -> str:
    same = f"{action}:{object_id}"
    if not wish:
        return same
    return f"{same}:{sha256(dump_json(wish).encode()).hexdigest()[:_DIGEST_LETTERS]}"


def _to_person(row: Row) -> Person:
    return Person(
        person_id=row.person_id,
        name=row.name,
        sealed_name=row.sealed_name,
        created_at=from_us(row.created_at_us),
        erased_at=_time(row.erased_at_us),
    )


def _to_token(row: Row) -> StaffToken:
    return StaffToken(
        token_id=row.token_id,
        name=row.name,
        role=cast(StaffRole, row.role),
        created_at=from_us(row.created_at_us),
        expires_at=from_us(row.expires_at_us),
        revoked_at=_time(row.revoked_at_us),
        person_id=row.person_id,
        previous_ends_at=_time(row.previous_ends_at_us),
    )


def _to_approval(row: Row, now: datetime) -> Approval:
    # Whoever closes overdue requests may be late; what callers see is never.
    overdue = row.state == "requested" and row.expires_at_us <= to_us(now)
    return Approval(
        approval_id=row.approval_id,
        action=row.action,
        object_id=row.object_id,
        parameters=load_object(row.parameters),
        reason=row.reason,
        state="expired" if overdue else cast(ApprovalState, row.state),
        requested_by=row.requested_by,
        requested_at=from_us(row.requested_at_us),
        expires_at=from_us(row.expires_at_us),
        decided_by=row.decided_by,
        decided_at=_time(row.decided_at_us),
        operation_id=None if row.operation_id is None else OperationId(row.operation_id),
        version=row.version,
    )


def _time(value: int | None) -> datetime | None:
    return None if value is None else from_us(value)

"""SQL of staff tokens."""

from __future__ import annotations

from typing import cast

from sqlalchemy import bindparam, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from tenancy.errors import StaffTokenNotFound
from tenancy.staff import tables
from tenancy.staff.record import StaffRole, StaffToken

_token = tables.staff_token

_ADD = insert(_token)
_BY_HASH = select(_token).where(_token.c.token_hash == bindparam("b_hash"))
_GET = select(_token).where(_token.c.token_id == bindparam("b_token"))
_LIST = (
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


def add_token(tx: Tx, token: StaffToken, *, token_hash: str) -> None:
    """Store a token."""
    tx.write(
        _ADD,
        {
            "token_id": token.token_id,
            "name": token.name,
            "role": token.role,
            "token_hash": token_hash,
            "created_at_us": to_us(token.created_at),
            "expires_at_us": to_us(token.expires_at),
            "revoked_at_us": None,
        },
    )


def find_by_hash(reader: Reader, token_hash: str) -> StaffToken | None:
    """The token with that hash."""
    row = reader.first(_BY_HASH, {"b_hash": token_hash})
    return None if row is None else _to_token(row)


def get_token(reader: Reader, token_id: str) -> StaffToken:
    """Read one token.

    Raises:
        StaffTokenNotFound: there is none of that id.
    """
    row = reader.first(_GET, {"b_token": token_id})
    if row is None:
        raise StaffTokenNotFound("There is no such staff token.")
    return _to_token(row)


def list_tokens(reader: Reader, *, after: str, limit: int) -> list[StaffToken]:
    """Tokens with an id above `after`, oldest first, those that ended too."""
    return [_to_token(row) for row in reader.all(_LIST, {"b_after": after, "b_limit": limit})]


def revoke_token(tx: Tx, token_id: str) -> bool:
    """End a token. False if it had been ended before, or does not exist."""
    return tx.write(_REVOKE, {"b_token": token_id, "b_now": to_us(tx.now)}) == 1


def _to_token(row: Row) -> StaffToken:
    return StaffToken(
        token_id=row.token_id,
        name=row.name,
        role=cast(StaffRole, row.role),
        created_at=from_us(row.created_at_us),
        expires_at=from_us(row.expires_at_us),
        revoked_at=None if row.revoked_at_us is None else from_us(row.revoked_at_us),
    )

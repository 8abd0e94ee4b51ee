"""SQL of revocation lists: instance schema."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, func, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from tenancy.access.errors import RevocationListNotFound
from tenancy.access.revocation.revocation_list import RevocationList
from tenancy.access.tables import revocation_list as _list

_ADD = insert(_list)
_ONE = select(_list).where(_list.c.authority == bindparam("b_authority"))
_ALL = select(_list).order_by(_list.c.authority)
_COUNT = select(func.count().label("lists")).select_from(_list)
_REPLACE = (
    update(_list)
    .where(_list.c.authority == bindparam("b_authority"), _list.c.version == bindparam("b_version"))
    .values(
        certificate=bindparam("b_certificate"),
        pem=bindparam("b_pem"),
        number=bindparam("b_number"),
        entries=bindparam("b_entries"),
        this_update_us=bindparam("b_this_update"),
        next_update_us=bindparam("b_next_update"),
        changed_at_us=bindparam("b_now"),
        version=_list.c.version + 1,
    )
)
_REMOVE = delete(_list).where(_list.c.authority == bindparam("b_authority"))


def add_list(tx: Tx, new: RevocationList) -> None:
    """Store the first list of an authority."""
    tx.write(
        _ADD,
        {
            "authority": new.authority,
            "issuer": new.issuer,
            "certificate": new.certificate,
            "pem": new.pem,
            "number": _text(new.number),
            "entries": new.entries,
            "this_update_us": to_us(new.this_update),
            "next_update_us": to_us(new.next_update),
            "version": new.version,
            "created_at_us": to_us(tx.now),
            "changed_at_us": to_us(tx.now),
        },
    )


def replace_list(tx: Tx, old: RevocationList, new: RevocationList) -> None:
    """Store a newer list in place of one that was read in this transaction, after `touch`."""
    tx.write(
        _REPLACE,
        {
            "b_authority": old.authority,
            "b_version": old.version,
            "b_certificate": new.certificate,
            "b_pem": new.pem,
            "b_number": _text(new.number),
            "b_entries": new.entries,
            "b_this_update": to_us(new.this_update),
            "b_next_update": to_us(new.next_update),
            "b_now": to_us(tx.now),
        },
    )


def find_list(reader: Reader, authority: str) -> RevocationList | None:
    """The list of an authority."""
    row = reader.first(_ONE, {"b_authority": authority})
    return None if row is None else _to_list(row)


def get_list(reader: Reader, authority: str) -> RevocationList:
    """The list of an authority.

    Raises:
        RevocationListNotFound: there is none.
    """
    found = find_list(reader, authority)
    if found is None:
        raise RevocationListNotFound("There is no revocation list of that authority.")
    return found


def list_lists(reader: Reader) -> list[RevocationList]:
    """All lists of the instance."""
    return [_to_list(row) for row in reader.all(_ALL)]


def count_lists(reader: Reader) -> int:
    """How many lists there are."""
    return int(str(reader.scalar(_COUNT)))


def remove_list(tx: Tx, authority: str) -> None:
    """Forget the list of an authority."""
    tx.write(_REMOVE, {"b_authority": authority})


def _text(number: int | None) -> str | None:
    """Numbers have up to 20 bytes (RFC 5280 §5.2.3), more than any database counts."""
    return None if number is None else str(number)


def _to_list(row: Row) -> RevocationList:
    return RevocationList(
        authority=row.authority,
        issuer=row.issuer,
        certificate=row.certificate,
        pem=row.pem,
        number=None if row.number is None else int(row.number),
        entries=row.entries,
        this_update=from_us(row.this_update_us),
        next_update=from_us(row.next_update_us),
        version=row.version,
        created_at=from_us(row.created_at_us),
        changed_at=from_us(row.changed_at_us),
    )

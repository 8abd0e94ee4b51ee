"""SQL of refused callers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from sqlalchemy import bindparam, delete, func, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Tx
from app.core.db_statement import Parameters
from tenancy.access import tables
from tenancy.access.failure.log import MOST_ROWS, AccessFailure

_failure = tables.access_failure

_IS: Final = (
    (_failure.c.client == bindparam("b_client"))
    & (_failure.c.network == bindparam("b_network"))
    & (_failure.c.code == bindparam("b_code"))
)
_MORE = (
    update(_failure)
    .where(_IS)
    .values(failures=_failure.c.failures + bindparam("b_failures"), last_at_us=bindparam("b_last"))
)
_ADD = insert(_failure)
_COUNT = select(func.count().label("n")).select_from(_failure)
_LATEST = select(_failure).order_by(
    _failure.c.last_at_us.desc(), _failure.c.client, _failure.c.network, _failure.c.code
)
_OLDEST = (
    select(_failure.c.client, _failure.c.network, _failure.c.code)
    .order_by(_failure.c.last_at_us)
    .limit(bindparam("b_limit"))
)
_REMOVE = delete(_failure).where(_IS)


def add_failures(tx: Tx, failures: Iterable[AccessFailure]) -> None:
    """Add to what was counted before; the rows seen last longest ago go when there are too many."""
    for each in sorted(failures, key=lambda one: (one.client, one.network, one.code)):
        _add_failure(tx, each)
    surplus = cast(int, tx.scalar(_COUNT)) - MOST_ROWS
    if surplus > 0:
        old = tx.all(_OLDEST, {"b_limit": surplus})
        tx.write_many(_REMOVE, [{"b_client": row[0], "b_network": row[1], "b_code": row[2]} for row in old])


def list_failures(reader: Reader) -> list[AccessFailure]:
    """Everything that is kept, the latest first; bounded."""
    return [
        AccessFailure(
            client=row.client,
            network=row.network,
            code=row.code,
            failures=row.failures,
            first_at=from_us(row.first_at_us),
            last_at=from_us(row.last_at_us),
        )
        for row in reader.all(_LATEST)
    ]


def _add_failure(tx: Tx, each: AccessFailure) -> None:
    last = to_us(each.last_at)
    more: Parameters = {
        "b_client": each.client,
        "b_network": each.network,
        "b_code": each.code,
        "b_failures": each.failures,
        "b_last": last,
    }
    if tx.write(_MORE, more) == 1:
        return
    new: Parameters = {
        "client": each.client,
        "network": each.network,
        "code": each.code,
        "failures": each.failures,
        "first_at_us": to_us(each.first_at),
        "last_at_us": last,
    }
    if not tx.insert_if_absent(_ADD, new):
        # Another line was faster.
        tx.write(_MORE, more)

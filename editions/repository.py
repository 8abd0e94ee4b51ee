"""SQL of meters: counters, notices and leases. Rows never leave this module.

Every function that changes a number of a meter touches that meter's counter row, and `add_to_counter` comes
first in a transaction: whoever has touched the row has the meter to itself until it commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Select, and_, bindparam, case, func, insert, select, update

from app.core.clock import to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import SqlValue
from editions.catalog import WEB_SERVICE_CALLS, Meter
from editions.contract.repository import CONTRACT_COLUMNS, TOUCHES_MONTH, list_contracts, to_contracts
from editions.limit import Contract
from editions.period import Month
from editions.tables import call_lease, contract, ledger_entry, meter_counter, meter_notice


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterView:
    """A meter of a month with everything a decision about it needs, read in one statement."""

    taken: int
    used: int
    noticed_limit: int
    noticed_threshold: int
    contracts: tuple[Contract, ...]
    reserved: int = 0
    voided: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Rights of one line for one month."""

    line: str
    month: Month
    granted: int
    used: int
    fence: int


_counter_key = and_(
    meter_counter.c.meter == bindparam("b_meter"), meter_counter.c.month == bindparam("b_month")
)
_ADD = (
    update(meter_counter)
    .where(_counter_key)
    .values(
        taken=meter_counter.c.taken + bindparam("b_taken"),
        used=meter_counter.c.used + bindparam("b_used"),
        version=meter_counter.c.version + 1,
    )
)
_ADD_VOIDED = (
    update(meter_counter)
    .where(_counter_key)
    .values(
        taken=meter_counter.c.taken - bindparam("b_voided"),
        used=meter_counter.c.used - bindparam("b_voided"),
        voided=meter_counter.c.voided + bindparam("b_voided"),
        version=meter_counter.c.version + 1,
    )
)
_HOLD = update(meter_counter).where(_counter_key).values(taken=meter_counter.c.taken)
_INSERT_COUNTER = insert(meter_counter)
_SET_NOTICED = (
    update(meter_counter)
    .where(_counter_key)
    .values(noticed_limit=bindparam("b_limit"), noticed_threshold=bindparam("b_threshold"))
)
_COUNTER_COLUMNS = (
    meter_counter.c.taken,
    meter_counter.c.used,
    meter_counter.c.noticed_limit,
    meter_counter.c.noticed_threshold,
)
_VIEW = (
    select(*_COUNTER_COLUMNS, *CONTRACT_COLUMNS)
    .select_from(meter_counter.outerjoin(contract, TOUCHES_MONTH))
    .where(_counter_key)
)
_COUNTER = select(*_COUNTER_COLUMNS, meter_counter.c.voided).where(_counter_key)
_INSERT_NOTICE = insert(meter_notice)
_NOTICES = (
    select(
        meter_notice.c.threshold, meter_notice.c.contractual_limit, meter_notice.c.used, meter_notice.c.at_us
    )
    .where(meter_notice.c.meter == bindparam("b_meter"), meter_notice.c.month == bindparam("b_month"))
    .order_by(meter_notice.c.at_us, meter_notice.c.contractual_limit, meter_notice.c.threshold)
)
_lease_key = and_(
    call_lease.c.line == bindparam("b_line"),
    call_lease.c.meter == bindparam("b_meter"),
    call_lease.c.month == bindparam("b_month"),
)
_TAKE_OVER = update(call_lease).where(_lease_key).values(fence=call_lease.c.fence + 1)
_INSERT_LEASE = insert(call_lease)
_CHANGE_LEASE = (
    update(call_lease)
    .where(_lease_key, call_lease.c.fence == bindparam("b_fence"))
    .values(
        granted=call_lease.c.granted + bindparam("b_granted"), used=call_lease.c.used + bindparam("b_used")
    )
)
_LEASE = select(call_lease.c.granted, call_lease.c.used, call_lease.c.fence).where(_lease_key)
_COUNTERS = select(meter_counter)
_LEASES = select(call_lease)


def add_to_counter(tx: Tx, meter: Meter, month: Month, *, taken: int = 0, used: int = 0) -> None:
    """Touch a meter's counter row and add to it; makes the row at the month's first use."""
    change: dict[str, SqlValue] = {"b_meter": meter, "b_month": str(month), "b_taken": taken, "b_used": used}
    if tx.write(_ADD, change):
        return
    row: dict[str, SqlValue] = {
        "meter": meter,
        "month": str(month),
        "taken": taken,
        "used": used,
        "version": 1,
        "voided": 0,
    }
    if not tx.insert_if_absent(_INSERT_COUNTER, {**row, "noticed_limit": 0, "noticed_threshold": 0}):
        tx.write(_ADD, change)


def take_back(tx: Tx, meter: Meter, month: Month, number: int) -> None:
    """Take counts off a meter whose counter row the transaction has touched."""
    if tx.write(_ADD_VOIDED, {"b_meter": meter, "b_month": str(month), "b_voided": number}) != 1:
        raise RuntimeError("a counter that has counted is missing")


def hold_counter(tx: Tx, meter: Meter, month: Month) -> None:
    """Touch a meter's counter row, if the month has one, and leave it as it is."""
    tx.write(_HOLD, {"b_meter": meter, "b_month": str(month)})


def load_meter(reader: Reader, meter: Meter, month: Month) -> MeterView:
    """Read a meter whose counter row the transaction has touched, with the contracts of the month."""
    return _view(reader.all(_VIEW, _month_parameters(meter, month)))


def load_meter_and_reservations(
    reader: Reader, meter: Meter, month: Month, effect_ids: Sequence[str]
) -> MeterView:
    """As `load_meter`; `reserved` says how many of the effects were reserved in that month."""
    places = max(4, 1 << (len(effect_ids) - 1).bit_length())
    parameters: dict[str, SqlValue] = dict(_month_parameters(meter, month))
    for place in range(places):
        parameters[f"b_effect_{place}"] = effect_ids[min(place, len(effect_ids) - 1)]
    return _view(reader.all(_view_with_reservations(places), parameters))


@lru_cache(maxsize=16)
def _view_with_reservations(places: int) -> Select[Any]:
    """One statement per power of two, so that the number of prepared statements stays small."""
    # The month is compared outside WHERE: an optimizer that finds it there may walk through the whole month's index.
    reserved = (
        select(func.count(case((ledger_entry.c.month == bindparam("b_month"), 1))))
        .where(
            ledger_entry.c.effect_id.in_([bindparam(f"b_effect_{place}") for place in range(places)]),
            ledger_entry.c.step == 0,
        )
        .scalar_subquery()
    )
    return _VIEW.add_columns(reserved.label("reserved"))


def find_meter(reader: Reader, meter: Meter, month: Month) -> MeterView:
    """Read a meter without touching it; one that was never used reads as zero."""
    contracts = list_contracts(reader, month)
    row = reader.first(_COUNTER, {"b_meter": meter, "b_month": str(month)})
    if row is None:
        return MeterView(taken=0, used=0, noticed_limit=0, noticed_threshold=0, contracts=contracts)
    return MeterView(
        taken=row.taken,
        used=row.used,
        noticed_limit=row.noticed_limit,
        noticed_threshold=row.noticed_threshold,
        contracts=contracts,
        voided=row.voided,
    )


def add_notice(tx: Tx, meter: Meter, month: Month, *, threshold: int, limit: int, used: int) -> bool:
    """Note that a threshold was reached under a limit; False when that had been noted before."""
    row: dict[str, SqlValue] = {
        "meter": meter,
        "month": str(month),
        "threshold": threshold,
        "contractual_limit": limit,
    }
    return tx.insert_if_absent(_INSERT_NOTICE, {**row, "used": used, "at_us": to_us(tx.now)})


def set_noticed(tx: Tx, meter: Meter, month: Month, *, threshold: int, limit: int) -> None:
    """Remember on the counter up to where notices are written, so that most counts need not look."""
    tx.write(
        _SET_NOTICED, {"b_meter": meter, "b_month": str(month), "b_limit": limit, "b_threshold": threshold}
    )


def list_notices(reader: Reader, meter: Meter, month: Month) -> list[tuple[int, int]]:
    """(threshold, contractual limit) of a month's notices, oldest first."""
    rows = reader.all(_NOTICES, {"b_meter": meter, "b_month": str(month)})
    return [(row.threshold, row.contractual_limit) for row in rows]


def take_lease_over(tx: Tx, line: str, month: Month) -> Lease:
    """Make the caller the only owner of a line's lease; makes an empty one at the month's first use."""
    key = {"b_line": line, "b_meter": WEB_SERVICE_CALLS, "b_month": str(month)}
    if not tx.write(_TAKE_OVER, key):
        row: dict[str, SqlValue] = {
            "line": line,
            "meter": WEB_SERVICE_CALLS,
            "month": str(month),
            "granted": 0,
            "used": 0,
            "fence": 1,
        }
        if not tx.insert_if_absent(_INSERT_LEASE, row):
            tx.write(_TAKE_OVER, key)
    found = tx.first(_LEASE, key)
    if found is None:
        raise RuntimeError("a lease that was just touched is missing")
    return Lease(line=line, month=month, granted=found.granted, used=found.used, fence=found.fence)


def change_lease(tx: Tx, line: str, month: Month, *, fence: int, granted: int = 0, used: int = 0) -> bool:
    """Add to a lease; False when somebody else owns it by now."""
    key: dict[str, SqlValue] = {"b_line": line, "b_meter": WEB_SERVICE_CALLS, "b_month": str(month)}
    key["b_fence"] = fence
    return tx.write(_CHANGE_LEASE, {**key, "b_granted": granted, "b_used": used}) == 1


@lru_cache(maxsize=64)
def _month_parameters(meter: Meter, month: Month) -> dict[str, SqlValue]:
    bounds = {"b_start": to_us(month.start), "b_end": to_us(month.end)}
    return {"b_meter": meter, "b_month": str(month), **bounds}


def list_counters(reader: Reader) -> dict[tuple[str, str], tuple[int, int]]:
    """(taken, used) of every counter by (meter, month)."""
    return {(row.meter, row.month): (row.taken, row.used) for row in reader.all(_COUNTERS)}


def count_voided(reader: Reader) -> dict[tuple[str, str], int]:
    """What every counter says was taken back, by (meter, month)."""
    return {(row.meter, row.month): row.voided for row in reader.all(_COUNTERS)}


def list_leases(reader: Reader) -> list[tuple[str, Lease]]:
    """Every lease with its meter."""
    return [
        (
            row.meter,
            Lease(
                line=row.line,
                month=Month.parse(row.month),
                granted=row.granted,
                used=row.used,
                fence=row.fence,
            ),
        )
        for row in reader.all(_LEASES)
    ]


_FIRST_CONTRACT_COLUMN = len(_COUNTER_COLUMNS)
_AFTER_CONTRACT = _FIRST_CONTRACT_COLUMN + len(CONTRACT_COLUMNS)


def _view(rows: list[Row]) -> MeterView:
    found = cast("list[tuple[Any, ...]]", rows)
    first = found[0]
    taken, used, noticed_limit, noticed_threshold = first[:_FIRST_CONTRACT_COLUMN]
    contracts: tuple[Contract, ...] = ()
    if first[_FIRST_CONTRACT_COLUMN] is not None:
        contracts = to_contracts(tuple(row[_FIRST_CONTRACT_COLUMN:_AFTER_CONTRACT] for row in found))
    return MeterView(
        taken=taken,
        used=used,
        noticed_limit=noticed_limit,
        noticed_threshold=noticed_threshold,
        contracts=contracts,
        reserved=first[_AFTER_CONTRACT] if len(first) > _AFTER_CONTRACT else 0,
    )

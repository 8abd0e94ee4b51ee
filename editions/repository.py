"""All SQL of metering. Rows never leave this module.

Every function that changes a number of a meter touches that meter's counter row, and `add_to_counter` comes
first in a transaction: whoever has touched the row has the meter to itself until it commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Select, and_, bindparam, case, func, insert, or_, select, tuple_, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_error import Fault, classify
from app.core.db_statement import SqlValue
from app.core.json import JsonObject, dump_json, load_object
from editions.catalog import METERS, WEB_SERVICE_CALLS, EditionKey, Meter, Overage
from editions.errors import EffectAlreadyRecorded
from editions.limit import Contract, ContractKind
from editions.period import Month
from editions.quota import Phase
from editions.tables import call_lease, contract, ledger_entry, meter_counter, meter_notice

_STEP: dict[Phase, int] = {"reserved": 0, "counted": 1, "released": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterView:
    """A meter of a month with everything a decision about it needs, read in one statement."""

    taken: int
    used: int
    noticed_limit: int
    noticed_threshold: int
    contracts: tuple[Contract, ...]
    reserved: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Rights of one line for one month."""

    line: str
    month: Month
    granted: int
    used: int
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row for the ledger."""

    effect_id: str
    phase: Phase
    kind: str
    subject: str
    reference: str
    principal: str
    at_us: int


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
_HOLD = update(meter_counter).where(_counter_key).values(taken=meter_counter.c.taken)
_INSERT_COUNTER = insert(meter_counter)
_SET_NOTICED = (
    update(meter_counter)
    .where(_counter_key)
    .values(noticed_limit=bindparam("b_limit"), noticed_threshold=bindparam("b_threshold"))
)
_CONTRACT_COLUMNS = (
    contract.c.contract_id,
    contract.c.kind,
    contract.c.edition,
    contract.c.line_count,
    contract.c.overage,
    contract.c.effective_from_us,
    contract.c.effective_until_us,
    contract.c.limits,
)
_touches_month = and_(
    contract.c.effective_from_us < bindparam("b_end"),
    or_(contract.c.effective_until_us.is_(None), contract.c.effective_until_us > bindparam("b_start")),
)
_COUNTER_COLUMNS = (
    meter_counter.c.taken,
    meter_counter.c.used,
    meter_counter.c.noticed_limit,
    meter_counter.c.noticed_threshold,
)
_VIEW = (
    select(*_COUNTER_COLUMNS, *_CONTRACT_COLUMNS)
    .select_from(meter_counter.outerjoin(contract, _touches_month))
    .where(_counter_key)
)
_COUNTER = select(*_COUNTER_COLUMNS).where(_counter_key)
_CONTRACTS_OF_MONTH = select(*_CONTRACT_COLUMNS).where(_touches_month)
_ALL_CONTRACTS = select(*_CONTRACT_COLUMNS).order_by(contract.c.effective_from_us, contract.c.contract_id)
_CONTRACT = select(*_CONTRACT_COLUMNS).where(contract.c.contract_id == bindparam("b_contract"))
_INSERT_CONTRACT = insert(contract)
_END_CONTRACT = (
    update(contract)
    .where(contract.c.contract_id == bindparam("b_contract"), contract.c.effective_until_us.is_(None))
    .values(effective_until_us=bindparam("b_until"))
)
_INSERT_ENTRY = insert(ledger_entry)
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
_position = (ledger_entry.c.at_us, ledger_entry.c.effect_id, ledger_entry.c.step)
_ENTRIES = (
    select(ledger_entry)
    .where(
        ledger_entry.c.meter == bindparam("b_meter"),
        ledger_entry.c.month == bindparam("b_month"),
        ledger_entry.c.at_us >= bindparam("b_at"),
        tuple_(*_position) > tuple_(bindparam("b_at"), bindparam("b_effect"), bindparam("b_step")),
    )
    .order_by(*_position)
    .limit(bindparam("b_limit"))
)
_COUNTERS = select(meter_counter)
_ENTRY_NUMBERS = select(
    ledger_entry.c.meter, ledger_entry.c.month, ledger_entry.c.phase, func.count().label("number")
).group_by(ledger_entry.c.meter, ledger_entry.c.month, ledger_entry.c.phase)
_reservation = ledger_entry.alias("reservation")
_UNRESERVED = (
    select(func.count().label("number"))
    .select_from(
        ledger_entry.outerjoin(
            _reservation,
            and_(
                _reservation.c.effect_id == ledger_entry.c.effect_id,
                _reservation.c.step == 0,
                _reservation.c.month == ledger_entry.c.month,
            ),
        )
    )
    .where(
        ledger_entry.c.meter == bindparam("b_meter"),
        ledger_entry.c.step == 1,
        _reservation.c.effect_id.is_(None),
    )
)
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
    }
    if not tx.insert_if_absent(_INSERT_COUNTER, {**row, "noticed_limit": 0, "noticed_threshold": 0}):
        tx.write(_ADD, change)


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
    )


def add_entries(tx: Tx, meter: Meter, month: Month, entries: Iterable[Entry]) -> None:
    """Append to the ledger.

    Raises:
        EffectAlreadyRecorded: a row with this effect and step exists.
    """
    month_text = str(month)
    rows: list[dict[str, SqlValue]] = [
        {
            "effect_id": each.effect_id,
            "step": _STEP[each.phase],
            "phase": each.phase,
            "meter": meter,
            "month": month_text,
            "kind": each.kind,
            "subject": each.subject,
            "reference": each.reference,
            "principal": each.principal,
            "at_us": each.at_us,
        }
        for each in entries
    ]
    try:
        tx.write_many(_INSERT_ENTRY, rows)
    except Exception as error:
        if classify(error, committing=False) is not Fault.DUPLICATE:
            raise
        raise EffectAlreadyRecorded("This effect was recorded before.") from error


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


def list_contracts(reader: Reader, month: Month | None = None) -> tuple[Contract, ...]:
    """All contract rows, or those that touch a month."""
    if month is None:
        return _to_contracts(reader.all(_ALL_CONTRACTS))
    bounds = {"b_start": to_us(month.start), "b_end": to_us(month.end)}
    return _to_contracts(reader.all(_CONTRACTS_OF_MONTH, bounds))


def find_contract(reader: Reader, contract_id: str) -> Contract | None:
    """One contract row."""
    found = _to_contracts(reader.all(_CONTRACT, {"b_contract": contract_id}))
    return found[0] if found else None


def add_contract(tx: Tx, row: Contract) -> bool:
    """Insert a contract row; False when the id is taken."""
    return tx.insert_if_absent(
        _INSERT_CONTRACT,
        {
            "contract_id": row.contract_id,
            "kind": row.kind,
            "edition": row.edition,
            "line_count": row.lines,
            "overage": row.overage,
            "effective_from_us": to_us(row.effective_from),
            "effective_until_us": None if row.effective_until is None else to_us(row.effective_until),
            "limits": None
            if row.limits is None
            else dump_json({str(key): value for key, value in row.limits.items()}),
            "recorded_at_us": to_us(tx.now),
        },
    )


def end_contract(tx: Tx, row: Contract) -> bool:
    """Give an open-ended row its end; False when it has one already."""
    until = None if row.effective_until is None else to_us(row.effective_until)
    return tx.write(_END_CONTRACT, {"b_contract": row.contract_id, "b_until": until}) == 1


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


def list_entries(
    reader: Reader, meter: Meter, month: Month, *, after: tuple[int, str, int], limit: int
) -> list[tuple[Entry, tuple[int, str, int]]]:
    """Ledger rows behind a position (time in microseconds, effect id, step), oldest first, each with its own."""
    at_us, effect_id, step = after
    parameters: dict[str, SqlValue] = {"b_meter": meter, "b_month": str(month), "b_limit": limit}
    rows = reader.all(_ENTRIES, {**parameters, "b_at": at_us, "b_effect": effect_id, "b_step": step})
    return [
        (
            Entry(
                effect_id=row.effect_id,
                phase=cast(Phase, row.phase),
                kind=row.kind,
                subject=row.subject,
                reference=row.reference,
                principal=row.principal,
                at_us=row.at_us,
            ),
            (row.at_us, row.effect_id, row.step),
        )
        for row in rows
    ]


def list_counters(reader: Reader) -> dict[tuple[str, str], tuple[int, int]]:
    """(taken, used) of every counter by (meter, month)."""
    return {(row.meter, row.month): (row.taken, row.used) for row in reader.all(_COUNTERS)}


def count_entries(reader: Reader) -> dict[tuple[str, str, str], int]:
    """Number of ledger rows by (meter, month, phase)."""
    return {(row.meter, row.month, row.phase): row.number for row in reader.all(_ENTRY_NUMBERS)}


def count_unreserved(reader: Reader, meter: Meter) -> int:
    """Number of ledger rows that end an effect which was never reserved in the same month."""
    return cast(int, reader.scalar(_UNRESERVED, {"b_meter": meter}))


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


_ContractRow = tuple[str, str, str, int, str, int, int | None, str | None]


_FIRST_CONTRACT_COLUMN = len(_COUNTER_COLUMNS)
_AFTER_CONTRACT = _FIRST_CONTRACT_COLUMN + len(_CONTRACT_COLUMNS)


def _view(rows: list[Row]) -> MeterView:
    found = cast("list[tuple[Any, ...]]", rows)
    first = found[0]
    taken, used, noticed_limit, noticed_threshold = first[:_FIRST_CONTRACT_COLUMN]
    contracts: tuple[Contract, ...] = ()
    if first[_FIRST_CONTRACT_COLUMN] is not None:
        contracts = _contracts(tuple(row[_FIRST_CONTRACT_COLUMN:_AFTER_CONTRACT] for row in found))
    return MeterView(
        taken=taken,
        used=used,
        noticed_limit=noticed_limit,
        noticed_threshold=noticed_threshold,
        contracts=contracts,
        reserved=first[_AFTER_CONTRACT] if len(first) > _AFTER_CONTRACT else 0,
    )


def _to_contracts(rows: list[Row]) -> tuple[Contract, ...]:
    return _contracts(tuple(cast("list[_ContractRow]", rows)))


@lru_cache(maxsize=256)
def _contracts(rows: tuple[_ContractRow, ...]) -> tuple[Contract, ...]:
    """Contracts change rarely and are read with every count: equal rows give the same tuple again."""
    return tuple(_to_contract(row) for row in rows)


def _to_contract(row: _ContractRow) -> Contract:
    contract_id, kind, edition, lines, overage, from_us_, until_us, limits = row
    return Contract(
        contract_id=contract_id,
        kind=cast(ContractKind, kind),
        edition=cast(EditionKey, edition),
        lines=lines,
        overage=cast(Overage, overage),
        effective_from=from_us(from_us_),
        effective_until=None if until_us is None else from_us(until_us),
        limits=None if limits is None else _to_limits(load_object(limits)),
    )


def _to_limits(value: JsonObject) -> dict[Meter, int]:
    return {meter: cast(int, value[meter]) for meter in METERS if meter in value}

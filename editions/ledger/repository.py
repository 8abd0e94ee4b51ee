"""SQL of the ledger. Rows never leave this module; they are appended, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Select, and_, bindparam, func, insert, select, tuple_

from app.core.db import Reader, Tx
from app.core.db_error import Fault, classify
from app.core.db_statement import SqlValue
from editions.catalog import Meter
from editions.errors import EffectAlreadyRecorded
from editions.period import Month
from editions.quota import Phase
from editions.tables import ledger_entry

_STEP: dict[Phase, int] = {"reserved": 0, "counted": 1, "released": 1, "voided": 2}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """One row of the ledger, with its meter and month."""

    effect_id: str
    phase: Phase
    meter: Meter
    month: str
    kind: str
    subject: str
    reference: str
    principal: str


_INSERT_ENTRY = insert(ledger_entry)
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
_count = ledger_entry.alias("count")
_UNCOUNTED = (
    select(func.count().label("number"))
    .select_from(
        ledger_entry.outerjoin(
            _count,
            and_(
                _count.c.effect_id == ledger_entry.c.effect_id,
                _count.c.step == 1,
                _count.c.phase == "counted",
                _count.c.month == ledger_entry.c.month,
                _count.c.meter == ledger_entry.c.meter,
            ),
        )
    )
    .where(
        ledger_entry.c.meter == bindparam("b_meter"), ledger_entry.c.step == 2, _count.c.effect_id.is_(None)
    )
)


def list_steps(reader: Reader, effect_ids: Sequence[str]) -> list[StoredEntry]:
    """Every ledger row of some effects, in any month; step by step for each effect."""
    places = 1 << (len(effect_ids) - 1).bit_length()
    named = {f"b_effect_{place}": effect_ids[min(place, len(effect_ids) - 1)] for place in range(places)}
    return [
        StoredEntry(
            effect_id=row.effect_id,
            phase=cast(Phase, row.phase),
            meter=cast(Meter, row.meter),
            month=row.month,
            kind=row.kind,
            subject=row.subject,
            reference=row.reference,
            principal=row.principal,
        )
        for row in reader.all(_steps_of(places), named)
    ]


@lru_cache(maxsize=16)
def _steps_of(places: int) -> Select[Any]:
    """One statement per power of two, so that the number of prepared statements stays small."""
    return (
        select(ledger_entry)
        .where(ledger_entry.c.effect_id.in_([bindparam(f"b_effect_{place}") for place in range(places)]))
        .order_by(ledger_entry.c.effect_id, ledger_entry.c.step)
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


def count_entries(reader: Reader) -> dict[tuple[str, str, str], int]:
    """Number of ledger rows by (meter, month, phase)."""
    return {(row.meter, row.month, row.phase): row.number for row in reader.all(_ENTRY_NUMBERS)}


def count_unreserved(reader: Reader, meter: Meter) -> int:
    """Number of ledger rows that end an effect which was never reserved in the same month."""
    return cast(int, reader.scalar(_UNRESERVED, {"b_meter": meter}))


def count_uncounted(reader: Reader, meter: Meter) -> int:
    """Number of ledger rows that take back what was never counted in the same month."""
    return cast(int, reader.scalar(_UNCOUNTED, {"b_meter": meter}))

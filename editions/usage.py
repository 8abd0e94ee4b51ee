"""What was used of a month: quota state, report, ledger pages, and the audit that recomputes it all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from app.core.clock import from_us
from app.core.db import Reader
from app.core.errors import InputInvalid
from editions import repository
from editions.catalog import ACTIVATIONS, METERS, EditionKey, Meter, Overage
from editions.contract import repository as contracts
from editions.ledger import repository as ledger
from editions.limit import Contract
from editions.metering import find_quota
from editions.period import Month
from editions.quota import Phase, QuotaState

_PAGE_MOST = 1_000
"""Most ledger rows in one page. A choice of ours."""
_BEFORE_ALL = (-1, "", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterUsage:
    """One meter of one month.

    Attributes:
        used: counted, and not taken back.
        voided: counted and taken back later.
        open: taken but not counted yet: reservations, or rights that lines hold in stock.
        thresholds: those reached under the limit in force, in per cent.
    """

    meter: Meter
    included: bool
    used: int
    open: int
    contractual: int
    refusal: int
    edition: EditionKey | None
    overage: Overage | None
    thresholds: tuple[int, ...]
    voided: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A month as it is reported to the customer.

    Attributes:
        contracts: rows that were in force at some instant of the month.
    """

    month: Month
    resets_at: datetime
    meters: tuple[MeterUsage, ...]
    contracts: tuple[Contract, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One row of the ledger.

    Attributes:
        subject: licence id, or the name of the web-service operation.
        reference: transfer id, or request id.
        position: pass it as `after` to go on behind this row.
    """

    effect_id: str
    phase: Phase
    kind: str
    subject: str
    reference: str
    principal: str
    at: datetime
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """Something that does not agree with the ledger: a defect, to be shown to staff.

    Attributes:
        what: `used`, `taken`, `voided`, `lease`, `unreserved` or `uncounted`.
    """

    meter: str
    month: str
    what: str
    expected: int
    found: int


def quota_state(reader: Reader, meter: Meter, at: datetime) -> QuotaState:
    """One meter in the month of an instant, with the limit in force at that instant."""
    return find_quota(reader, meter, at)[1]


def usage(reader: Reader, month: Month) -> Usage:
    """The report of a month, with the limits in force now, or at its last (or first) instant."""
    at = month.clamp(reader.now)
    return Usage(
        month=month,
        resets_at=month.end,
        meters=tuple(_meter_usage(reader, meter, at) for meter in METERS),
        contracts=contracts.list_contracts(reader, month),
    )


def _meter_usage(reader: Reader, meter: Meter, at: datetime) -> MeterUsage:
    limit, state = find_quota(reader, meter, at)
    notices = repository.list_notices(reader, meter, state.month)
    return MeterUsage(
        meter=meter,
        included=state.included,
        used=state.used,
        open=state.taken - state.used,
        contractual=state.contractual,
        refusal=state.refusal,
        edition=None if limit is None else limit.edition,
        overage=None if limit is None else limit.overage,
        thresholds=tuple(sorted(threshold for threshold, noted in notices if noted == state.contractual)),
        voided=repository.find_meter(reader, meter, state.month).voided,
    )


def list_ledger(
    reader: Reader, month: Month, *, meter: Meter, after: str = "", limit: int = 100
) -> list[LedgerEntry]:
    """One page of the ledger, oldest first.

    Args:
        reader: where to read.
        month: which month.
        meter: which meter.
        after: `position` of the last row seen; empty for the first page.
        limit: rows at most, 1–1,000.

    Raises:
        InputInvalid: `after` is not a position, or `limit` is out of range.
    """
    if not 1 <= limit <= _PAGE_MOST:
        raise InputInvalid("The number of rows is out of range.", field="limit", least=1, most=_PAGE_MOST)
    found = ledger.list_entries(reader, meter, month, after=_parse_position(after), limit=limit)
    return [
        LedgerEntry(
            effect_id=entry.effect_id,
            phase=entry.phase,
            kind=entry.kind,
            subject=entry.subject,
            reference=entry.reference,
            principal=entry.principal,
            at=from_us(entry.at_us),
            position=f"{at_us}:{step}:{effect_id}",
        )
        for entry, (at_us, effect_id, step) in found
    ]


def _parse_position(text: str) -> tuple[int, str, int]:
    if not text:
        return _BEFORE_ALL
    at_us, _, rest = text.partition(":")
    step, _, effect_id = rest.partition(":")
    if not (at_us.isdecimal() and len(at_us) <= 16 and step in ("0", "1", "2") and effect_id):
        raise InputInvalid("This is not a position in the ledger.", field="after")
    return int(at_us), effect_id, int(step)


def audit_meters(reader: Reader) -> tuple[Discrepancy, ...]:
    """Recompute every counter and lease from the ledger; empty when all agree. Reads the whole ledger."""
    return tuple(_discrepancies(reader))


def _discrepancies(reader: Reader) -> Iterator[Discrepancy]:
    entries = ledger.count_entries(reader)
    stock: dict[tuple[str, str], int] = {}
    for meter, lease in repository.list_leases(reader):
        key = (meter, str(lease.month))
        stock[key] = stock.get(key, 0) + lease.granted - lease.used
        if not 0 <= lease.used <= lease.granted:
            yield Discrepancy(
                meter=meter, month=key[1], what="lease", expected=lease.granted, found=lease.used
            )
    yield from _wrong_counters(reader, entries, stock)
    unreserved = ledger.count_unreserved(reader, ACTIVATIONS)
    if unreserved:
        yield Discrepancy(meter=ACTIVATIONS, month="", what="unreserved", expected=0, found=unreserved)
    for meter in METERS:
        uncounted = ledger.count_uncounted(reader, meter)
        if uncounted:
            yield Discrepancy(meter=meter, month="", what="uncounted", expected=0, found=uncounted)


def _wrong_counters(
    reader: Reader, entries: Mapping[tuple[str, str, str], int], stock: Mapping[tuple[str, str], int]
) -> Iterator[Discrepancy]:
    counters, taken_back = repository.list_counters(reader), repository.count_voided(reader)
    for key in sorted({*counters, *stock, *((meter, month) for meter, month, _ in entries)}):
        meter, month = key
        voided = entries.get((meter, month, "voided"), 0)
        counted = entries.get((meter, month, "counted"), 0) - voided
        held = counted + stock.get(key, 0)
        if meter == ACTIVATIONS:
            reserved, released = (entries.get((meter, month, phase), 0) for phase in ("reserved", "released"))
            held = reserved - released - voided
        taken, used = counters.get(key, (0, 0))
        for what, expected, found in (
            ("used", counted, used),
            ("taken", held, taken),
            ("voided", voided, taken_back.get(key, 0)),
        ):
            if expected != found:
                yield Discrepancy(meter=meter, month=month, what=what, expected=expected, found=found)

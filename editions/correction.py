"""Taking counts back that should never have been made, inside somebody else's transaction.

    counted ──void──► voided        counter.taken −1, counter.used −1, counter.voided +1

Nothing is erased: the ledger gets one more row for each effect. A reservation is not taken back but released, and
what was released counts for nothing already.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.core.clock import to_us
from app.core.db import Reader, Tx
from app.core.errors import InputInvalid
from editions import repository
from editions.catalog import METERS, Meter
from editions.errors import (
    EditionsError,
    EffectAlreadyVoided,
    EffectNotCounted,
    EffectNotFound,
    EffectNotVoidable,
)
from editions.ledger import repository as ledger
from editions.ledger.repository import Entry, StoredEntry
from editions.period import Month

MOST_EFFECTS = 500
"""Counts taken back in one transaction. **Source:** high availability reference §1.5."""
_VOIDABLE = frozenset({"activation", "web_service_call"})


def void(tx: Tx, effect_ids: Sequence[str], *, month: Month, reference: str) -> dict[Meter, int]:
    """Take counts back, all or none. The same again with the same reference changes nothing.

    Args:
        tx: a transaction on the instance's database.
        effect_ids: 1 to 500, each once.
        month: in which they were counted; may be over.
        reference: id of the correction, for the ledger.

    Returns:
        how many were taken back now, by meter.

    Raises:
        InputInvalid: no effects, too many, or one twice.
        EffectNotFound, EffectNotCounted, EffectNotVoidable, EffectAlreadyVoided: one of them cannot be taken back.
    """
    for meter in METERS:
        repository.hold_counter(tx, meter, month)
    counts = _countable(tx, effect_ids, month=month, reference=reference)
    taken_back: dict[Meter, int] = {}
    for meter in METERS:
        mine = [each for each in counts if each.meter == meter]
        if mine:
            entries = [_entry(each, reference=reference, at_us=to_us(tx.now)) for each in mine]
            ledger.add_entries(tx, meter, month, entries)
            repository.take_back(tx, meter, month, len(mine))
            taken_back[meter] = len(mine)
    return taken_back


def check_voidable(reader: Reader, effect_ids: Sequence[str], *, month: Month) -> dict[Meter, int]:
    """How many counts of each meter `void` would take back now.

    Raises:
        InputInvalid, EffectNotFound, EffectNotCounted, EffectNotVoidable, EffectAlreadyVoided: as `void`.
    """
    counts = _countable(reader, effect_ids, month=month, reference=None)
    return {meter: number for meter in METERS if (number := sum(each.meter == meter for each in counts))}


def _countable(
    reader: Reader, effect_ids: Sequence[str], *, month: Month, reference: str | None
) -> list[StoredEntry]:
    """The counts to be taken back; without those that this very correction has taken back before."""
    if not 1 <= len(effect_ids) <= MOST_EFFECTS or len(set(effect_ids)) != len(effect_ids):
        raise InputInvalid(
            f"Name 1 to {MOST_EFFECTS} ledger entries, each once.", field="effect_ids", most=MOST_EFFECTS
        )
    last: dict[str, StoredEntry] = {}
    for entry in ledger.list_steps(reader, effect_ids):
        last[entry.effect_id] = entry
    found = []
    for effect_id in effect_ids:
        stored = last.get(effect_id)
        if stored is None or stored.month != str(month):
            raise EffectNotFound(
                "The ledger of that month has no such entry.", effect_id=effect_id, month=str(month)
            )
        refusal = _refusal(stored, reference)
        if refusal is not None:
            raise refusal
        if stored.phase == "counted":
            found.append(stored)
    return found


def _refusal(entry: StoredEntry, reference: str | None) -> EditionsError | None:
    if entry.kind not in _VOIDABLE:
        return EffectNotVoidable(
            "Only activations and web-service calls can be taken back.",
            effect_id=entry.effect_id,
            kind=entry.kind,
        )
    if entry.phase == "voided":
        if entry.reference == reference:
            return None
        return EffectAlreadyVoided(
            "This count was taken back before.", effect_id=entry.effect_id, reference=entry.reference
        )
    if entry.phase != "counted":
        return EffectNotCounted(
            "This entry counts for nothing, so there is nothing to take back.",
            effect_id=entry.effect_id,
            phase=entry.phase,
        )
    return None


def _entry(count: StoredEntry, *, reference: str, at_us: int) -> Entry:
    return Entry(
        effect_id=count.effect_id,
        phase="voided",
        kind=count.kind,
        subject=count.subject,
        reference=reference,
        principal=count.principal,
        at_us=at_us,
    )

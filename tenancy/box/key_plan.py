"""Which firm keys a box needs, has too many of, or must not lose. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from fsb_gateway.error import BoxLast, BoxSpecInvalid, FirmKeyMissing, PoolForeign
from fsb_gateway.report import BoxReport, FirmKeyReport
from tenancy.box.errors import PlanOutdated
from tenancy.box.record import BoxRecord, KeyHome

_SIGNING: Final = frozenset({"ready", "drained", "transactions_exhausted"})
"""Conditions of boxes that would sign if somebody asked and paid."""


def keys_lacking(
    box: str, *, pool: str, keys: Sequence[FirmKeyReport], homes: Sequence[KeyHome]
) -> list[int]:
    """Firm codes of a pool whose key the box does not hold; in order, so that a repeat goes on where it was."""
    codes = {home.firm_code for home in homes if home.pool == pool}
    return sorted(
        key.firm_code
        for key in keys
        if key.firm_code in codes and key.state == "active" and box not in key.boxes
    )


def keys_held(box: str, keys: Sequence[FirmKeyReport]) -> list[int]:
    """Firm codes whose key a box holds."""
    return sorted(key.firm_code for key in keys if box in key.boxes)


def keys_foreign(box: BoxRecord, keys: Sequence[FirmKeyReport], homes: Sequence[KeyHome]) -> list[int]:
    """Firm codes of other pools that a box holds; of those nobody knows any more none: a human has to look."""
    others = {home.firm_code for home in homes if home.pool != box.spec.pool}
    return sorted(key.firm_code for key in keys if box.name in key.boxes and key.firm_code in others)


def codes_out_of_place(box: BoxRecord, codes: Sequence[int], homes: Sequence[KeyHome]) -> list[int]:
    """Firm codes among those in a box whose pool it neither belongs nor is lent to; of nobody's none, as above."""
    pools = (box.spec.pool, box.spec.lent_to)
    others = {home.firm_code for home in homes if home.pool not in pools}
    return sorted(code for code in codes if code in others)


def check_held_elsewhere(
    box: str,
    codes: Sequence[int],
    *,
    keys: Sequence[FirmKeyReport],
    homes: Sequence[KeyHome],
    boxes: Sequence[BoxRecord],
    found: Sequence[BoxReport],
) -> None:
    """Refuse that a key leaves a box if no other box of its own pool holds it: a lent box gives it back some day.

    Args:
        found: all boxes as the gateway reports them; one that cannot sign now holds nothing to rely on.

    Raises:
        BoxLast: names the first such firm code.
    """
    home_of = {home.firm_code: home for home in homes}
    by_code = {key.firm_code: key for key in keys}
    for code in codes:
        if code in home_of:
            check_kept(box, home_of[code], holders=signing(by_code[code].boxes, found), boxes=boxes)


def signing(holders: Collection[str], found: Sequence[BoxReport]) -> set[str]:
    """Those of a key's holders that could sign with it at this moment."""
    return {each.name for each in found if each.name in holders and each.condition in _SIGNING}


def check_kept(box: str, home: KeyHome, *, holders: Collection[str], boxes: Sequence[BoxRecord]) -> None:
    """Refuse that a key leaves a box unless one of its holders is another box of its own pool that stays there.

    Raises:
        BoxLast: none is.
    """
    staying = {
        each.name
        for each in boxes
        if each.state == "active" and each.name != box and each.spec.pool == home.pool
    }
    if staying.isdisjoint(holders):
        raise BoxLast(
            f"no other box of pool {home.pool} holds the key of firm code {home.firm_code}",
            box=box,
            pool=home.pool,
            firm_code=home.firm_code,
        )


def check_destination(box: BoxRecord, home: KeyHome, *, now: datetime) -> None:
    """Refuse to bring a key where no job for it will come.

    Raises:
        PoolForeign: the box neither belongs to the key's pool nor is lent to it at this moment.
    """
    if home.pool not in (box.spec.pool, box.spec.pool_at(now)):
        raise PoolForeign(f"box {box.name} does not work for pool {home.pool}", box=box.name, pool=home.pool)


def check_way(source: str, to: str) -> None:
    """Refuse to move a key from a box to itself.

    Raises:
        BoxSpecInvalid: it is the same.
    """
    if source == to:
        raise BoxSpecInvalid("a key is moved from one box to another", field="to")


def check_source(box: str, key: FirmKeyReport) -> None:
    """Refuse to take a key from where it is not.

    Raises:
        FirmKeyMissing: the box does not hold it.
    """
    if box not in key.boxes:
        raise FirmKeyMissing(f"box {box} does not hold the key", box=box, firm_code=key.firm_code)


def check_same_boxes(key: FirmKeyReport, approved: Collection[str]) -> None:
    """Refuse to exchange or destroy a key elsewhere than two people saw.

    Raises:
        PlanOutdated: names both.
    """
    if set(key.boxes) != set(approved):
        raise PlanOutdated(
            "The key is in other boxes than was approved; nothing was done. Ask for it anew.",
            firm_code=key.firm_code,
            approved=sorted(approved),
            found=sorted(key.boxes),
        )

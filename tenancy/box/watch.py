"""What is told when boxes and pools are seen otherwise than before: once per change, not at each look. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from app.core.json import JsonObject
from fsb_gateway.report import BoxReport, PoolReport

_WELL: Final = frozenset({"ready", "drained"})
_PASSING: Final = "starting"
"""Nobody has to know of a box that is about to work."""
_IN_PLACE: Final = "in_place"
_FOREIGN: Final = "foreign"
"""With a digest of which they are: another one more is a change."""
WORKING: Final = "working"
"""Of a pool: at least one box takes work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How a box or a pool was seen last.

    Attributes:
        subject: `box:<name>`, `pool:<name>`, or `keys:<name>` of the keys in a box.
        version: 0 while it is not stored.
    """

    subject: str
    state: str
    transactions_low: bool
    since: datetime
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """That something is seen otherwise, and what is to be told about it."""

    seen: Seen
    events: tuple[tuple[str, JsonObject, JsonObject], ...]
    """Type, data, and how it was before."""


def compare(
    boxes: Sequence[BoxReport],
    pools: Sequence[PoolReport],
    before: Mapping[str, Seen],
    *,
    now: datetime,
    foreign: Mapping[str, Sequence[int]] | None = None,
) -> list[Sighting]:
    """Everything that is seen otherwise than it is stored.

    Args:
        boxes: as the gateway reports them now.
        pools: likewise.
        before: by subject; what was always well is not there.
        now: since when it is so.
        foreign: by box, firm codes whose key it holds and should not; boxes of which that is not clear are left out.
    """
    found = [_look_at_box(each, before.get(f"box:{each.name}"), now) for each in boxes]
    found += [_look_at_pool(each, before.get(f"pool:{each.name}"), now) for each in pools]
    for name, codes in (foreign or {}).items():
        found.append(_look_at_keys(name, codes, before.get(f"keys:{name}"), now))
    return [each for each in found if each is not None]


def _look_at_box(box: BoxReport, before: Seen | None, now: datetime) -> Sighting | None:
    was = "ready" if before is None else before.state
    was_low = before is not None and before.transactions_low
    is_other = box.condition not in (was, _PASSING) and not {box.condition, was} <= _WELL
    if not is_other and box.transactions_low == was_low:
        return None
    state = box.condition if is_other else was
    events: list[tuple[str, JsonObject, JsonObject]] = []
    if is_other:
        told: JsonObject = {"condition": state, "pool": box.pool, "error": box.error}
        events.append(("box.condition_changed", told, {"condition": was}))
    if box.transactions_low != was_low:
        events.append(_transactions(box))
    since = now if is_other or before is None else before.since
    return Sighting(
        seen=_seen(f"box:{box.name}", state, box.transactions_low, since, before), events=tuple(events)
    )


def _transactions(box: BoxReport) -> tuple[str, JsonObject, JsonObject]:
    name = "box.transactions_low" if box.transactions_low else "box.transactions_enough"
    data: JsonObject = {"transactions_left": box.transactions_left, "pool": box.pool}
    return name, data, {"transactions_low": not box.transactions_low}


def _look_at_pool(pool: PoolReport, before: Seen | None, now: datetime) -> Sighting | None:
    state = WORKING if pool.ready_boxes else pool.reason or "pool_without_box"
    was = WORKING if before is None else before.state
    if state == was:
        return None
    event = "pool.working" if state == WORKING else "pool.without_box"
    data: JsonObject = {"reason": None if state == WORKING else state, "waiting": pool.waiting}
    earlier: JsonObject = {"reason": None if was == WORKING else was}
    seen = _seen(f"pool:{pool.name}", state, False, now, before)
    return Sighting(seen=seen, events=((event, data, earlier),))


def _look_at_keys(name: str, codes: Sequence[int], before: Seen | None, now: datetime) -> Sighting | None:
    digest = sha256(",".join(map(str, codes)).encode()).hexdigest()[:16]
    state = f"{_FOREIGN}:{digest}" if codes else _IN_PLACE
    was = _IN_PLACE if before is None else before.state
    if state == was:
        return None
    event = "box.foreign_keys" if codes else "box.foreign_keys_gone"
    earlier: JsonObject = {"has_foreign_keys": was != _IN_PLACE}
    seen = _seen(f"keys:{name}", state, False, now, before)
    return Sighting(seen=seen, events=((event, {"firm_codes": [*codes]}, earlier),))


def _seen(subject: str, state: str, low: bool, since: datetime, before: Seen | None) -> Seen:
    version = 0 if before is None else before.version
    return Seen(subject=subject, state=state, transactions_low=low, since=since, version=version)

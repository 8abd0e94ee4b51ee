"""The transaction behind `CallMeter`: counted calls go in, rights come out. Pure SQL, may run several times.

For one line and one exchange: its counted calls become ledger rows and move lease and counter on; a lease
opened by a newly started process is taken over with what is left of it; and the stock is filled up to a
block whose size shrinks near the limit.

    counter.taken = counter.used + Σ over lines of (granted − used)

so that rights in stock count as taken, and overshoot is impossible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from app.core.clock import to_us
from app.core.db import Tx
from app.core.json import JsonObject
from editions import metering, repository
from editions.catalog import WEB_SERVICE_CALLS
from editions.ledger import repository as ledger
from editions.limit import Limit
from editions.period import Month, month_of
from editions.quota import QuotaState, WebServiceCall
from editions.repository import MeterView

_SHARE_OF_ROOM = 16
"""A block is at most this fraction of what is left, so that lines do not starve each other. A choice of
ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCall:
    """A counted call and the month whose right it holds: around midnight not the month of its answer."""

    call: WebServiceCall
    month: Month


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What a line brings and wants; frozen, so that repeating it with its operation id is safe.

    Attributes:
        month: whose rights are wanted.
        fences: the fence under which the line owns its lease, by month; a month that is missing is taken
        over.
        calls: counted calls.
        stock: rights of `month` in memory.
        surplus: rights of `month` to be given back; not part of `stock`.
        refill: False gives back and counts only.
    """

    op_id: str
    line: str
    month: Month
    fences: dict[Month, int]
    calls: tuple[HeldCall, ...]
    stock: int
    surplus: int
    refill: bool
    block_sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a line gets.

    Attributes:
        fence: of the lease of the exchange's month; 0: the line has none.
        granted: rights added to the stock.
        revoked: rights too many in stock because the limit was lowered.
        size: of a full block at present.
        superseded: another process owns the line by now.
        holds_until_us: when the line has to ask again whatever it has in stock.
    """

    state: QuotaState
    fence: int
    granted: int
    revoked: int
    size: int
    superseded: bool
    holds_until_us: int

    def to_json(self) -> JsonObject:
        """The stored answer of the exchange."""
        return {
            "state": self.state.to_json(),
            "fence": self.fence,
            "granted": self.granted,
            "revoked": self.revoked,
            "size": self.size,
            "superseded": self.superseded,
            "holds_until_us": self.holds_until_us,
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> Outcome:
        """Read what `to_json` wrote."""
        return cls(
            state=QuotaState.from_json(cast(JsonObject, value["state"])),
            fence=cast(int, value["fence"]),
            granted=cast(int, value["granted"]),
            revoked=cast(int, value["revoked"]),
            size=cast(int, value["size"]),
            superseded=cast(bool, value["superseded"]),
            holds_until_us=cast(int, value["holds_until_us"]),
        )


def settle(tx: Tx, exchange: Exchange) -> JsonObject:
    """Carry an exchange out; the body of one `run_tx`. Refuses nothing: what was served is counted.

    Returns:
        `Outcome.to_json()`.
    """
    own, direct = _place(tx, exchange.calls)
    superseded = False
    for month in sorted({*own, *direct} - {exchange.month}):
        superseded |= _count(tx, exchange, month, own.get(month, []), direct.get(month, [])).superseded
    month = exchange.month
    counted = _count(tx, exchange, month, own.get(month, []), direct.get(month, []))
    outcome = _fill_up(tx, exchange, counted.view, counted.state)
    return replace(outcome, superseded=superseded or counted.superseded or outcome.superseded).to_json()


_Calls = dict[Month, list[WebServiceCall]]


def _place(tx: Tx, held: Sequence[HeldCall]) -> tuple[_Calls, _Calls]:
    """Decide which month each call counts in.

    That of its answer if there is room, else the one whose right it holds: what was served is counted, and
    no limit is overshot.

    Returns:
        Calls that use the right they hold, and calls for which a right of another month has just been taken.
    """
    own: _Calls = {}
    astray: dict[Month, list[HeldCall]] = {}
    for each in held:
        answered = month_of(each.call.answered_at)
        if answered == each.month:
            own.setdefault(answered, []).append(each.call)
        else:
            astray.setdefault(answered, []).append(each)
    direct: _Calls = {}
    for month, calls in sorted(astray.items()):
        number = _take_directly(tx, month, len(calls))
        direct[month] = [each.call for each in calls[:number]]
        for each in calls[number:]:
            own.setdefault(each.month, []).append(each.call)
    return own, direct


def _take_directly(tx: Tx, month: Month, wanted: int) -> int:
    repository.add_to_counter(tx, WEB_SERVICE_CALLS, month)
    view = repository.load_meter(tx, WEB_SERVICE_CALLS, month)
    number = max(0, min(wanted, _room(metering.limit_of(view, WEB_SERVICE_CALLS, month, tx), view)))
    repository.add_to_counter(tx, WEB_SERVICE_CALLS, month, taken=number, used=number)
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    view: MeterView
    state: QuotaState
    superseded: bool


def _count(
    tx: Tx, exchange: Exchange, month: Month, own: list[WebServiceCall], direct: list[WebServiceCall]
) -> _Counted:
    """Write the calls of one month, take what is given back, and read the meter."""
    surplus = exchange.surplus if month == exchange.month else 0
    repository.add_to_counter(tx, WEB_SERVICE_CALLS, month, taken=-surplus, used=len(own))
    superseded = False
    if own or surplus:
        superseded = not _change(tx, exchange, month, granted=-surplus, used=len(own))
    if superseded:
        # The rights belong to the process that took the line over; what was served is counted all the same.
        repository.add_to_counter(tx, WEB_SERVICE_CALLS, month, taken=surplus + len(own))
    view = repository.load_meter(tx, WEB_SERVICE_CALLS, month)
    entries = [metering.call_entry(call, to_us(call.answered_at)) for call in (*own, *direct)]
    ledger.add_entries(tx, WEB_SERVICE_CALLS, month, entries)
    return _Counted(
        view=view, state=metering.notice(tx, view, WEB_SERVICE_CALLS, month), superseded=superseded
    )


def _change(tx: Tx, exchange: Exchange, month: Month, *, granted: int = 0, used: int = 0) -> bool:
    fence = exchange.fences.get(month, 0)
    return repository.change_lease(tx, exchange.line, month, fence=fence, granted=granted, used=used)


def _fill_up(tx: Tx, exchange: Exchange, view: MeterView, state: QuotaState) -> Outcome:
    """Open the lease if the line has none, and fill the stock up to a block."""
    month = exchange.month
    limit = metering.limit_of(view, WEB_SERVICE_CALLS, month, tx)
    room = _room(limit, view)
    size = block_size(room, exchange.block_sizes)
    fence, stock, inherited = exchange.fences.get(month, 0), exchange.stock, 0
    if not fence and exchange.refill:
        lease = repository.take_lease_over(tx, exchange.line, month)
        fence, inherited = lease.fence, lease.granted - lease.used
        stock = inherited
    wanted = _wanted(stock, size, room) if exchange.refill else 0
    superseded = False
    if wanted:
        superseded = not repository.change_lease(tx, exchange.line, month, fence=fence, granted=wanted)
        wanted = 0 if superseded else wanted
        repository.add_to_counter(tx, WEB_SERVICE_CALLS, month, taken=wanted)
    return Outcome(
        state=replace(state, taken=state.taken + wanted),
        fence=fence,
        granted=inherited + wanted,
        revoked=_revoked(limit, stock, room),
        size=size,
        superseded=superseded,
        holds_until_us=to_us(month.end if limit is None else limit.holds_until),
    )


def block_size(room: int, sizes: Sequence[int]) -> int:
    """How many rights a line keeps in stock when so many are left to all.

    Args:
        room: what is left.
        sizes: from large to small.
    """
    return next((size for size in sizes if size * _SHARE_OF_ROOM <= room), sizes[-1])


def _wanted(stock: int, size: int, room: int) -> int:
    """Fill up only when half of a block is gone, so that most exchanges need not write the lease twice."""
    return max(0, min(size - stock, room)) if 2 * stock <= size else 0


def _room(limit: Limit | None, view: MeterView) -> int:
    """What is left; negative when a lowered limit is exceeded, or the edition has no web services at all."""
    return (limit.refusal if limit is not None and limit.included else 0) - view.taken


def _revoked(limit: Limit | None, stock: int, room: int) -> int:
    if limit is None or not limit.included:
        return stock
    return min(stock, max(0, -room))

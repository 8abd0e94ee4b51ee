"""Steady load of an instance behind a load balancer, and what became of it: what clients were told beside the books.

Half of the requests read, a quarter orders, a quarter activates licences. Each has a number or a key of its own, so a
client may send it once more. Benchmarks use it, too.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

from tests.api.site import ITEM, Instance, good
from tests.cluster.front_scene import NAME, FrontScene
from tests.service.front_site import HOST
from tests.service.open_loop import Answered, Ask, Kind, Load, LoadPlan, open_loop

TRIES: Final = 2
"""The first one, and one more."""
_SKU: Final = "DRAW"
_ORDER: Final = 1
_ACTIVATION: Final = 3
_TURNS: Final = 4


@dataclass(frozen=True, kw_only=True, repr=False)
class Wish:
    """What one kind of client asks for, over and over.

    Attributes:
        asks: four for each ticket: a read, an order, a read, the activation of the ticket.
    """

    kind: Kind
    tickets: tuple[str, ...]
    asks: tuple[Ask, ...]


class Shop:
    """Sells what clients are going to activate."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._numbers = count()
        good(instance.call("POST", "/items", {"sku": _SKU, **ITEM}), 201)
        (licence,) = instance.licenses(self._sell())
        self._read = f"/{NAME}/api/v1/licenses/{licence['license_id']}"

    def wishes(self, *kinds: Kind, tickets: int) -> list[Wish]:
        """For each kind of client; once all tickets are activated the same comes again, which must change nothing."""
        return [self._wish(kind, tuple(self._sell() for _ in range(tickets))) for kind in kinds]

    def _wish(self, kind: Kind, tickets: tuple[str, ...]) -> Wish:
        asks = (ask for ticket in tickets for ask in _asks(self._instance, self._read, ticket))
        return Wish(kind=kind, tickets=tickets, asks=tuple(asks))

    def _sell(self) -> str:
        order = {"order_number": f"SO-{next(self._numbers)}", "positions": [{"sku": _SKU, "quantity": 1}]}
        return str(good(self._instance.call("POST", "/orders", order), 201)["ticket"])


class AccountedLoad:
    """Wishes while they are sent: the loads of all kinds of clients together."""

    def __init__(self, wishes: list[Wish], loads: list[Load]) -> None:
        self._loads = list(zip(wishes, loads, strict=True))

    @property
    def answered(self) -> list[Answered]:
        """What has ended by now."""
        return [each for _, load in self._loads for each in load.answered]

    @property
    def failed(self) -> list[Answered]:
        """What went wrong in spite of one more try."""
        return [each for each in self.answered if not each.ok or tries(each) > TRIES]

    @property
    def not_at_once(self) -> list[Answered]:
        """What went wrong or was sent more than once."""
        return [each for each in self.answered if not each.ok or tries(each) > 1]

    @property
    def told_orders(self) -> set[str]:
        """Numbers of the orders that clients were told are there."""
        return {
            f"SO-{load.run}-{each.number}"
            for _, load in self._loads
            for each in load.answered
            if each.ok and each.ask % _TURNS == _ORDER
        }

    @property
    def told_tickets(self) -> set[str]:
        """Tickets whose activation clients were told is there, or comes."""
        return {
            wish.tickets[each.ask // _TURNS]
            for wish, load in self._loads
            for each in load.answered
            if each.ok and each.ask % _TURNS == _ACTIVATION
        }

    @property
    def told_calls(self) -> int:
        """How many web-service calls that makes: what was carried out before is not counted again."""
        reads = sum(each.ok and each.ask % 2 == 0 for each in self.answered)
        return reads + len(self.told_orders) + len(self.told_tickets)

    def go_on(self) -> None:
        """Let half a second of it go by."""
        for _, load in self._loads:
            load.wait_seconds(0.5)

    def wait_done(self) -> None:
        """Until everything has ended that is sent; only for so many and no more."""
        for _, load in self._loads:
            load.wait_done()

    @property
    def story(self) -> list[str]:
        """What went wrong, and then what went well, but not at once; for people."""
        return [
            f"{each.kind} {each.ask}: {each.outcomes} {each.attempts[-1].text[:200]}"
            for each in sorted(self.not_at_once, key=lambda each: each.ok)
        ]


@contextmanager
def accounted_load(
    scene: FrontScene[object], wishes: list[Wish], *, rate: float, most: int | None = None
) -> Iterator[AccountedLoad]:
    """Send wishes, so many requests a second of each kind of client, until the block ends.

    Args:
        most: of each kind of client; None: over and over.
    """
    with ExitStack() as stack:
        loads = [stack.enter_context(open_loop(_plan(scene, wish, rate, most))) for wish in wishes]
        yield AccountedLoad(wishes, loads)


def tries(answered: Answered) -> int:
    """How often it was sent, by libcurl itself as well."""
    return len(answered.attempts) + sum(attempt.resent for attempt in answered.attempts)


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What is in the books, beside what clients were told.

    Attributes:
        lost: orders and tickets that clients were told of, and that are not there.
        doubled: what is there more often than once, or counted otherwise than it is there.
    """

    lost: list[str]
    doubled: list[str]


def read_effects(scene: FrontScene[object], load: AccountedLoad) -> Effects:
    """Look into the books, once lines have settled."""
    ordered, issued, counted, programmed = (_read(scene, query) for query in _KEPT)
    used = _used(scene, "activations")
    doubled = [
        f"{key}: {times}"
        for kept in (ordered, issued, counted, programmed)
        for key, times in kept.items()
        if times > 1
    ]
    if counted.keys() != issued.keys() or used != len(counted):
        doubled.append(f"{used} activations used, {len(counted)} in the ledger, {len(issued)} issued")
    lost = (load.told_orders - ordered.keys()) | (load.told_tickets - issued.keys())
    return Effects(lost=sorted(lost), doubled=doubled)


def counted_calls(scene: FrontScene[object]) -> int:
    """How many web-service calls have been counted until now, once lines have settled."""
    return _used(scene, "web_service_calls")


def _used(scene: FrontScene[object], meter: str) -> int:
    return _read(scene, "SELECT meter, sum(used) FROM meter_counter GROUP BY meter").get(meter, 0)


def _read(scene: FrontScene[object], query: str) -> dict[str, int]:
    scene.settle()
    with closing(sqlite3.connect(scene.instance.database)) as connection:
        return dict(connection.execute(query).fetchall())


_KEPT: Final = (
    "SELECT order_number, count(*) FROM license GROUP BY order_number",
    "SELECT ticket, count(*) FROM transfer WHERE state IN ('issued', 'confirmed') GROUP BY ticket",
    "SELECT ticket, count(*) FROM ledger_entry JOIN transfer ON reference = transfer_id"
    " WHERE meter = 'activations' AND phase = 'counted' GROUP BY ticket",
    "SELECT serial, fuc_issued FROM container",
)
"""How often there is what: orders by number, issued activations and counted ones by ticket, updates by container."""


def _plan(scene: FrontScene[object], wish: Wish, rate: float, most: int | None) -> LoadPlan:
    front = scene.front_site
    return LoadPlan(
        address=front.tls,
        server_name=HOST,
        authority=front.authority_file,
        rate=rate,
        kinds=(wish.kind,),
        asks=wish.asks,
        attempts=TRIES,
        # Less than `Retry-After` asks for (2 s and more): without any pause both tries meet the same full line.
        retry_pause_seconds=1.0,
        # As long as the slowest machine takes: a request fails if it is not answered, not if it waits.
        timeout_seconds=60.0,
        most=most,
    )


def _asks(instance: Instance, path: str, ticket: str) -> tuple[Ask, ...]:
    secret = base64.b64encode(":".join(instance.auth).encode()).decode()
    known = (("Authorization", f"Basic {secret}"),)
    writing = (*known, ("Content-Type", "application/json"))
    read = Ask(path=path, headers=known)
    # Its number is the natural key: the same order again is the same order.
    order = {"order_number": "SO-{run}-{number}", "positions": [{"sku": _SKU, "quantity": 1}]}
    transfer = {"action": "activate", "ticket": ticket, "context": instance.device().context()}
    return (
        read,
        Ask(
            method="POST",
            path=f"/{NAME}/api/v1/orders",
            headers=(*writing, ("Idempotency-Key", "so-{run}-{number}")),
            body=json.dumps(order),
            # 200: it was carried out before.
            expected=(200, 201),
        ),
        read,
        Ask(
            method="POST",
            path=f"/{NAME}/api/v1/transfers",
            headers=(*writing, ("Idempotency-Key", f"activate-{ticket}")),
            body=json.dumps(transfer),
            # 202: the update comes later, under the transfer's address.
            expected=(200, 201, 202),
        ),
    )

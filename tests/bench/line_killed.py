"""Failed requests when one of two lines is killed, frozen or drained, after one retry of the client. Method: README."""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app.core.json import JsonObject
from tests.api.site import ITEM, Instance, good
from tests.bench.front_scene import NAME as INSTANCE
from tests.bench.front_scene import FrontScene, running_front_scene
from tests.bench.result import BenchPlace, BenchResult, percentile
from tests.integration.app.line_site import LineSite, ServedLine
from tests.service.front_site import HOST
from tests.service.open_loop import Answered, Ask, Kind, Load, LoadPlan, open_loop
from tests.service.wait import wait_until

NAME: Final = "line_killed"
_ROUNDS: Final = 2
_RATE: Final = 20.0
"""Of each kind of client; half of them read, a quarter orders, a quarter activates."""
_KINDS: Final[tuple[Kind, ...]] = ("keep_alive", "http2")
_ACTIVATIONS: Final = 100
"""For each kind of client; once all are used they are sent again, which must change nothing."""
_TRIES: Final = 2
"""The first one, and one more."""
_SKU: Final = "DRAW"
_FINISHED_WITHIN: Final = timedelta(seconds=90)


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """What customers are going to ask, by kind of client."""

    asks: dict[Kind, tuple[Ask, ...]]
    tickets: dict[Kind, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class _Effects:
    """What is in the database at the end, beside what clients were told."""

    lost: list[str]
    doubled: list[str]
    orders: int
    activations: int


def run(place: BenchPlace) -> BenchResult:
    """Take one line after the other away, in three ways, under load."""
    with running_front_scene(place.folder, _prepare) as scene:
        faults: Counter[str] = Counter()
        at_once: dict[str, int] = {}
        with ExitStack() as stack:
            loads = {kind: stack.enter_context(open_loop(_plan(scene, kind))) for kind in _KINDS}
            for number in (1, 2) * _ROUNDS:
                for name, fault in _FAULTS.items():
                    before = _not_at_once(loads)
                    _go_on(loads)
                    fault(scene, number)
                    _go_on(loads)
                    faults[name] += 1
                    at_once[name] = at_once.get(name, 0) + _not_at_once(loads) - before
        for line in scene.lines.values():
            _wait_finished(line)
            line.stop()
        effects = _count(scene, loads)
    return _result(loads, effects, faults, at_once)


def _result(
    loads: dict[Kind, Load], effects: _Effects, faults: Counter[str], at_once: dict[str, int]
) -> BenchResult:
    answered = [each for load in loads.values() for each in load.answered]
    failed = [each for each in answered if not each.ok or _tries(each) > _TRIES]
    waits = [each.finished - each.scheduled for each in answered if each.ok]
    detail: JsonObject = {
        "lost": len(effects.lost),
        "doubled": len(effects.doubled),
        "requests": len(answered),
        "sent_twice": sum(each.ok and _tries(each) > 1 for each in answered),
        "faults": dict(faults),
        "not_at_once": dict(at_once),
        "orders": effects.orders,
        "activations": effects.activations,
        "longest_wait_seconds": round(max(waits), 2),
        "p50_ms": round(percentile(waits, 0.5) * 1000, 1),
        "failures": [
            f"{each.kind} {each.ask}: {each.outcomes} {each.attempts[-1].text[:120]}" for each in failed[:5]
        ],
        "wrong": [*effects.lost[:5], *effects.doubled[:5]],
    }
    ok = not failed and not effects.lost and not effects.doubled and at_once["drain"] == 0
    return BenchResult(bench=NAME, value=len(failed), unit="requests", mark="= 0", ok=ok, detail=detail)


def _tries(answered: Answered) -> int:
    """How often it was sent, by libcurl itself as well."""
    return len(answered.attempts) + sum(attempt.resent for attempt in answered.attempts)


def _kill(scene: FrontScene[_Prepared], number: int) -> None:
    line = scene.lines[number]
    line.kill()
    scene.wait_up((3 - number,))
    line.start()
    scene.wait_up()


def _freeze(scene: FrontScene[_Prepared], number: int) -> None:
    line = scene.lines[number]
    os.kill(line.process.pid, signal.SIGSTOP)
    scene.wait_up((3 - number,))
    os.kill(line.process.pid, signal.SIGCONT)
    scene.wait_up()


def _drain(scene: FrontScene[_Prepared], number: int) -> None:
    line = scene.lines[number]
    if line.stop() != 0:
        raise RuntimeError("the line did not drain")
    scene.wait_up((3 - number,))
    line.start()
    scene.wait_up()


_FAULTS: Final[dict[str, Callable[[FrontScene[_Prepared], int], None]]] = {
    "kill": _kill,
    "freeze": _freeze,
    "drain": _drain,
}


def _go_on(loads: dict[Kind, Load]) -> None:
    for load in loads.values():
        load.wait_seconds(0.5)


def _not_at_once(loads: dict[Kind, Load]) -> int:
    return sum(not each.ok or _tries(each) > 1 for load in loads.values() for each in load.answered)


def _wait_finished(line: ServedLine) -> None:
    """What was on its way when a line was lost is finished by the other one, or by itself."""
    wait_until(
        lambda: line.private.status().open_transfers == 0,
        "transfers to be finished",
        deadline=_FINISHED_WITHIN,
    )


def _plan(scene: FrontScene[_Prepared], kind: Kind) -> LoadPlan:
    front = scene.front_site
    return LoadPlan(
        address=front.tls,
        server_name=HOST,
        authority=front.authority_file,
        rate=_RATE,
        kinds=(kind,),
        asks=scene.prepared.asks[kind],
        attempts=2,
        timeout_seconds=30.0,
    )


def _prepare(instance: Instance) -> _Prepared:
    good(instance.call("POST", "/items", {"sku": _SKU, **ITEM}), 201)
    (licence,) = instance.licenses(_order(instance, "SO-0"))
    tickets = {
        kind: tuple(_order(instance, f"SO-{kind}-{number}") for number in range(_ACTIVATIONS))
        for kind in _KINDS
    }
    asks = {
        kind: tuple(
            ask for ticket in tickets[kind] for ask in _asks(instance, str(licence["license_id"]), ticket)
        )
        for kind in _KINDS
    }
    return _Prepared(asks=asks, tickets=tickets)


def _order(instance: Instance, number: str) -> str:
    order = {"order_number": number, "positions": [{"sku": _SKU, "quantity": 1}]}
    return str(good(instance.call("POST", "/orders", order), 201)["ticket"])


def _asks(instance: Instance, license_id: str, ticket: str) -> tuple[Ask, ...]:
    secret = base64.b64encode(":".join(instance.auth).encode()).decode()
    known = (("Authorization", f"Basic {secret}"),)
    writing = (*known, ("Content-Type", "application/json"))
    read = Ask(path=f"/{INSTANCE}/api/v1/licenses/{license_id}", headers=known)
    # Its number is the natural key: the same order again is the same order.
    order = {"order_number": "SO-{run}-{number}", "positions": [{"sku": _SKU, "quantity": 1}]}
    transfer = {"action": "activate", "ticket": ticket, "context": instance.device().context()}
    return (
        read,
        Ask(
            method="POST",
            path=f"/{INSTANCE}/api/v1/orders",
            headers=(*writing, ("Idempotency-Key", "so-{run}-{number}")),
            body=json.dumps(order),
            # 200: it was carried out before.
            expected=(200, 201),
        ),
        read,
        Ask(
            method="POST",
            path=f"/{INSTANCE}/api/v1/transfers",
            headers=(*writing, ("Idempotency-Key", f"activate-{ticket}")),
            body=json.dumps(transfer),
            # 202: the update comes later, under the transfer's address.
            expected=(200, 201, 202),
        ),
    )


_ORDER: Final = 1
_ACTIVATION: Final = 3


def _count(scene: FrontScene[_Prepared], loads: dict[Kind, Load]) -> _Effects:
    """Compare what clients were told with what there is; a platform is started again to look into the books."""
    site = scene.site
    with LineSite(site.folder, boxes=site.settings.boxes) as again:
        scene.instance.site = again
        scene.instance.check_books()
        used = int(scene.instance.meter("activations")["used"])
        with closing(sqlite3.connect(scene.instance.database)) as connection:
            ordered = dict(
                connection.execute(
                    "SELECT order_number, count(*) FROM license GROUP BY order_number"
                ).fetchall()
            )
            issued = dict(
                connection.execute(
                    "SELECT ticket, count(*) FROM transfer WHERE state IN ('issued', 'confirmed') GROUP BY ticket"
                ).fetchall()
            )
    told_orders = {
        f"SO-{load.run}-{each.number}"
        for load in loads.values()
        for each in load.answered
        if each.ok and each.ask % 4 == _ORDER
    }
    told_tickets = {
        scene.prepared.tickets[kind][each.ask // 4]
        for kind, load in loads.items()
        for each in load.answered
        if each.ok and each.ask % 4 == _ACTIVATION
    }
    doubled = [f"{key}: {count}" for found in (ordered, issued) for key, count in found.items() if count > 1]
    if used != sum(issued.values()):
        doubled.append(f"{used} activations counted, {sum(issued.values())} issued")
    return _Effects(
        lost=sorted((told_orders - ordered.keys()) | (told_tickets - issued.keys())),
        doubled=doubled,
        orders=len(told_orders),
        activations=len(told_tickets),
    )

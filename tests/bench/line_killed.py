"""Failed requests when one of two lines is killed, frozen or drained, after one retry of the client. Method: README."""

from __future__ import annotations

from collections import Counter
from typing import Final

from app.core.json import JsonObject
from tests.api.site import Instance
from tests.bench.result import BenchPlace, BenchResult, percentile
from tests.cluster.accounted_load import AccountedLoad, Effects, Shop, Wish, accounted_load, read_effects
from tests.cluster.front_scene import Loss, running_front_scene

NAME: Final = "line_killed"
_ROUNDS: Final = 2
_LOSSES: Final[tuple[Loss, ...]] = ("kill", "freeze", "drain")
_RATE: Final = 20.0
"""Of each kind of client."""
_ACTIVATIONS: Final = 100
"""For each kind of client."""


def run(place: BenchPlace) -> BenchResult:
    """Take one line after the other away, in three ways, under load."""
    faults: Counter[str] = Counter()
    at_once: Counter[str] = Counter()
    with place.logged(), running_front_scene(place.folder, _wishes) as scene:
        with accounted_load(scene, scene.prepared, rate=_RATE) as load:
            for number in (1, 2) * _ROUNDS:
                for loss in _LOSSES:
                    before = len(load.not_at_once)
                    load.go_on()
                    with scene.without(number, loss):
                        pass
                    load.go_on()
                    faults[loss] += 1
                    at_once[loss] += len(load.not_at_once) - before
        effects = read_effects(scene, load)
        scene.check_books()
    return _result(load, effects, faults, at_once)


def _wishes(instance: Instance) -> list[Wish]:
    return Shop(instance).wishes("keep_alive", "http2", tickets=_ACTIVATIONS)


def _result(
    load: AccountedLoad, effects: Effects, faults: Counter[str], at_once: Counter[str]
) -> BenchResult:
    answered, failed = load.answered, load.failed
    waits = [each.finished - each.scheduled for each in answered if each.ok]
    detail: JsonObject = {
        "lost": len(effects.lost),
        "doubled": len(effects.doubled),
        "requests": len(answered),
        "sent_twice": len(load.not_at_once) - len(failed),
        "faults": dict(faults),
        "not_at_once": dict(at_once),
        "orders": len(load.told_orders),
        "activations": len(load.told_tickets),
        "longest_wait_seconds": round(max(waits), 2),
        "p50_ms": round(percentile(waits, 0.5) * 1000, 1),
        "not_at_once_story": load.story[:5],
        "wrong": [*effects.lost[:5], *effects.doubled[:5]],
    }
    ok = not failed and not effects.lost and not effects.doubled and at_once["drain"] == 0
    return BenchResult(bench=NAME, value=len(failed), unit="requests", mark="= 0", ok=ok, detail=detail)

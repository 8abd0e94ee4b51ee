"""What a customer with a box of his own notices of a flood of the shared pool. Method: README."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from app.core.json import JsonObject
from fsb_gateway import BoxSpec
from tests.bench.child import Child, running_child
from tests.bench.gateway_process import GatewayProcess, running_gateway
from tests.bench.result import BenchPlace, BenchResult, median, percentile, rounded
from tests.bench.shared_pool_fairness import add_customer, start_flood
from tests.bench.signed_job import POOL

NAME: Final = "dedicated_pool_isolation"
_MARK: Final = 1.05
_ROUNDS: Final = 5
_SECONDS: Final = 6.0
_WARM_UP_SECONDS: Final = 1.0
"""Until the clients of the flood have their connections."""
_CLIENTS: Final = (1, 4)
_SHARED_PACE: Final = timedelta(milliseconds=5)
_PACE: Final = timedelta(milliseconds=20)
_OWNER: Final = "ins_high_performance"
_OWN_POOL: Final = "own"
_FIRM_CODE: Final = 6_000_500


def run(place: BenchPlace) -> BenchResult:
    """With the flood and without it, in turns."""
    with running_gateway(place.folder / "data") as gateway:
        gateway.add_box(BoxSpec(name="shared-1", pool=POOL, operation_time=_SHARED_PACE))
        gateway.add_box(BoxSpec(name="own-1", pool=_OWN_POOL, owner=_OWNER, operation_time=_PACE))
        gateway.add_key(_OWNER, _FIRM_CODE, pool=_OWN_POOL)
        flooding = add_customer(gateway, 0)
        socket = str(gateway.lines)
        with running_child("pool_load", socket) as flood, running_child("pool_load", socket) as load:
            found = _turns(gateway, flood, load, flooding)
    ratios = {clients: median(found[clients, True]) / median(found[clients, False]) for clients in _CLIENTS}
    value = max(ratios.values())
    detail: JsonObject = {
        f"clients_{clients}": {
            "ratio": round(ratios[clients], 4),
            "p99_ms_with_flood": rounded(found[clients, True]),
            "p99_ms_without": rounded(found[clients, False]),
        }
        for clients in _CLIENTS
    }
    return BenchResult(
        bench=NAME, value=value, unit="ratio", mark=f"<= {_MARK}", ok=value <= _MARK, detail=detail
    )


def _turns(
    gateway: GatewayProcess, flood: Child, load: Child, flooding: dict[str, Any]
) -> dict[tuple[int, bool], list[float]]:
    """p99 in milliseconds, by clients and by whether there was a flood."""
    found: dict[tuple[int, bool], list[float]] = {
        (clients, flooded): [] for clients in _CLIENTS for flooded in (True, False)
    }
    for number in range(_ROUNDS):
        for flooded in (False, True) if number % 2 else (True, False):
            if flooded:
                start_flood(gateway, flood, flooding)
            _measure(load, 1, _WARM_UP_SECONDS)
            for clients in _CLIENTS:
                found[clients, flooded].append(_measure(load, clients, _SECONDS))
            if flooded:
                flood.ask(do="stop")
    return found


def _measure(load: Child, clients: int, duration: float) -> float:
    customer = {
        "instance": _OWNER,
        "firm_code": _FIRM_CODE,
        "pool": _OWN_POOL,
        "clients": clients,
        "planned": [],
    }
    (jobs,) = load.ask(do="work", seconds=duration, customers=[customer])
    return percentile([seconds * 1000 for _, seconds, _ in jobs], 0.99)

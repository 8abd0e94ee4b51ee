"""Share of the time that one saturated box spends programming. Method: README."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from app.core.json import JsonObject
from fsb_gateway import BoxSpec
from tests.bench.child import running_child
from tests.bench.gateway_process import running_gateway
from tests.bench.result import BenchPlace, BenchResult
from tests.bench.signed_job import FIRM_CODE, INSTANCE, POOL

NAME: Final = "box_utilisation"
_MARK: Final = 0.99
_BOX: Final = "box-1"
_OPERATION: Final = timedelta(milliseconds=20)
_SECONDS: Final = 12.0
_WARM_UP_SECONDS: Final = 1.0
_CLIENTS: Final = 8
CUSTOMER: Final[dict[str, Any]] = {
    "instance": INSTANCE,
    "firm_code": FIRM_CODE,
    "pool": POOL,
    "clients": _CLIENTS,
    "planned": [],
}


def run(place: BenchPlace) -> BenchResult:
    """Keep a box busy for more than ten seconds."""
    with running_gateway(place.folder / "data") as gateway:
        gateway.add_box(BoxSpec(name=_BOX, pool=POOL, operation_time=_OPERATION))
        gateway.add_key(INSTANCE, FIRM_CODE, pool=POOL)
        with running_child("pool_load", str(gateway.lines)) as load:
            load.ask(do="work", seconds=_WARM_UP_SECONDS, customers=[CUSTOMER])
            before = gateway.box(_BOX)
            (jobs,) = load.ask(do="work", seconds=_SECONDS, customers=[CUSTOMER])
            after = gateway.box(_BOX)
    # From the first job sent to the last one back: a little more than from the first start to the last end.
    wall = max(at + seconds for at, seconds, _ in jobs) - min(at for at, _, _ in jobs)
    busy = after.busy_seconds - before.busy_seconds
    if after.jobs_done - before.jobs_done != len(jobs):
        raise RuntimeError("the box has done other jobs than were sent")
    value = busy / wall
    nominal = len(jobs) * _OPERATION.total_seconds()
    detail: JsonObject = {
        "jobs": len(jobs),
        "wall_seconds": round(wall, 3),
        "busy_seconds": round(busy, 3),
        "nominal_share": round(nominal / wall, 4),
        "idle_us_per_job": round((wall - busy) / len(jobs) * 1e6, 1),
    }
    return BenchResult(
        bench=NAME, value=value, unit="ratio", mark=f">= {_MARK}", ok=value >= _MARK, detail=detail
    )

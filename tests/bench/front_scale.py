"""`front_scale`: what it costs to change one thing of a load balancer with 500 instances of two lines each."""

from __future__ import annotations

import dataclasses
from typing import Final

from app.core.json import JsonObject
from tests.bench.result import BenchPlace, BenchResult, median
from tests.service.front_crowd import Cost, measure
from tests.service.front_site import running_front

_INSTANCES: Final = 500
_ROUNDS: Final = 3
_APPLY_MOST: Final = 1.0
_CHECK_MOST: Final = 2.0


def run(_place: BenchPlace) -> BenchResult:
    """Fill a front anew in each round; the value is the slowest of the changes without a reload."""
    rounds = [_round() for _ in range(_ROUNDS)]
    fields = [field.name for field in dataclasses.fields(Cost)]
    medians = {name: median([getattr(cost, name) for cost in rounds]) for name in fields}
    value = max(medians[name] for name in ("weight_seconds", "rule_seconds", "line_seconds"))
    detail: JsonObject = {name: round(figure, 3) for name, figure in medians.items()}
    return BenchResult(
        bench="front_scale",
        value=value,
        unit="s",
        mark=f"<= {_APPLY_MOST:g}, check <= {_CHECK_MOST:g}",
        ok=value <= _APPLY_MOST and medians["check_seconds"] <= _CHECK_MOST,
        detail={"instances": _INSTANCES, "rounds": _ROUNDS, **detail},
    )


def _round() -> Cost:
    with running_front() as site:
        for number in (1, 2, 3):
            site.start_line(number)
        return measure(site, _INSTANCES)

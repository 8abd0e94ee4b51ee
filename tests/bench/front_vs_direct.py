"""Requests per second through HAProxy over those of the line alone. Method: README."""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from app.core.json import JsonObject
from tests.api.site import Instance
from tests.bench.child import Child, running_child
from tests.bench.result import BenchPlace, BenchResult, median, percentile, rounded
from tests.cluster.front_scene import NAME as INSTANCE
from tests.cluster.front_scene import FrontScene, running_front_scene
from tests.service.front_site import HOST

NAME: Final = "front_vs_direct"
_MARK: Final = 0.9
_ROUNDS: Final = 31
_CALLS: Final = 250
_CLIENTS: Final = 8
_WARM_UP_CALLS: Final = 300
_Turn = dict[str, dict[str, float]]
"""What was measured, by way."""


def run(place: BenchPlace) -> BenchResult:
    """Let the same clients read the same licence, in turns directly and through the front."""
    with (
        place.logged(),
        running_front_scene(place.folder, _path_of_licence) as scene,
        running_child("caller") as caller,
    ):
        # One line alone, whichever way.
        scene.lines[2].stop()
        scene.wait_up(1)
        ways = _ways(scene)
        for way in ways.values():
            caller.ask(**way, clients=_CLIENTS, calls=_WARM_UP_CALLS)
        apart: list[_Turn] = []
        together: list[_Turn] = []
        for number in range(_ROUNDS):
            # Back and forth: whoever comes first in a turn comes last in the next.
            order = list(ways)[:: 1 if number % 2 else -1]
            for turns, is_apart in ((apart, True), (together, False)):
                _place_line(scene, caller, is_apart=is_apart)
                turns.append({name: _measure(scene, caller, ways[name]) for name in order})
    value, detail = _compare(apart, together)
    return BenchResult(
        bench=NAME, value=value, unit="ratio", mark=f">= {_MARK}", ok=value >= _MARK, detail=detail
    )


def _place_line(scene: FrontScene[str], caller: Child, *, is_apart: bool) -> None:
    """Give the line a processor that client and load balancer do not use, as if those were other machines; or don't."""
    first, *others = sorted(os.sched_getaffinity(0))
    rest = {*others} if is_apart and others else {first, *others}
    _pin(scene.lines[1].process.pid, {first} if is_apart else rest)
    for pid in (scene.front_site.runtime.show_info().pid, caller.pid):
        _pin(pid, rest)


def _pin(pid: int, processors: set[int]) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may have ended by now.
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), processors)


def _path_of_licence(instance: Instance) -> str:
    (licence,) = instance.licenses(instance.sell())
    return f"/{INSTANCE}/api/v1/licenses/{licence['license_id']}"


def _ways(scene: FrontScene[str]) -> dict[str, dict[str, Any]]:
    secret = base64.b64encode(":".join(scene.instance.auth).encode()).decode()
    headers = [("host", HOST), ("accept", "application/json"), ("authorization", f"Basic {secret}")]
    front = scene.front_site
    common = {"path": scene.prepared}
    return {
        "direct": {
            **common,
            "socket": str(scene.lines[1].front),
            "headers": [*headers, ("forwarded", "for=127.0.0.1")],
        },
        "tls": {
            **common,
            "port": _port(front.tls),
            "headers": headers,
            "authority": front.authority_file,
            "server_name": HOST,
        },
        "plain": {**common, "port": _port(front.plain), "headers": headers},
    }


def _measure(scene: FrontScene[str], caller: Child, way: dict[str, Any]) -> dict[str, float]:
    """Calls per second, and what a call took: in all, and of processor time, in µs."""
    worker, line = scene.front_site.runtime.show_info().pid, scene.lines[1].process.pid
    before = [_processor_seconds(pid) for pid in (worker, line)]
    answer = caller.ask(**way, clients=_CLIENTS, calls=_CALLS)
    haproxy, lines = (_processor_seconds(pid) - was for pid, was in zip((worker, line), before, strict=True))
    return {
        "per_second": _CALLS / answer["wall"],
        "p99_ms": percentile(answer["seconds"], 0.99) * 1e3,
        "haproxy_us": haproxy / _CALLS * 1e6,
        "line_us": lines / _CALLS * 1e6,
        "client_us": answer["cpu"] / _CALLS * 1e6,
    }


def _compare(apart: list[_Turn], together: list[_Turn]) -> tuple[float, JsonObject]:
    ratios = {way: _ratios(apart, way) for way in ("tls", "plain")}
    figures: JsonObject = {
        way: {name: round(median([each[way][name] for each in apart]), 1) for name in apart[0][way]}
        for way in sorted(apart[0])
    }
    value = median(ratios["tls"])
    return value, {
        "clients": _CLIENTS,
        "ratios": list(rounded(ratios["tls"])),
        "plain_ratio": round(median(ratios["plain"]), 3),
        "same_processors": {
            "ratio": round(median(_ratios(together, "tls")), 3),
            "direct_per_second": round(median([each["direct"]["per_second"] for each in together]), 1),
        },
        **figures,
    }


def _ratios(turns: list[_Turn], way: str) -> list[float]:
    return [each[way]["per_second"] / each["direct"]["per_second"] for each in turns]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _processor_seconds(pid: int) -> float:
    # **Source:** proc_pid_stat(5): utime and stime are the 14th and 15th field, in hundredths of a second.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100

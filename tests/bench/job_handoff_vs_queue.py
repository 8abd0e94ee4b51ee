"""Jobs through gateway and box against Redis-backed job queues that do the same. Method: README."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.core.json import JsonObject
from fsb_gateway import BoxSpec
from tests.bench.child import Child, running_child
from tests.bench.gateway_process import GatewayProcess, running_gateway
from tests.bench.queue_process import GATEWAY, QUEUES
from tests.bench.redis_server import running_redis
from tests.bench.result import BenchPlace, BenchResult, median, percentile
from tests.bench.signed_job import FIRM_CODE, INSTANCE, POOL, make_signer

NAME: Final = "job_handoff_vs_queue"
_MARK: Final = 1.0
_ROUNDS: Final = 5
_JOBS: Final = {1: 300, 8: 1200, 32: 1200}
"""By number of clients, in one turn."""
_BOX: Final = "box-1"
_FIGURES: Final = ("handoff_p50_ms", "handoff_p99_ms", "whole_p50_ms", "whole_p99_ms")
_STOP_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class _Figures:
    """One turn of one system with one number of clients."""

    values: dict[str, float]

    @classmethod
    def of(cls, turn: dict[str, Any], inside: Sequence[float]) -> _Figures:
        whole: list[float] = turn["whole"]
        handoff = [seconds - within for seconds, within in zip(whole, inside, strict=True)]
        values = {"jobs_per_second": len(whole) / turn["wall"], "inside_ms": sum(inside) / len(inside) * 1e3}
        for name, seconds in (("handoff", handoff), ("whole", whole)):
            values[f"{name}_p50_ms"] = percentile(seconds, 0.5) * 1e3
            values[f"{name}_p99_ms"] = percentile(seconds, 0.99) * 1e3
        return cls(values)


Found = dict[tuple[str, int], list[_Figures]]


def run(place: BenchPlace) -> BenchResult:
    """All systems in turns; the queues on a Redis that writes nothing, and once on one as durable as a box."""
    make_signer(place.folder)
    found: Found = {}
    durable: Found = {}
    for number in range(_ROUNDS):
        systems = (GATEWAY, *QUEUES)
        for system in systems[number % len(systems) :] + systems[: number % len(systems)]:
            _take_turn(place.folder / f"{system}-{number}", system, found)
    for system in QUEUES:
        _take_turn(place.folder / f"{system}-durable", system, durable, durable_redis=True)
    return _judge(found, durable)


def _take_turn(folder: Path, system: str, found: Found, *, durable_redis: bool = False) -> None:
    folder.mkdir()
    with _running(folder, system, durable=durable_redis) as (child, gateway):
        child.ask(clients=4, jobs=100)
        for clients, jobs in _JOBS.items():
            before = gateway.box(_BOX).busy_seconds if gateway else 0.0
            turn = child.ask(clients=clients, jobs=jobs)
            inside = turn["inside"]
            if gateway is not None:
                # A box tells its time of all jobs together.
                inside = [(gateway.box(_BOX).busy_seconds - before) / jobs] * jobs
            found.setdefault((system, clients), []).append(_Figures.of(turn, inside))


@contextmanager
def _running(folder: Path, system: str, *, durable: bool) -> Iterator[tuple[Child, GatewayProcess | None]]:
    if system == GATEWAY:
        with running_gateway(folder / "data") as gateway:
            gateway.add_box(BoxSpec(name=_BOX, pool=POOL))
            gateway.add_key(INSTANCE, FIRM_CODE, pool=POOL)
            with running_child("queue_process", "call", system, str(gateway.lines)) as child:
                yield child, gateway
        return
    with (
        running_redis(folder / "redis", durable=durable) as socket,
        _worker(system, socket, folder),
        running_child("queue_process", "call", system, str(socket)) as child,
    ):
        yield child, None


@contextmanager
def _worker(system: str, socket: Path, folder: Path) -> Iterator[None]:
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.bench.queue_process",
                "work",
                system,
                str(socket),
                str(folder.parent),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _judge(found: Found, durable: Found) -> BenchResult:
    """Faster than the best of them in each figure, with each number of clients; the value is of jobs per second."""
    ratios: list[float] = []
    slower: list[str] = []
    for clients in _JOBS:
        ours = _medians(found[GATEWAY, clients])
        theirs = [_medians(found[system, clients]) for system in QUEUES]
        ratios.append(ours["jobs_per_second"] / max(each["jobs_per_second"] for each in theirs))
        slower += [
            f"{figure} with {clients} clients"
            for figure in _FIGURES
            if ours[figure] >= min(each[figure] for each in theirs)
        ]
    value = min(ratios)
    detail: JsonObject = {
        "slower_in": list(slower),
        "jobs_per_second_ratio": {
            str(clients): round(ratio, 3) for clients, ratio in zip(_JOBS, ratios, strict=True)
        },
        **_shown(found),
        "durable_redis": _shown(durable),
    }
    return BenchResult(
        bench=NAME,
        value=value,
        unit="ratio",
        mark=f"> {_MARK:g}",
        ok=value > _MARK and not slower,
        detail=detail,
    )


def _shown(found: Found) -> JsonObject:
    return {
        f"clients_{clients}": {
            system: {name: round(figure, 2) for name, figure in _medians(found[system, clients]).items()}
            for system in (GATEWAY, *QUEUES)
            if (system, clients) in found
        }
        for clients in _JOBS
    }


def _medians(turns: Sequence[_Figures]) -> dict[str, float]:
    return {name: median([turn.values[name] for turn in turns]) for name in turns[0].values}

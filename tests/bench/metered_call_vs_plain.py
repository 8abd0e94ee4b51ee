"""A metered, authenticated read against the same route function without both. Method: README."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from app.core.json import JsonObject
from app.workers import FlushWorker
from tests.bench.result import BenchPlace, BenchResult, median, percentile, settle_memory
from tests.bench.served import Reading, Served, listening

NAME: Final = "metered_call_vs_plain"
_MARK: Final = 0.8
_MARK_P99_ADDED_MS: Final = 2.0
_ROUNDS: Final = 20
_CLIENTS: Final = (1, 8)
_CALLS: Final = 240
"""Of each kind, way and number of clients in a round: short turns, so that all meet the same moments of the machine."""
_WARM_UP: Final = 300
_BUDGET_SECONDS: Final = 45.0
_OK: Final = 200
_LINE_LIMIT: Final = 1024 * 1024


@dataclass(slots=True)
class _Figures:
    """Calls per second of each round, and the seconds of every call."""

    rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return median(self.rates)

    @property
    def p99_ms(self) -> float:
        return percentile(self.seconds, 0.99) * 1000


class _Way(Protocol):
    """How calls reach the application."""

    async def read(self, kind: str, clients: int, calls: int, figures: _Figures) -> None:
        """Have clients send so many calls together, each the next as soon as its last is answered."""
        ...


class _Direct:
    """Calls the application in its own event loop: nothing but what wops does."""

    def __init__(self, readings: Mapping[str, Reading]) -> None:
        self._readings = readings

    async def read(self, kind: str, clients: int, calls: int, figures: _Figures) -> None:
        reading, remaining = self._readings[kind], iter(range(calls))

        async def client() -> None:
            for _ in remaining:
                started = time.perf_counter()
                await _call(reading)
                figures.seconds.append(time.perf_counter() - started)

        started = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        figures.rates.append(calls / (time.perf_counter() - started))


class _OverSockets:
    """Calls by HTTP over loopback, from another process."""

    def __init__(
        self, caller: asyncio.subprocess.Process, readings: Mapping[str, Reading], ports: Mapping[str, int]
    ) -> None:
        self._caller = caller
        self._readings = readings
        self._ports = ports

    async def read(self, kind: str, clients: int, calls: int, figures: _Figures) -> None:
        reading = self._readings[kind]
        headers = [(name.decode(), value.decode()) for name, value in reading.headers]
        asked = {"port": self._ports[kind], "path": reading.path, "headers": headers}
        stdin, stdout = self._caller.stdin, self._caller.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the caller has no pipes")
        stdin.write(json.dumps({**asked, "clients": clients, "calls": calls}).encode() + b"\n")
        answer = json.loads(await stdout.readline() or "null")
        if answer is None:
            raise RuntimeError("the caller has ended")
        figures.seconds.extend(answer["seconds"])
        figures.rates.append(calls / answer["wall"])


_Measured = Mapping[tuple[str, str, int], _Figures]


def run(place: BenchPlace) -> BenchResult:
    """Measure in turns; the value is the lower of the ratios with one client and with eight, over sockets."""
    return asyncio.run(_measure(place))


async def _measure(place: BenchPlace) -> BenchResult:
    served = Served(place.folder)
    await served.start()
    flusher, stop = FlushWorker(), asyncio.Event()
    served.platform.on_work = flusher.wake
    flushing = asyncio.create_task(flusher.run(stop))
    try:
        readings = {kind: served.reading(metered=kind == "metered") for kind in ("metered", "plain")}
        async with _both_ways(readings) as ways:
            measured = await _take_turns(ways)
        await served.check_counted(
            sum(len(each.seconds) for (_, kind, _), each in measured.items() if kind == "metered")
        )
    finally:
        stop.set()
        await flushing
        await served.stop()
    return _result(measured)


@asynccontextmanager
async def _both_ways(readings: Mapping[str, Reading]) -> AsyncIterator[Mapping[str, _Way]]:
    async with AsyncExitStack() as stack:
        ports = {
            kind: await stack.enter_async_context(listening(reading.app))
            for kind, reading in readings.items()
        }
        caller = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.caller"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        try:
            yield {"sockets": _OverSockets(caller, readings, ports), "direct": _Direct(readings)}
        finally:
            if caller.stdin is not None:
                caller.stdin.close()
            await caller.wait()


async def _take_turns(ways: Mapping[str, _Way]) -> _Measured:
    measured = {
        (way, kind, clients): _Figures()
        for way in ways
        for kind in ("metered", "plain")
        for clients in (0, *_CLIENTS)
    }
    for way, kind, clients in measured:
        if not clients:
            await ways[way].read(kind, 1, _WARM_UP, measured[way, kind, 0])
    until = time.monotonic() + _BUDGET_SECONDS
    settle_memory()
    for number in range(_ROUNDS):
        if number > 1 and time.monotonic() > until:
            break
        for way in ways:
            for clients in _CLIENTS:
                # Whoever comes second in a round comes first in the next.
                for kind in sorted(("metered", "plain"), reverse=bool(number % 2)):
                    await ways[way].read(kind, clients, _CALLS, measured[way, kind, clients])
    return measured


async def _call(reading: Reading) -> None:
    """Send one request to the application; the answer has to be 200."""
    status = 0

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await reading.app(reading.scope(), receive, send)
    if status != _OK:
        raise RuntimeError(f"the call was answered with {status}")


def _result(measured: _Measured) -> BenchResult:
    value = min(_ratio(measured, "sockets", clients) for clients in _CLIENTS)
    added = measured["sockets", "metered", 1].p99_ms - measured["sockets", "plain", 1].p99_ms
    detail: JsonObject = {
        "p99_added_ms": round(added, 3),
        "value_is": "over sockets, the lower of the ratios with 1 and with 8 clients",
        **{
            way: {f"clients_{clients}": _shown(measured, way, clients) for clients in _CLIENTS}
            for way in ("sockets", "direct")
        },
    }
    return BenchResult(
        bench=NAME,
        value=value,
        unit="ratio",
        mark=f">= {_MARK}, p99_added_ms <= {_MARK_P99_ADDED_MS:g}",
        ok=value >= _MARK and added <= _MARK_P99_ADDED_MS,
        detail=detail,
    )


def _ratio(measured: _Measured, way: str, clients: int) -> float:
    return measured[way, "metered", clients].rate / measured[way, "plain", clients].rate


def _shown(measured: _Measured, way: str, clients: int) -> JsonObject:
    shown: dict[str, float] = {"ratio": round(_ratio(measured, way, clients), 3)}
    for kind in ("metered", "plain"):
        figures = measured[way, kind, clients]
        shown[f"{kind}_per_second"] = round(figures.rate, 1)
        shown[f"{kind}_p50_ms"] = round(percentile(figures.seconds, 0.5) * 1000, 3)
        shown[f"{kind}_p99_ms"] = round(figures.p99_ms, 3)
    return {**shown}

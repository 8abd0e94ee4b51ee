"""Status and weight of every server, read by `lb.haproxy_stats` and by haproxyadmin. Method: README."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from haproxyadmin.haproxy import HAProxy  # type: ignore[import-untyped]

from app.core.json import JsonObject
from lb.haproxy_stats import OperationalState, RuntimeSocket, ServerState, ServerStatus
from tests.bench.result import BenchPlace, BenchResult, median, settle_memory
from tests.service.haproxy import ServedHaproxy, running_haproxy

NAME: Final = "haproxy_wrapper"
_MARK: Final = 1.0
_BACKENDS: Final = 500
_ROUNDS: Final = 15
_SLOW_ROUNDS: Final = 3
"""Its own way takes thousands of commands, so it is asked less often."""

_HEAD: Final = """\
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
frontend front
  bind unix@{dir}/front.sock
  default_backend set0
"""
Servers = dict[tuple[str, str], tuple[str, int]]


def run(_place: BenchPlace) -> BenchResult:
    """Measure in turns; the value is the ratio to haproxyadmin's quickest way, which its users do not see."""
    with running_haproxy(_configuration()) as served:
        ways = _ways(served)
        found = {name: read() for name, read in ways.items()}
        if any(each != found["own"] for each in found.values()) or len(found["own"]) != 2 * _BACKENDS:
            raise RuntimeError("the ways disagree about the servers")
        settle_memory()
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(_ROUNDS):
            for name, read in ways.items():
                if name != "haproxyadmin" or turn < _SLOW_ROUNDS:
                    times[name].append(_seconds(read))
    return _result({name: median(each) for name, each in times.items()})


def _configuration() -> str:
    """Every third set has a line out of service, and weights differ."""
    sets = (
        f"backend set{number}\n  balance roundrobin\n"
        f"  server l1 127.0.0.1:9 weight {number % 256 + 1}\n"
        f"  server l2 unix@{{dir}}/l{number}.sock weight 100{' disabled' if number % 3 == 0 else ''}\n"
        for number in range(_BACKENDS)
    )
    return _HEAD + "".join(sets)


def _ways(served: ServedHaproxy) -> Mapping[str, Callable[[], Servers]]:
    runtime = served.runtime
    admin = HAProxy(socket_file=str(served.runtime_path))
    return {
        "own": lambda: _own(runtime),
        "own_every_figure": lambda: _own_every_figure(runtime),
        "haproxyadmin": lambda: _theirs(admin),
        "haproxyadmin_one_read": lambda: _theirs_one_read(admin),
    }


def _own(runtime: RuntimeSocket) -> Servers:
    return {
        (each.backend, each.name): (_word(each), each.user_weight) for each in runtime.show_servers_state()
    }


def _word(server: ServerState) -> str:
    if server.admin.is_maint:
        return "MAINT"
    return "DOWN" if server.operational is OperationalState.STOPPED else "UP"


def _own_every_figure(runtime: RuntimeSocket) -> Servers:
    return {
        (each.backend, each.name): (_simple(each.status.value), each.user_weight)
        for each in runtime.show_stat().servers
    }


def _theirs(admin: HAProxy) -> Servers:
    """As its documentation has it: objects, each of whose attributes is a question to HAProxy."""
    return {
        (each.backendname, each.name): (_simple(each.status), int(each.weight))
        for backend in admin.backends()
        for each in backend.servers()
    }


def _theirs_one_read(admin: HAProxy) -> Servers:
    """What it is made of: one `show stat` for everything, and its parser of CSV."""
    (process,) = admin._hap_processes
    return {
        (backend, name): (_simple(each.status), int(each.weight))
        for backend, found in process.stats()["backends"].items()
        for name, each in found["servers"].items()
    }


def _simple(status: str) -> str:
    """Servers without a check are up for both."""
    return "UP" if status == ServerStatus.NO_CHECK.value else status


def _seconds(read: Callable[[], Servers]) -> float:
    started = time.perf_counter()
    read()
    return time.perf_counter() - started


def _result(seconds: Mapping[str, float]) -> BenchResult:
    ratio = seconds["haproxyadmin_one_read"] / seconds["own"]
    detail: JsonObject = {
        "servers": 2 * _BACKENDS,
        "milliseconds": {name: round(1000 * each, 2) for name, each in seconds.items()},
        "ratio_to_its_own_way": round(seconds["haproxyadmin"] / seconds["own"], 1),
        "every_figure_ratio_to_its_own_way": round(seconds["haproxyadmin"] / seconds["own_every_figure"], 1),
    }
    return BenchResult(bench=NAME, value=ratio, unit="ratio", mark="> 1", ok=ratio > _MARK, detail=detail)

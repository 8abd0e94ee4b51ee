"""Status and weight of all servers, and every figure, by `lb.haproxy_stats` and by haproxyadmin. Method: README."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from haproxyadmin.haproxy import HAProxy  # type: ignore[import-untyped]
from haproxyadmin.utils import CSVLine, converter  # type: ignore[import-untyped]

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
# What `lb.stats.stat_reading` reads of an object, by the name that HAProxy gives it in both forms of `show stat`.
_FIGURE_NAMES: Final = (
    "pxname svname status weight uweight act bck qcur qmax scur smax slim stot rate bin bout dreq dresp ereq econ eresp"
    " wretr wredis cli_abrt srv_abrt req_tot hrsp_1xx hrsp_2xx hrsp_3xx hrsp_4xx hrsp_5xx hrsp_other check_status"
    " check_code check_duration last_chk chkfail chkdown lastchg lastsess downtime tracked addr"
)
Servers = dict[tuple[str, str], tuple[str, int]]
Spent = tuple[float, float]
"""Seconds on the wall, and of this process' processor time."""


def run(_place: BenchPlace) -> BenchResult:
    """Measure in turns; the value is the ratio to haproxyadmin's quickest way, which its users do not see."""
    with running_haproxy(_configuration()) as served:
        ways = _ways(served)
        found = {name: read() for name, read in ways.items()}
        if any(each != found["own"] for each in found.values()) or len(found["own"]) != 2 * _BACKENDS:
            raise RuntimeError("the ways disagree about the servers")
        settle_memory()
        times: dict[str, list[Spent]] = {name: [] for name in ways}
        for turn in range(_ROUNDS):
            for name, read in ways.items():
                if name != "haproxyadmin" or turn < _SLOW_ROUNDS:
                    times[name].append(_measure(read))
    return _result(times)


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
        "haproxyadmin_every_figure": lambda: _theirs_every_figure(admin),
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


def _theirs_every_figure(admin: HAProxy) -> Servers:
    """The same, and each figure that is read here is converted, as its objects do with the one they are asked for."""
    (process,) = admin._hap_processes
    found = process.stats()
    backends = found["backends"]
    for each in (*found["frontends"].values(), *(known["stats"] for known in backends.values())):
        _convert(each)
    servers = {
        (backend, name): _convert(each)
        for backend, known in backends.items()
        for name, each in known["servers"].items()
    }
    return {key: (_simple(figures["status"]), figures["weight"]) for key, figures in servers.items()}


def _convert(line: CSVLine) -> dict[str, Any]:
    return {name: converter(getattr(line, name)) for name in _FIGURE_NAMES.split()}


def _simple(status: str) -> str:
    """Servers without a check are up for both."""
    return "UP" if status == ServerStatus.NO_CHECK.value else status


def _measure(read: Callable[[], Servers]) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    read()
    return time.perf_counter() - wall, time.process_time() - cpu


def _result(times: Mapping[str, list[Spent]]) -> BenchResult:
    wall = {name: median([spent[0] for spent in each]) for name, each in times.items()}
    cpu = {name: median([spent[1] for spent in each]) for name, each in times.items()}
    ratios = {
        "status_and_weight": cpu["haproxyadmin_one_read"] / cpu["own"],
        "every_figure": cpu["haproxyadmin_every_figure"] / cpu["own_every_figure"],
    }
    ratio = min(ratios.values())
    detail: JsonObject = {
        "servers": 2 * _BACKENDS,
        "ratios": {name: round(each, 2) for name, each in ratios.items()},
        "processor_ms": {name: round(1000 * each, 2) for name, each in cpu.items()},
        "wall_ms": {name: round(1000 * each, 2) for name, each in wall.items()},
        "ratio_to_its_own_way": round(wall["haproxyadmin"] / wall["own"], 1),
        "every_figure_ratio_to_its_own_way": round(wall["haproxyadmin"] / wall["own_every_figure"], 1),
    }
    return BenchResult(bench=NAME, value=ratio, unit="ratio", mark="> 1", ok=ratio > _MARK, detail=detail)

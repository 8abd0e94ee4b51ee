"""Seconds from the start of `wops up` until it serves: into an empty directory, and again. Method: README."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.json import JsonObject
from tests.bench.result import BenchPlace, BenchResult, median, rounded

NAME: Final = "start_to_ready"
_MARK_SECONDS: Final = 3.0
_ROUNDS: Final = 3
_RESTARTS_PER_ROUND: Final = 2
_GIVE_UP_SECONDS: Final = 30.0
_ASK_EVERY_SECONDS: Final = 0.005
_INSTANCES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """Seconds from the start of the command.

    Attributes:
        ready: until `/readyz` answered 200.
        announced: until the command printed its addresses; at a first start the four demo instances are ready by then.
    """

    ready: float
    announced: float


def run(place: BenchPlace) -> BenchResult:
    """Start and restart in turns; the value is the worse median of the two kinds."""
    environment = child_environment(place.folder / "bytecode")
    first: list[_Start] = []
    again: list[_Start] = []
    _start(place.folder / "data-warm", environment)
    for number in range(_ROUNDS):
        data_dir = place.folder / f"data-{number}"
        first.append(_start(data_dir, environment))
        again.extend(_start(data_dir, environment) for _ in range(_RESTARTS_PER_ROUND))
    seconds = {
        "first_start": median([each.announced for each in first]),
        "restart": median([each.ready for each in again]),
    }
    value = max(seconds.values())
    detail: JsonObject = {
        "first_start": round(seconds["first_start"], 3),
        "restart": round(seconds["restart"], 3),
        "first_start_readyz": rounded([each.ready for each in first]),
        "first_start_four_instances": rounded([each.announced for each in first]),
        "restart_readyz": rounded([each.ready for each in again]),
        "restart_four_instances": rounded([each.announced for each in again]),
    }
    return BenchResult(
        bench=NAME,
        value=value,
        unit="s",
        mark=f"<= {_MARK_SECONDS:g}",
        ok=value <= _MARK_SECONDS,
        detail=detail,
    )


def child_environment(bytecode: Path) -> dict[str, str]:
    """Python keeps its bytecode, as wherever nobody has forbidden it; the first start of all is not measured."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**environment, "PYTHONPYCACHEPREFIX": str(bytecode)}


def _start(data_dir: Path, environment: dict[str, str]) -> _Start:
    port = free_port()
    options = ["--demo", "--json", "--data-dir", str(data_dir), "--port", str(port)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", "from app.cli import main; main()", "up", *options],
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        env=environment,
        text=True,
    )
    try:
        ready = wait_ready(process, port, until=started + _GIVE_UP_SECONDS) - started
        announced = _read_announcement(process) - started
    finally:
        stop_child(process)
    return _Start(ready=ready, announced=announced)


def wait_ready(process: subprocess.Popen[str], port: int, *, until: float) -> float:
    """When `/readyz` answered 200, by `time.perf_counter`."""
    while time.perf_counter() < until:
        if process.poll() is not None:
            raise RuntimeError(f"wops up ended with {process.returncode}")
        if _is_ready(port):
            return time.perf_counter()
        time.sleep(_ASK_EVERY_SECONDS)
    raise RuntimeError(f"wops up was not ready after {_GIVE_UP_SECONDS:g} s")


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    return False


def _read_announcement(process: subprocess.Popen[str]) -> float:
    """When the command has printed what it serves; it has to be all four instances."""
    text = ""
    for line in process.stdout or ():
        text += line
        with suppress(json.JSONDecodeError):
            instances = json.loads(text)["instances"]
            if len(instances) != _INSTANCES:
                raise RuntimeError(f"{len(instances)} instances instead of {_INSTANCES}")
            return time.perf_counter()
    raise RuntimeError("wops up ended before it told its addresses")


def stop_child(process: subprocess.Popen[str]) -> None:
    """End it in good order."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_GIVE_UP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])

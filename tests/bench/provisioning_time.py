"""Seconds from the order of an instance until it is ready, on SQLite and on MariaDB. Method: README."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from app.core.json import JsonObject
from app.core.net import ApiSession
from tests.bench.result import BenchPlace, BenchResult, median, percentile
from tests.bench.start_to_ready import child_environment, free_port, stop_child, wait_ready
from tests.service.mariadb import MariaDbServer, run_mariadb
from tests.service.placed import make_admin

NAME: Final = "provisioning_time"
_MARK_SECONDS: Final = 3.0
_INSTANCES: Final = 20
_GIVE_UP_SECONDS: Final = 60.0
_ASK_EVERY_SECONDS: Final = 0.005
_ABROAD: Final = "AT"
"""Where only the MariaDB server stands, so that everything ordered there is placed on it."""


def run(place: BenchPlace) -> BenchResult:
    """Two platforms, one after the other; the value is the slower median, which is the server's."""
    files = _measure(place.folder / "files", None)
    with run_mariadb() as server:
        served = _measure(place.folder / "served", server)
    value = max(float(str(each["median"])) for each in (files, served))
    return BenchResult(
        bench=NAME,
        value=value,
        unit="s",
        mark=f"<= {_MARK_SECONDS:g}",
        ok=value <= _MARK_SECONDS,
        detail={"sqlite": files, "mariadb": served},
    )


def _measure(folder: Path, server: MariaDbServer | None) -> JsonObject:
    folder.mkdir()
    country = "DE" if server is None else _ABROAD
    with _serving(folder) as api:
        if server is not None:
            _register(api, server)
        customer = str(
            api.post("/admin/v1/customers", {"name": "bench", "display_name": "Bench"}).object()[
                "customer_id"
            ]
        )
        # The first one makes the template that the others are copies of; it is shown by itself.
        first, *seconds = [
            _provision(api, customer, f"bench-{number}", country=country) for number in range(_INSTANCES + 1)
        ]
    return {
        "median": round(median(seconds), 3),
        "p90": round(percentile(seconds, 0.9), 3),
        "slowest": round(max(seconds), 3),
        "first": round(first, 3),
    }


def _register(api: ApiSession, server: MariaDbServer) -> None:
    admin = make_admin(server)
    body: JsonObject = {
        "name": "db-1",
        "kind": "mariadb",
        "purpose": "shared",
        "site": "vienna",
        "country": _ABROAD,
        "capacity": 100,
        "address": admin.address,
        "admin_user": admin.user,
        "admin_password": admin.password,
    }
    api.post("/admin/v1/servers", body)


def _provision(api: ApiSession, customer: str, name: str, *, country: str) -> float:
    body: JsonObject = {
        "customer_id": customer,
        "edition": "datacenter",
        "name": name,
        "country": country,
        "countries": [country],
    }
    started = time.perf_counter()
    operation = str(api.post("/admin/v1/instances", body).object()["operation_id"])
    while time.perf_counter() - started < _GIVE_UP_SECONDS:
        state = api.get(f"/admin/v1/operations/{operation}").object()["state"]
        if state == "succeeded":
            return time.perf_counter() - started
        if state not in ("queued", "running"):
            raise RuntimeError(f"provisioning is {state}")
        time.sleep(_ASK_EVERY_SECONDS)
    raise RuntimeError(f"{name} was not ready after {_GIVE_UP_SECONDS:g} s")


@contextmanager
def _serving(folder: Path) -> Iterator[ApiSession]:
    port = free_port()
    options = ["up", "--data-dir", str(folder / "data"), "--port", str(port)]
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", *options],
            stdout=log,
            stderr=log,
            env=child_environment(folder / "bytecode"),
            text=True,
        )
        try:
            wait_ready(process, port, until=time.perf_counter() + _GIVE_UP_SECONDS)
            with ApiSession("http://control", socket=folder / "data" / "control.sock") as api:
                yield api
        finally:
            stop_child(process)

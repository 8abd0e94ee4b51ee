"""Instances per second that `wops migrate` brings to the newest schema, and what others feel of it. Method: README."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import bindparam, select

from app.core.db import Database
from app.core.json import JsonObject
from app.core.schema import instance_metadata
from tests.bench.result import BenchPlace, BenchResult, percentile
from tests.service.fleet import Fleet
from tests.service.mariadb import MariaDbServer, run_mariadb

NAME: Final = "migrate_instances"
_INSTANCES: Final = 200
_MARK_RATE: Final = 4.0
_MARK_P99_MS: Final = 50.0
_QUIET_READS: Final = 2000
_READ_EVERY_SECONDS: Final = 0.002
_EVENT_COUNT: Final = 20
"""In each instance, and in each read."""

_event = instance_metadata.tables["outbox_event"]
_EVENTS = (
    select(_event)
    .where(_event.c.sequence > bindparam("b_after"))
    .order_by(_event.c.sequence)
    .limit(_EVENT_COUNT)
)


def run(place: BenchPlace) -> BenchResult:
    """Files first, then databases on a server; the value is the server's rate."""
    files = _measure(place.folder / "files", None)
    with run_mariadb() as server:
        served = _measure(place.folder / "served", server)
    value = _number(served, "instances_per_second")
    slowest = max(_number(each, "p99_meanwhile_ms") for each in (files, served))
    return BenchResult(
        bench=NAME,
        value=value,
        unit="instances/s",
        mark=f">= {_MARK_RATE:g}, p99_meanwhile_ms <= {_MARK_P99_MS:g}",
        ok=min(value, _number(files, "instances_per_second")) >= _MARK_RATE and slowest <= _MARK_P99_MS,
        detail={"mariadb": served, "sqlite": files},
    )


def _number(detail: JsonObject, name: str) -> float:
    return float(str(detail[name]))


def _measure(folder: Path, server: MariaDbServer | None) -> JsonObject:
    fleet = Fleet(folder, _INSTANCES + 1, server, events=_EVENT_COUNT)
    reader = fleet.ids[-1]
    _migrate(fleet, "--instance", reader)
    with closing(Database(fleet.url(reader))) as database:
        quiet = _Reader(database)
        quiet.read(_QUIET_READS)
        busy = _Reader(database)
        thread = threading.Thread(target=busy.read_on)
        thread.start()
        try:
            report = _migrate(fleet, "--all")
        finally:
            busy.ended.set()
            thread.join()
    if report["migrated"] != _INSTANCES:
        raise RuntimeError(f"{report['migrated']} instances were migrated instead of {_INSTANCES}")
    before, meanwhile = (percentile(each.milliseconds, 0.99) for each in (quiet, busy))
    return {
        "instances_per_second": report["instances_per_second"],
        "seconds": report["seconds"],
        "p99_ms": round(before, 3),
        "p99_meanwhile_ms": round(meanwhile, 3),
        "p99_ratio": round(meanwhile / before, 2),
        "reads_meanwhile": len(busy.milliseconds),
        "slowest_meanwhile_ms": round(max(busy.milliseconds), 1),
    }


def _migrate(fleet: Fleet, *arguments: str) -> JsonObject:
    """The command in a process of its own, as operators run it."""
    done = subprocess.run(
        fleet.command(*arguments, "--json"),
        env=fleet.environment(),
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
        check=True,
    )
    report: JsonObject = json.loads(done.stdout)
    return report


class _Reader:
    """Reads the database of an instance that is at the newest schema already, with a short pause between two reads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.milliseconds: list[float] = []
        self.ended = threading.Event()

    def read(self, times: int) -> None:
        """Read so many times."""
        for _ in range(times):
            self._read()

    def read_on(self) -> None:
        """Read until told to end."""
        while not self.ended.is_set():
            self._read()

    def _read(self) -> None:
        started = time.perf_counter()
        found = self._database.read(lambda reader: reader.all(_EVENTS, {"b_after": 0}))
        self.milliseconds.append((time.perf_counter() - started) * 1000)
        if len(found) != _EVENT_COUNT:
            raise RuntimeError(f"{len(found)} events were read instead of {_EVENT_COUNT}")
        time.sleep(_READ_EVERY_SECONDS)

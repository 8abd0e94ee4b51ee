"""MB of one process that has served each of 1,000 Datacenter instances once and waits. Method: README."""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from anyio import to_thread

from app.container import Platform
from app.core.command import Command
from app.core.db_pool import MOST_CONNECTIONS
from app.core.ids import CustomerId
from app.core.json import JsonObject
from app.core.logging import configure_logging
from app.licensing import ItemDraft, OrderDraft, OrderedPosition, ProductOptions
from app.settings import Settings
from tenancy import Instance, InstanceCreate, Server, ServerCreate
from tests.bench.result import BenchPlace, BenchResult, median, percentile
from tests.bench.start_to_ready import child_environment, free_port, stop_child, wait_ready
from tests.service.mariadb import MariaDbServer, run_mariadb
from tests.service.placed import make_admin

NAME: Final = "idle_instances"
_MARK_MB: Final = 300.0
_FIRST_REQUEST_MS: Final = 50.0
_MOST_CONNECTIONS: Final = MOST_CONNECTIONS + 4
"""The budget; the server counts one that is being closed a moment longer than its client."""
_INSTANCES: Final = 1000
_ON_MARIADB: Final = 200
_ORDERED_AT_ONCE: Final = 50
_GIVE_UP_SECONDS: Final = 60.0
_LOCAL_SHARED: Final = "local-shared"


def run(place: BenchPlace) -> BenchResult:
    """SQLite gives the value: the embedded default, and the engine that lives inside the process."""
    sqlite = _measure(place.folder / "sqlite", _INSTANCES, None)
    with run_mariadb() as server:
        mariadb = _measure(place.folder / "mariadb", _ON_MARIADB, server)
    megabytes, first_request = float(str(sqlite["mb"])), float(str(sqlite["first_request_ms"]))
    connections = int(str(mariadb["connections"]))
    return BenchResult(
        bench=NAME,
        value=megabytes,
        unit="MB",
        mark=f"<= {_MARK_MB:g}",
        ok=megabytes <= _MARK_MB and first_request <= _FIRST_REQUEST_MS and connections <= _MOST_CONNECTIONS,
        detail={**sqlite, "mariadb": mariadb},
    )


def _measure(folder: Path, count: int, server: MariaDbServer | None) -> JsonObject:
    """Make the instances in this process, then serve them by one that has done nothing else yet."""
    asked = None if server is None else make_admin(server).describe("db-1")
    folder.mkdir()
    with (folder / "log").open("w", encoding="utf-8") as log:
        configure_logging("INFO", stream=log)
        addresses, provisioning = asyncio.run(_provision(folder / "data", count, asked))
        configure_logging("WARNING")
    with _counting_connections(server) as connections, _serving(folder) as (process, port):
        empty = _resident_mb(process.pid)
        first = _ask_all(port, addresses)
        idle = _resident_mb(process.pid)
        again = _ask_all(port, addresses)
        files = _open_files(process.pid)
        most = connections()
    return {
        **({} if most is None else {"connections": most}),
        **files,
        "mb": idle,
        "instances": count,
        "mb_before": empty,
        "first_request_ms": round(percentile(first, 0.99), 1),
        "first_request_median_ms": round(median(first), 1),
        "first_request_worst_ms": round(max(first), 1),
        "again_median_ms": round(median(again), 1),
        "provisioned_per_second": round(count / provisioning, 1),
    }


def _open_files(pid: int) -> dict[str, int]:
    """How many files it has open; only root sees that of a process that has keys in its memory."""
    try:
        return {"open_files": len(os.listdir(f"/proc/{pid}/fd"))}
    except PermissionError:
        return {}


async def _provision(data_dir: Path, count: int, asked: ServerCreate | None) -> tuple[list[str], float]:
    """Order instances as staff do, and one ticket of each; returns what to ask for, and the seconds of provisioning."""
    platform = Platform(Settings(data_dir=data_dir, port=0))
    await platform.start()
    try:
        if asked is not None:
            await to_thread.run_sync(_register, platform, asked)
        customer_id = (await to_thread.run_sync(platform.customers.add_customer, "bench")).value.customer_id
        started = time.perf_counter()
        for first in range(0, count, _ORDERED_AT_ONCE):
            names = [f"bench-{n}" for n in range(first, min(first + _ORDERED_AT_ONCE, count))]
            await to_thread.run_sync(_order_all, platform, customer_id, names)
            while not await to_thread.run_sync(_are_ready, platform, names):
                await platform.runner.run_due()
        seconds = time.perf_counter() - started
        return await to_thread.run_sync(_place_orders, platform, count), seconds
    finally:
        await platform.stop()


def _register(platform: Platform, asked: ServerCreate) -> None:
    """From here on no directory takes instances."""
    server: Server = platform.servers.register_server(asked).value
    if server.free < _ON_MARIADB:
        raise RuntimeError("the server has no room for all instances")


def _order_all(platform: Platform, customer_id: CustomerId, names: Sequence[str]) -> None:
    for name in names:
        platform.instances.create_instance(
            InstanceCreate(customer_id=customer_id, edition="datacenter", name=name)
        )


def _are_ready(platform: Platform, names: Sequence[str]) -> bool:
    states = {platform.instances.get_instance_by_name(name).state for name in names}
    if "failed" in states:
        raise RuntimeError("an instance could not be provisioned")
    return states == {"ready"}


def _place_orders(platform: Platform, count: int) -> list[str]:
    return [
        _place_order(platform, platform.instances.get_instance_by_name(f"bench-{n}")) for n in range(count)
    ]


def _place_order(platform: Platform, instance: Instance) -> str:
    """One licence on one ticket, for which a wizard will ask."""
    runtime = platform.runtime(instance.instance_id)
    options = ProductOptions(product_code=100, feature_map=5, license_quantity=1)
    runtime.items.add_item(ItemDraft(sku="DRAW-PRO", name="Draw", options=options), Command())
    order = OrderDraft(
        order_number="SO-1",
        customer_reference="ACME",
        positions=(OrderedPosition(position=10, sku="DRAW-PRO", quantity=1, options={}),),
    )
    ticket = runtime.orders.place_order(order, Command()).value.ticket
    return f"/{instance.name}/gateways/v1/tickets/{ticket}"


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    options = ["up", "--data-dir", str(folder / "data"), "--port", str(port)]
    with (folder / "log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", *options],
            stdout=log,
            stderr=log,
            env=child_environment(folder / "bytecode"),
            text=True,
        )
        try:
            wait_ready(process, port, until=time.perf_counter() + _GIVE_UP_SECONDS)
            yield process, port
        finally:
            stop_child(process)


@contextmanager
def _counting_connections(server: MariaDbServer | None) -> Iterator[Callable[[], int | None]]:
    """How many connections the server has had at once from here on, without the one that asks; None without a server.

    **Source:** MariaDB's manual, FLUSH STATUS: `Max_used_connections` begins anew with those that are open.
    """
    if server is None:
        yield lambda: None
        return
    with server.connect_admin() as connection, connection.cursor() as cursor:

        def most() -> int:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Max_used_connections'")
            return int(cursor.fetchall()[0][1]) - 1

        cursor.execute("FLUSH STATUS")
        yield most


def _ask_all(port: int, addresses: Sequence[str]) -> list[float]:
    """Milliseconds of one request to each, over one kept connection."""
    spent = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        for address in addresses:
            started = time.perf_counter()
            connection.request("GET", address)
            answer = connection.getresponse()
            answer.read()
            if answer.status != http.client.OK:
                raise RuntimeError(f"{address} was answered with {answer.status}")
            spent.append((time.perf_counter() - started) * 1000)
    return spent


def _resident_mb(pid: int) -> float:
    """**Source:** proc(5), VmRSS; its "kB" are 1,024 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) * 1024 / 1_000_000, 1)
    raise RuntimeError("the process has no resident memory")

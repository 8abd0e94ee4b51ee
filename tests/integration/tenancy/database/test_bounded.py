"""Connections to a shared server stay bounded, counted by the server itself."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.core.outbox import last_sequence
from tenancy.database.placed import Bounds
from tests.fake.clock import FakeClock
from tests.integration.tenancy.database.fleet import Fleet, look, mark
from tests.integration.tenancy.world import KEY
from tests.service.mariadb import MariaDbServer
from tests.service.placed import open_placed

INSTANCES, THREADS, LIMIT, ROUNDS = 200, 16, 12, 30
CLOSING = 4
"""The server counts a connection a moment longer than the client has it."""


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_two_hundred_instances_hit_by_sixteen_threads_share_twelve_connections(
    fleet: Fleet, mariadb_server: MariaDbServer, tmp_path: Path, clock: FakeClock
) -> None:
    ids = [fleet.placed() for _ in range(INSTANCES)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fleet.databases.create, ids))
    fleet.databases.close()
    with (
        open_placed(
            fleet.platform, data_dir=tmp_path, key=KEY, clock=clock, bounds=Bounds(connections=LIMIT)
        ) as databases,
        mariadb_server.connect_admin() as connection,
        connection.cursor() as cursor,
    ):
        databases.load()
        before = _connected(cursor)
        ended = threading.Event()

        def work(seed: int) -> int:
            chance = random.Random(seed)
            for n in range(ROUNDS):
                database = databases.open(chance.choice(ids))
                mark(database, f"{seed}-{n}")
                database.read(last_sequence)
            return ROUNDS

        most = 0
        with ThreadPoolExecutor(THREADS) as pool:
            running = [pool.submit(work, seed) for seed in range(THREADS)]
            while not all(each.done() for each in running):
                most = max(most, _connected(cursor) - before)
            ended.set()
        assert [each.result() for each in running] == [ROUNDS] * THREADS
        written = sum(databases.open(each).read(last_sequence) for each in ids)
        assert written == THREADS * ROUNDS
        assert LIMIT <= most <= LIMIT + CLOSING


def _connected(cursor: object) -> int:
    return int(look(cursor, "SHOW STATUS LIKE 'Threads_connected'")[0][1])

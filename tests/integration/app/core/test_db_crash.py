"""Processes that are killed: the one that writes, and the database server under load."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Event
from time import monotonic

import pytest

from app.core import outbox
from app.core.clock import SystemClock
from app.core.db import Database
from app.core.errors import DatabaseUnavailable
from app.core.ids import new_id
from app.core.migrate import upgrade
from tests.architecture.source import ROOT
from tests.integration.app.core.conftest import Bench
from tests.integration.app.core.tally import Body, create_tally, events_of, tally_of
from tests.service.binary import give_up
from tests.service.database import EngineKind
from tests.service.mariadb import MariaDbServer, missing_programs, run_mariadb
from tests.service.wait import wait_until

WRITERS = 6


@pytest.mark.parametrize(("where", "replayed"), [("body", False), ("store", False), ("commit", True)])
def test_writer_killed_with_sigkill_leaves_nothing_or_everything(
    open_bench: Callable[..., Bench], engine_kind: EngineKind, where: str, replayed: bool
) -> None:
    bench: Bench = open_bench(engine_kind, clock=SystemClock())
    op_id = new_id("op")
    url = bench.db.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.integration.app.core.crash", url, op_id, where]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        assert tally_of(bench.db, op_id) == int(replayed)
        child.kill()
    answer = bench.db.run_tx(op_id, Body(op_id))
    assert (answer.replayed, answer.value["n"]) == (replayed, 1)
    assert (tally_of(bench.db, op_id), len(events_of(bench.db, op_id))) == (1, 1)


@pytest.fixture
def own_server() -> Iterator[MariaDbServer]:
    if missing_programs():
        give_up(f"needs {', '.join(missing_programs())}")
    with run_mariadb() as server:
        yield server


@contextmanager
def _started_again(server: MariaDbServer) -> Iterator[None]:
    """The same server on the same data, port and options."""
    process = subprocess.Popen(
        server.process.args,
        cwd=server.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_server_killed_with_sigkill_under_load_loses_and_doubles_nothing(own_server: MariaDbServer) -> None:
    url = own_server.create_database("crash").url
    upgrade(url, "instance")
    db = Database(url)
    create_tally(db)
    enough = Event()
    answered: list[list[tuple[str, bool, float]]] = [[] for _ in range(WRITERS)]

    def write(writer: int) -> None:
        mine = answered[writer]
        while not enough.is_set():
            op_id = f"{writer}-{len(mine)}"
            answer = db.run_tx(op_id, Body(op_id))
            mine.append((op_id, answer.replayed, monotonic()))

    def all_have_done(more: int) -> Callable[[], bool]:
        goals = [len(mine) + more for mine in answered]
        return lambda: all(len(mine) >= goal for mine, goal in zip(answered, goals, strict=True))

    with ThreadPoolExecutor(WRITERS) as threads:
        writers = [threads.submit(write, number) for number in range(WRITERS)]
        wait_until(all_have_done(10), "writers to be at work")
        own_server.process.kill()
        own_server.process.wait()
        with _started_again(own_server):
            try:
                wait_until(all_have_done(10), "writers to go on")
            finally:
                enough.set()
            for each in writers:
                each.result()
            _assert_done_once_each(db, [op_id for mine in answered for op_id, _, _ in mine])
            db.close()


def _assert_done_once_each(db: Database, op_ids: list[str]) -> None:
    everything = db.read(lambda reader: outbox.list_events(reader, after=0, limit=100_000))
    assert [event.sequence for event in everything] == list(range(1, len(op_ids) + 1))
    assert sorted(event.subject for event in everything) == sorted(op_ids)
    assert {tally_of(db, op_id) for op_id in op_ids} == {1}
    assert all(db.run_tx(op_id, Body(op_id)).replayed for op_id in op_ids[:10])


def test_server_that_stays_away_is_reported_within_the_deadline(own_server: MariaDbServer) -> None:
    url = own_server.create_database("away").url
    upgrade(url, "instance")
    db = Database(url, deadline=timedelta(seconds=1))
    create_tally(db)
    db.run_tx("a", Body("a"))
    own_server.process.kill()
    own_server.process.wait()
    before = monotonic()
    with pytest.raises(DatabaseUnavailable):
        db.run_tx("b", Body("b"))
    with pytest.raises(DatabaseUnavailable):
        db.read(outbox.last_sequence)
    assert monotonic() - before < 4
    with _started_again(own_server):
        wait_until(lambda: _is_there(db), "the server to be back")
        assert (tally_of(db, "a"), tally_of(db, "b")) == (1, 0)
        assert db.run_tx("b", Body("b")).replayed is False
        db.close()


def _is_there(db: Database) -> bool:
    try:
        return tally_of(db, "a") == 1
    except DatabaseUnavailable:
        return False

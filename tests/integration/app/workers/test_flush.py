from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import structlog

from app.core.clock import Clock
from app.core.errors import DatabaseUnavailable
from app.operations.line import InstanceRuntime
from app.workers import FlushWorker
from tests.fake.clock import FakeClock
from tests.service.wait import wait_until_async


@dataclass(eq=False)
class FakeRuntime:
    """A call meter that always has something to write until `flush` has gone through."""

    name: str
    flushing: Callable[[], object] = lambda: None
    line_id: str = "line-1"
    clock: Clock = field(default_factory=FakeClock)
    due: bool = True
    flushed: int = 0
    at_once: int = 0
    most_at_once: int = 0
    bound: dict[str, object] = field(default_factory=dict)

    @property
    def calls(self) -> FakeRuntime:
        return self

    def due_in(self) -> float | None:
        return 0.0 if self.due else None

    def flush(self) -> int:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.bound = structlog.contextvars.get_contextvars()
        try:
            self.flushing()
        finally:
            self.at_once -= 1
        self.due = False
        self.flushed += 1
        return 1


def work(*runtimes: FakeRuntime, until: Callable[[FlushWorker], bool], then: Callable[[], None]) -> None:
    """Run a worker with these runtimes until something holds, then let what hangs go on and stop."""

    async def run() -> None:
        worker, stop = FlushWorker(), asyncio.Event()
        running = asyncio.create_task(worker.run(stop))
        for runtime in runtimes:
            worker.wake(cast(InstanceRuntime, runtime))
        try:
            await wait_until_async(lambda: until(worker), "the worker to do its work")
            assert not running.done()
        finally:
            then()
            stop.set()
            await running

    asyncio.run(run())


def test_locked_database_of_one_instance_does_not_hold_up_the_others() -> None:
    unlocked = threading.Event()
    locked = FakeRuntime("locked", lambda: unlocked.wait(20))
    others = [FakeRuntime(f"other-{number}") for number in range(3)]

    def others_are_written(worker: FlushWorker) -> bool:
        worker.wake(cast(InstanceRuntime, locked))
        return all(each.flushed for each in others) and locked.at_once == 1

    work(locked, *others, until=others_are_written, then=unlocked.set)
    assert (locked.flushed, locked.most_at_once) == (1, 1)


def test_damaged_or_absent_database_is_tried_again_and_stops_nobody() -> None:
    failures: list[Exception] = [sqlite3.DatabaseError("not a database"), DatabaseUnavailable("away")]

    def fail_twice() -> None:
        if failures:
            raise failures.pop(0)

    damaged, other = FakeRuntime("damaged", fail_twice), FakeRuntime("other")
    work(damaged, other, until=lambda _: bool(damaged.flushed and other.flushed), then=lambda: None)
    assert not failures


def test_log_lines_of_a_flush_name_instance_and_line() -> None:
    runtime = FakeRuntime("acme")
    work(runtime, until=lambda _: bool(runtime.flushed), then=lambda: None)
    assert runtime.bound == {"instance": "acme", "line": "line-1"}

"""Databases with a table that counts effects, and with faults on order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from app.core.clock import Clock
from app.core.db import Database
from tests.fake.clock import FakeClock
from tests.integration.app.core.fault import Faults
from tests.integration.app.core.tally import create_tally
from tests.service.database import DatabaseMaker, EngineKind


class HastyClock(FakeClock):
    """Pauses take no time but are counted as if they did; remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.advance(timedelta(seconds=seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One database, what breaks it, and a clock that does not wait."""

    db: Database
    faults: Faults
    clock: HastyClock

    def assert_nothing_leaked(self) -> None:
        """Every connection is back in the pool or gone."""
        assert self.db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def url_of(database_maker: DatabaseMaker) -> Iterator[Callable[[EngineKind], str]]:
    """One instance database per engine for all tests of a module; each uses names of its own."""
    urls: dict[EngineKind, str] = {}

    def find(kind: EngineKind) -> str:
        if kind not in urls:
            urls[kind] = database_maker.create(kind, "instance")
            with_tally = Database(urls[kind])
            create_tally(with_tally)
            with_tally.close()
        return urls[kind]

    yield find
    for url in urls.values():
        database_maker.remove(url)


@pytest.fixture
def open_bench(url_of: Callable[[EngineKind], str]) -> Iterator[Callable[..., Bench]]:
    """Opens databases of the module anew, with an empty pool; closes them in the end."""
    opened: list[Bench] = []

    def open_(
        kind: EngineKind, *, deadline: timedelta = timedelta(seconds=12), clock: Clock | None = None
    ) -> Bench:
        hasty = HastyClock()
        db = Database(url_of(kind), clock=clock or hasty, deadline=deadline)
        opened.append(Bench(db=db, faults=Faults(db.engine), clock=hasty))
        return opened[-1]

    yield open_
    for bench in opened:
        bench.assert_nothing_leaked()
        bench.db.close()


@pytest.fixture
def bench(open_bench: Callable[..., Bench], engine_kind: EngineKind) -> Bench:
    """A database of the module with an empty pool, on each engine."""
    return open_bench(engine_kind)

"""Fixtures for all tests. What starts a server or imports Alembic does so when a test first asks for it."""

# ruff: noqa: PLC0415 - unit tests start without Alembic and database drivers

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import settings

from tests.fake.clock import FakeClock
from tests.service.binary import give_up
from tests.service.log import log_to_output
from tests.service.mariadb import MariaDbServer, missing_programs, run_mariadb

if TYPE_CHECKING:
    from app.core.db import Database
    from tests.service.database import DatabaseMaker, EngineKind, Tree

# No time limit per example: on a busy machine it finds the machine. Everything else as Hypothesis has it, also for CI.
settings.register_profile("wops", parent=settings.default, deadline=None)
settings.load_profile("wops")
log_to_output()


def pytest_collection_finish() -> None:
    """What has been imported stays to the end: looking through it again and again takes a sixth of `make check`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make what a test has printed fit to be sent from its process, whatever hostile text is in it."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture
def clock() -> FakeClock:
    """2026-03-10T09:00:00Z until the test moves it."""
    return FakeClock()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDbServer]:
    """The session's MariaDB server; a test that kills or freezes a server runs its own (`run_mariadb`)."""
    missing = missing_programs()
    if missing:
        give_up(f"MariaDB tests need {', '.join(missing)}: not installed ('make test' as root installs them)")
    with run_mariadb(in_memory=True) as server:
        yield server


@pytest.fixture(scope="session")
def database_maker(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> DatabaseMaker:
    """Makes further migrated databases, for tests that need several."""
    from tests.service.database import DatabaseMaker

    def server() -> MariaDbServer:
        return cast(MariaDbServer, request.getfixturevalue("mariadb_server"))

    return DatabaseMaker(tmp_path_factory.mktemp("databases"), server)


@pytest.fixture(params=["sqlite", "mariadb"])
def engine_kind(request: pytest.FixtureRequest) -> EngineKind:
    """Runs the test on each engine; `parametrize("engine_kind", ["mariadb"], indirect=True)` picks one."""
    return cast("EngineKind", request.param)


@pytest.fixture
def instance_db(
    engine_kind: EngineKind, database_maker: DatabaseMaker, clock: FakeClock
) -> Iterator[Database]:
    """A migrated, empty instance database."""
    yield from _open_new(database_maker, engine_kind, "instance", clock)


@pytest.fixture
def platform_db(
    engine_kind: EngineKind, database_maker: DatabaseMaker, clock: FakeClock
) -> Iterator[Database]:
    """A migrated, empty platform database."""
    yield from _open_new(database_maker, engine_kind, "platform", clock)


def _open_new(maker: DatabaseMaker, kind: EngineKind, tree: Tree, clock: FakeClock) -> Iterator[Database]:
    from app.core.db import Database

    url = maker.create(kind, tree)
    database = Database(url, clock=clock)
    try:
        yield database
    finally:
        database.close()
        maker.remove(url)

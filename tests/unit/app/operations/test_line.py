"""One line and its instances: who takes long to open holds nobody else up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from app.core.db import Database
from app.core.ids import InstanceId, LineId
from app.licensing import TransferService
from app.operations.line import Line, LineParts
from tenancy import CredentialKey
from tenancy.database.port import ServedDatabases
from tenancy.errors import InstanceDatabaseMissing
from tests.fake.clock import FakeClock
from tests.service.wait import wait_until

SLOW, QUICK, GONE = (InstanceId(f"ins_{name}") for name in ("slow", "quick", "gone"))
WITHIN = 30.0


class Databases:
    """Databases that are opened when the test says so."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.gate = threading.Event()
        self.asked: list[InstanceId] = []

    def open(self, instance_id: InstanceId) -> Database:
        self.asked.append(instance_id)
        if instance_id != QUICK:
            assert self.gate.wait(WITHIN)
        if instance_id == GONE:
            raise InstanceDatabaseMissing("The instance's database does not exist.")
        # Nobody asks it anything.
        return Database("sqlite://", clock=self.clock)


@pytest.fixture
def databases() -> Databases:
    return Databases()


@pytest.fixture
def line(databases: Databases) -> Line:
    def make_transfers(db: Database, identity: object, note_open: object) -> TransferService:
        return cast(TransferService, (db, identity, note_open))

    parts = LineParts(
        databases=cast(ServedDatabases, databases),
        key=CredentialKey(bytes(32)),
        clock=databases.clock,
        make_transfers=make_transfers,
        name_of=str,
        wake=lambda _runtime: None,
    )
    return Line(LineId("shared-1"), parts)


@pytest.fixture
def callers(databases: Databases) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as callers:
        yield callers
        databases.gate.set()


def test_instance_that_takes_long_to_open_holds_up_neither_others_nor_the_loop(
    line: Line, databases: Databases, callers: ThreadPoolExecutor
) -> None:
    opening = callers.submit(line.open, SLOW)
    wait_until(lambda: databases.asked == [SLOW], "the opening to begin")
    assert callers.submit(line.open, QUICK).result(WITHIN).instance_id == QUICK
    # The event loop does this itself.
    assert callers.submit(line.forget, QUICK).result(WITHIN) is not None
    assert callers.submit(line.forget, SLOW).result(WITHIN) is None
    assert not opening.done()


def test_instance_is_opened_once_for_all_who_want_it_meanwhile(
    line: Line, databases: Databases, callers: ThreadPoolExecutor
) -> None:
    opening = [callers.submit(line.open, SLOW) for _ in range(8)]
    wait_until(lambda: databases.asked, "the opening to begin")
    databases.gate.set()
    runtimes = {id(each.result(WITHIN)) for each in opening}
    assert runtimes == {id(line.find(SLOW))}
    assert databases.asked == [SLOW]


def test_all_who_wait_hear_that_it_cannot_be_opened_and_the_next_one_tries_again(
    line: Line, databases: Databases, callers: ThreadPoolExecutor
) -> None:
    opening = [callers.submit(line.open, GONE) for _ in range(8)]
    databases.gate.set()
    assert {type(each.exception(WITHIN)) for each in opening} == {InstanceDatabaseMissing}
    before = len(databases.asked)
    with pytest.raises(InstanceDatabaseMissing):
        line.open(GONE)
    assert len(databases.asked) == before + 1
    assert list(line) == []


def test_instance_that_is_forgotten_while_it_is_opened_is_opened_anew(
    line: Line, databases: Databases, callers: ThreadPoolExecutor
) -> None:
    opening = callers.submit(line.open, SLOW)
    wait_until(lambda: databases.asked == [SLOW], "the opening to begin")
    line.forget(SLOW)
    databases.gate.set()
    # What was opened before may lead to where the instance was before.
    assert opening.result(WITHIN) is line.find(SLOW)
    assert databases.asked == [SLOW, SLOW]

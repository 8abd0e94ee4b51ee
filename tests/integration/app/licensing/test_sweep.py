"""Sweeps lose nobody's transfer, starve none, and send no job more often than it is of use."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.core.command import Command
from app.core.db import Database
from app.core.errors import DatabaseUnavailable
from app.core.ids import TransferId
from app.licensing import (
    Deadlines,
    InstanceIdentity,
    Transfer,
    TransferService,
    TransferState,
    has_open_transfers,
)
from fsb_gateway import (
    FsbError,
    FsbUnavailable,
    InstanceQueueReport,
    PoolDrained,
    ProgrammingJob,
    ProgrammingResult,
)
from tests.fake.programmer import QueueingGateway
from tests.integration.app.licensing.world import (
    IDENTITY,
    NO_WAIT,
    Boxes,
    World,
    collecting,
    nothing_changes,
)
from tests.service.wait import wait_until_async

SECOND = timedelta(seconds=1)


@pytest.fixture
def gateway(boxes: Boxes) -> QueueingGateway:
    return QueueingGateway(boxes.client)


@pytest.fixture
def world(instance_db: Database, boxes: Boxes, gateway: QueueingGateway) -> World:
    """As elsewhere, with a box that begins when the test says so."""
    made = World(instance_db, boxes, programmer=gateway)
    made.sell(activations=1000)
    made.item()
    return made


def reserve(world: World, number: int = 1) -> Transfer:
    device = world.device(f"130-1{number:09}")
    return world.transfer(collecting(device.context(), world.ticket(number=f"N-{number}")), wait=NO_WAIT)


def test_fifty_slow_transfers_keep_none_from_being_driven(world: World, gateway: QueueingGateway) -> None:
    reserved = [reserve(world, number) for number in range(50)]
    world.run(gateway.do(reserved[-1].transfer_id))
    world.clock.advance(SECOND)
    gateway.jobs.clear()

    async def sweep() -> int:
        # One after the other they would take ten seconds.
        async with asyncio.timeout(8):
            return await world.transfers.drive_due(wait=timedelta(milliseconds=200))

    assert world.run(sweep()) == 50
    assert {job.job_id for job in gateway.jobs} == {each.transfer_id for each in reserved}
    assert world.transfers.get_transfer(reserved[-1].transfer_id).state is TransferState.ISSUED


def test_everything_a_gateway_has_forgotten_is_sent_again_in_one_sweep(
    world: World, gateway: QueueingGateway
) -> None:
    reserved = [reserve(world, number).transfer_id for number in range(60)]
    world.clock.advance(SECOND + timedelta(milliseconds=1))
    gateway.jobs.clear()
    assert world.run(world.transfers.drive_forgotten()) == 0, "all of it is waiting there"
    assert gateway.jobs == []
    gateway.start_anew()
    assert world.run(world.transfers.drive_forgotten()) == 60
    assert {job.job_id for job in gateway.jobs} == set(reserved)
    assert world.run(world.transfers.drive_forgotten()) == 0
    world.check_books()


def test_what_a_box_has_done_is_fetched_before_it_is_due(world: World, gateway: QueueingGateway) -> None:
    first, second = reserve(world, 1), reserve(world, 2)
    world.clock.advance(SECOND + timedelta(milliseconds=1))
    world.run(world.transfers.drive_due())
    made = world.run(gateway.do(second.transfer_id))
    assert isinstance(made, ProgrammingResult)
    assert world.run(world.transfers.drive_forgotten()) == 1
    states = [world.transfers.get_transfer(each.transfer_id).state for each in (first, second)]
    assert states == [TransferState.RESERVED, TransferState.ISSUED]


def test_part_of_a_long_queue_that_is_not_listed_is_not_taken_for_forgotten(
    world: World, gateway: QueueingGateway
) -> None:
    reserved = [reserve(world, number).transfer_id for number in range(6)]
    gateway.queue_limit_of_list = 2
    world.clock.advance(SECOND + timedelta(milliseconds=1))
    gateway.jobs.clear()
    assert world.run(world.transfers.drive_forgotten()) == 0
    world.run(gateway.do(reserved[5]))
    assert world.run(world.transfers.drive_forgotten()) == 4, "one of these four is done"
    assert world.transfers.get_transfer(TransferId(reserved[5])).state is TransferState.ISSUED
    assert {job.job_id for job in gateway.jobs} == set(reserved[2:])


def test_what_is_forgotten_in_a_long_queue_is_seen_beside_what_callers_wait_for(
    world: World, gateway: QueueingGateway
) -> None:
    forgotten = reserve(world, 0).transfer_id
    gateway.start_anew()
    gateway.queue_limit_of_list = 1
    wishes = [
        collecting(world.device(f"130-2{number:09}").context(), world.ticket(number=f"W-{number}"))
        for number in range(4)
    ]

    async def sweep() -> int:
        callers = [asyncio.create_task(world.transfers.start_transfer(each, Command())) for each in wishes]
        await wait_until_async(lambda: len(gateway.open_jobs) == len(wishes), "all of them to wait")
        world.clock.advance(2 * SECOND)
        gateway.jobs.clear()
        sent = await world.transfers.drive_forgotten()
        assert [job.job_id for job in gateway.jobs] == [forgotten], "what callers wait for is left alone"
        for job_id in gateway.open_jobs:
            await gateway.do(job_id)
        await asyncio.gather(*callers)
        return sent

    assert world.run(sweep()) == 1
    world.check_books()


class Doorkeeper(QueueingGateway):
    """A gateway that answers what it is asked, and takes no job while `refusal` is there."""

    refusal: FsbError | None = None

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> Any:
        if self.refusal is not None:
            self.jobs.append(job)
            raise self.refusal
        return await super().program(job, wait=wait)


@pytest.mark.parametrize("refusal", [PoolDrained("drained"), FsbUnavailable("its key cannot be opened")])
def test_job_that_the_gateway_does_not_take_is_not_sent_at_every_sweep(
    world: World, boxes: Boxes, caplog: pytest.LogCaptureFixture, refusal: FsbError
) -> None:
    door = Doorkeeper(boxes.client)
    line = world.line(door)
    request = collecting(world.device().context(), world.ticket())
    reserved, _ = world.run(line.start_transfer(request, Command(), wait=NO_WAIT))
    assert reserved is not None
    door.start_anew()
    door.refusal = refusal
    door.jobs.clear()
    with caplog.at_level(logging.INFO):
        for _ in range(60):
            world.clock.advance(2 * SECOND)
            world.run(line.drive_due())
            world.run(line.drive_forgotten())
    told = [each.levelno for each in caplog.records if each.getMessage() == "box_not_reached"]
    assert 5 <= len(door.jobs) == len(told) <= 25, "two minutes, sixty sweeps"
    assert set(told[1:]) == {logging.INFO}
    assert told[0] == logging.WARNING

    door.refusal = None
    world.clock.advance(Deadlines().lease)
    world.run(line.drive_due())
    assert door.open_jobs == [reserved.transfer_id]
    door.start_anew()
    assert world.run(line.drive_forgotten()) == 1, "taken since: what was refused before does not count"
    assert door.open_jobs == [reserved.transfer_id]


def test_gateway_that_was_away_is_sent_everything_as_soon_as_it_answers(
    world: World, gateway: QueueingGateway
) -> None:
    reserved = reserve(world)
    gateway.start_anew()
    gateway.trouble = FsbUnavailable("gone")
    for _ in range(60):
        world.clock.advance(2 * SECOND)
        world.run(world.transfers.drive_due())
        world.run(world.transfers.drive_forgotten())
    gateway.trouble = None
    assert world.run(world.transfers.drive_forgotten()) == 1
    assert gateway.open_jobs == [reserved.transfer_id]


def test_transfer_whose_job_cannot_be_made_is_told_to_whoever_looks_after_them(
    world: World, gateway: QueueingGateway
) -> None:
    opened: list[bool] = []
    asked: list[InstanceIdentity] = []

    def identity() -> InstanceIdentity:
        if asked:
            raise DatabaseUnavailable("busy")
        asked.append(IDENTITY)
        return IDENTITY

    def look() -> None:
        opened.append(has_open_transfers(world.db))

    line = TransferService(world.db, identity=identity, programmer=gateway, on_open=look)
    request = collecting(world.device().context(), world.ticket())
    with pytest.raises(DatabaseUnavailable):
        world.run(line.start_transfer(request, Command()))
    assert gateway.jobs == []
    assert opened == [True], "told when it is there to be found, and not only when its job is sent"


def test_gateway_is_told_where_the_instance_sends_its_jobs(world: World, boxes: Boxes) -> None:
    pools: list[str | None] = []

    class Asked(QueueingGateway):
        async def queue(self, instance_id: str, *, pool: str | None = None) -> InstanceQueueReport:
            pools.append(pool)
            return await super().queue(instance_id, pool=pool)

    line = world.line(Asked(boxes.client), identity=replace(IDENTITY, pool="moved"))
    world.run(line.read_queue())
    reserve(world)
    world.clock.advance(2 * SECOND)
    world.run(line.drive_forgotten())
    assert pools == ["moved", "moved"]


def test_gateway_that_is_away_is_left_to_the_lease(world: World, gateway: QueueingGateway) -> None:
    reserve(world)
    world.clock.advance(SECOND + timedelta(milliseconds=1))
    gateway.trouble = FsbUnavailable("gone")
    with nothing_changes(world.db):
        assert world.run(world.transfers.drive_forgotten()) == 0


def test_left_over_of_a_killed_process_is_sent_at_once_and_waited_for_by_nobody(
    world: World, gateway: QueueingGateway
) -> None:
    reserved = [reserve(world, number).transfer_id for number in range(20)]
    gateway.start_anew()
    gateway.jobs.clear()
    anew = world.line(gateway)
    before = world.clock.now() + SECOND

    async def take_up() -> int:
        async with asyncio.timeout(10):
            return await anew.drive_left_over(before=before)

    assert world.run(take_up()) == 20
    assert {job.job_id for job in gateway.jobs} == set(reserved)

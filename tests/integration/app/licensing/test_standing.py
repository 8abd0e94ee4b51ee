"""What callers of a slow, lost or silent box see, and what is waited for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.core.command import Command
from app.core.db import Database
from app.core.errors import DomainError
from app.licensing import (
    Deadlines,
    Standing,
    Transfer,
    TransferState,
)
from app.licensing.errors import TransferRolledBack
from app.licensing.transfer.programmer import ANSWER_WITHIN
from fsb_gateway import (
    BoxQueueFull,
    FirmKeyMissing,
    FsbRejected,
    FsbUnavailable,
    PoolDrained,
    PoolWithoutBox,
    ProgrammingJob,
)
from fsb_gateway.error import BoxDisconnected
from tests.fake.programmer import QueueingGateway
from tests.integration.app.licensing.world import (
    IDENTITY,
    NO_WAIT,
    PATIENCE,
    POOL,
    Boxes,
    World,
    collecting,
)

SECOND = timedelta(seconds=1)
PROGRAM = Deadlines().program
WAITING = Standing(
    state="waiting",
    position=3,
    expected_wait=timedelta(seconds=7),
    expected_wait_p95=timedelta(seconds=11),
    others_share=0.25,
    waited=timedelta(seconds=5),
    caused_by_others=timedelta(seconds=2),
)


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


def follow(world: World, transfer: Transfer) -> Transfer:
    return world.run(world.transfers.follow_transfer(transfer.transfer_id))


# What callers see.


def test_reserved_transfer_says_where_its_job_stands(world: World, gateway: QueueingGateway) -> None:
    reserved = reserve(world)
    assert reserved.standing == WAITING
    assert follow(world, reserved).standing == WAITING
    gateway.state = "unknown"
    gone = follow(world, reserved).standing
    assert gone is not None
    assert (gone.state, gone.reason, gone.position) == ("unknown", "box_disconnected", 0)
    gateway.state = "running"
    made = world.run(gateway.do(reserved.transfer_id))
    done = follow(world, reserved)
    assert done.state is TransferState.RESERVED
    assert done.standing == Standing(
        state="running", position=0, expected_wait=NO_WAIT, expected_wait_p95=NO_WAIT
    )
    world.clock.advance(SECOND)
    world.run(world.transfers.drive_due())
    issued = follow(world, reserved)
    assert (issued.state, issued.update, issued.standing) == (TransferState.ISSUED, made.update, None)


@pytest.mark.parametrize("error", [FsbUnavailable("gone"), BoxDisconnected("?"), PoolWithoutBox("none")])
def test_without_an_answer_it_is_said_that_nothing_is_known(
    world: World, gateway: QueueingGateway, error: DomainError
) -> None:
    gateway.trouble = error
    reserved = reserve(world)
    assert reserved.state is TransferState.RESERVED
    assert reserved.standing == Standing(state="unknown", reason=error.code)
    assert follow(world, reserved).standing == Standing(state="unknown", reason=error.code)


def test_gateway_started_anew_is_said_not_to_know_the_job_yet(world: World, gateway: QueueingGateway) -> None:
    reserved = reserve(world)
    gateway.start_anew()
    assert follow(world, reserved).standing == Standing(state="unknown", reason="job_unknown")


def test_repeat_that_joins_a_waiting_request_learns_the_same(world: World) -> None:
    request = collecting(world.device().context(), world.ticket())

    async def both() -> list[Any]:
        line = world.transfers
        wait = timedelta(milliseconds=50)
        return await asyncio.gather(*(line.start_transfer(request, Command(), wait=wait) for _ in range(2)))

    (first, _), (second, _) = world.run(both())
    assert first == second
    assert first.standing == WAITING


class Silent(QueueingGateway):
    """A gateway that takes connections and says nothing."""

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> Any:
        await asyncio.Event().wait()

    async def find(self, job_id: str, *, wait: timedelta = NO_WAIT) -> Any:
        await asyncio.Event().wait()

    async def queue(self, instance_id: str, *, pool: str | None = None) -> Any:
        await asyncio.Event().wait()


def test_gateway_that_hangs_keeps_nobody_who_only_asks(world: World, boxes: Boxes) -> None:
    reserved = reserve(world)
    line = world.line(Silent(boxes.client))

    async def ask() -> Transfer:
        async with asyncio.timeout(2 * ANSWER_WITHIN.total_seconds()):
            return await line.follow_transfer(reserved.transfer_id)

    found = world.run(ask())
    assert found.standing == Standing(state="unknown", reason="fsb_unavailable")


def test_gateway_that_hangs_keeps_callers_and_sweeps_little_longer_than_they_wait(
    world: World, boxes: Boxes
) -> None:
    line = world.line(Silent(boxes.client))
    request = collecting(world.device().context(), world.ticket())

    async def start() -> Transfer | None:
        async with asyncio.timeout(2 * ANSWER_WITHIN.total_seconds()):
            transfer, _ = await line.start_transfer(request, Command(), wait=SECOND)
            return transfer

    async def sweep() -> int:
        async with asyncio.timeout(3 * ANSWER_WITHIN.total_seconds()):
            return await line.drive_due() + await line.drive_forgotten()

    reserved = world.run(start())
    assert reserved is not None
    assert (reserved.state, reserved.standing and reserved.standing.reason) == (
        TransferState.RESERVED,
        "fsb_unavailable",
    )
    world.clock.advance(2 * SECOND)
    assert world.run(sweep()) == 1


def test_transfer_that_has_ended_asks_nobody(world: World, gateway: QueueingGateway) -> None:
    reserved = reserve(world)
    world.run(world.transfers.cancel_transfer(reserved.transfer_id, Command()))
    gateway.trouble = AssertionError("asked")
    assert follow(world, reserved).standing is None


# What is refused at first, and what is waited for later.


@pytest.mark.parametrize(
    ("error", "told", "reason"),
    [
        (BoxQueueFull("full", expected_wait_seconds=9), BoxQueueFull, "box_queue_full"),
        (PoolDrained("drained"), TransferRolledBack, "pool_drained"),
        (FirmKeyMissing("none"), TransferRolledBack, "firm_key_missing"),
        (FsbRejected("something new"), TransferRolledBack, "fsb_rejected"),
    ],
)
def test_new_transfer_that_is_refused_is_rolled_back_at_once(
    world: World, gateway: QueueingGateway, error: DomainError, told: type[DomainError], reason: str
) -> None:
    ticket = world.ticket()
    gateway.trouble = error
    with pytest.raises(told) as refusal:
        world.collect(world.device(), ticket)
    assert world.events()[-1].data["reason"] == reason
    if told is TransferRolledBack:
        assert refusal.value.detail["reason"] == reason
    assert (world.activations().used, world.activations().open) == (0, 0)
    assert [each.pending_transfer for each in world.licenses(ticket)] == [None]
    world.check_books()


@pytest.mark.parametrize("error", [BoxQueueFull("full"), PoolDrained("drained")])
def test_transfer_that_was_taken_once_waits_for_its_deadline_whatever_is_full_or_drained_later(
    world: World, gateway: QueueingGateway, error: DomainError
) -> None:
    reserved = reserve(world)
    gateway.start_anew()
    gateway.trouble = error
    world.clock.advance(SECOND)
    assert world.run(world.transfers.drive_due()) == 1
    assert world.transfers.get_transfer(reserved.transfer_id).state is TransferState.RESERVED
    world.clock.advance(PROGRAM)
    world.run(world.transfers.drive_due())
    ended = world.transfers.get_transfer(reserved.transfer_id)
    assert (ended.state, ended.reason) == (TransferState.ROLLED_BACK, "deadline_passed")
    assert (world.activations().used, world.activations().open) == (0, 0)
    world.check_books()


def test_pool_without_a_box_keeps_its_transfer_until_the_deadline(
    world: World, gateway: QueueingGateway
) -> None:
    reserved = reserve(world)
    for _ in range(5):
        world.clock.advance(timedelta(seconds=100))
        world.run(world.transfers.drive_due())
        assert world.transfers.get_transfer(reserved.transfer_id).state is TransferState.RESERVED
    world.clock.set(reserved.deadline_at)
    world.run(world.transfers.drive_due())
    assert world.transfers.get_transfer(reserved.transfer_id).reason == "deadline_passed"
    assert gateway.cancelled == [reserved.transfer_id], "the gateway is told that nobody wants it any more"
    assert gateway.open_jobs == []
    world.check_books()


# The deadline of a job whose outcome is not known.


def test_update_that_is_there_at_the_deadline_is_issued(world: World, gateway: QueueingGateway) -> None:
    device = world.device()
    reserved = world.transfer(collecting(device.context(), world.ticket()), wait=NO_WAIT)
    gateway.state = "unknown"
    world.run(gateway.do(reserved.transfer_id))
    world.clock.set(reserved.deadline_at)
    sent = len(gateway.jobs)
    world.run(world.transfers.drive_due())
    issued = world.transfers.get_transfer(reserved.transfer_id)
    assert issued.state is TransferState.ISSUED
    assert len(gateway.jobs) == sent, "it was asked for, not sent again"
    device.apply(issued)
    world.check_books()


def test_outcome_that_stays_unknown_is_given_up_and_what_was_made_is_thrown_away(
    world: World, gateway: QueueingGateway
) -> None:
    device, ticket = world.device(), world.ticket()
    request = collecting(device.context(), ticket)
    reserved = world.transfer(request, wait=NO_WAIT)
    gateway.state = "unknown"
    lost = world.run(gateway.make(reserved.transfer_id))
    world.clock.set(reserved.deadline_at)
    world.run(world.transfers.drive_due())
    ended = world.transfers.get_transfer(reserved.transfer_id)
    assert (ended.state, ended.reason) == (TransferState.ROLLED_BACK, "deadline_passed")
    assert gateway.cancelled == [], "a box may be at it: it cannot be cancelled"

    # The box had done it; nobody hands that out. The next context decides.
    assert world.run(world.transfers.drive_due()) == 0
    anew, _ = world.run(world.line(world.boxes.client).start_transfer(request, Command(), wait=PATIENCE))
    assert anew is not None
    assert (anew.state, anew.fuc) == (TransferState.ISSUED, 1)
    assert anew.update != lost.update
    device.apply(anew)
    assert (world.activations().used, world.activations().open) == (1, 0)
    world.check_books()


# Priority and share.


def test_priority_goes_with_the_job_and_share_and_pool_are_those_of_the_moment(
    world: World, gateway: QueueingGateway
) -> None:
    request = replace(collecting(world.device().context(), world.ticket()), priority="batch")
    world.transfer(request, wait=NO_WAIT)
    assert [(job.priority, job.weight, job.pool) for job in gateway.jobs] == [("batch", 1, POOL)]
    line = world.line(gateway, identity=replace(IDENTITY, box_share=2, pool="own"))
    world.clock.advance(SECOND)
    assert world.run(line.drive_due()) == 1
    later = gateway.jobs[-1]
    assert (later.priority, later.weight, later.pool) == ("batch", 2, "own")

"""Boxes that are slow, full, gone or say no; processes that die. No transfer stays in the making."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from app.core.command import Command
from app.core.db import Database
from app.core.errors import DomainError
from app.licensing import Deadlines, Decision, LicenseState, Started, Transfer, TransferState
from app.licensing.errors import KeyMismatch, TransferNotIssued, TransferOpen, TransferRolledBack
from app.licensing.transfer import outcome
from fsb_gateway import (
    BoxQueueFull,
    FirmKeyMissing,
    FsbProtocolError,
    FsbUnavailable,
    PoolUnknown,
    ProgrammingResult,
)
from tests.fake.killed import Killed
from tests.integration.app.licensing.world import (
    NO_WAIT,
    PATIENCE,
    Boxes,
    Device,
    HeldBox,
    LostBox,
    World,
    collected,
    collecting,
    dump,
    nothing_changes,
    updating,
)
from tests.service.wait import wait_until_async

LEASE = Deadlines().lease
PROGRAM = Deadlines().program
FREE = LicenseState.NOT_COLLECTED
TAKEN = LicenseState.COLLECTED


@pytest.fixture
def lost_box(boxes: Boxes) -> LostBox:
    return LostBox(boxes.client)


@pytest.fixture
def far_world(instance_db: Database, boxes: Boxes, lost_box: LostBox) -> World:
    """As `world`, with a gateway that can be cut off."""
    made = World(instance_db, boxes, programmer=lost_box)
    made.sell(activations=100)
    made.item()
    return made


def sweep(world: World) -> int:
    """What a worker does once leases are over."""
    world.clock.advance(LEASE)
    return world.run(world.transfers.drive_due(wait=PATIENCE))


def test_slow_box_leaves_the_transfer_reserved_and_the_sweep_finishes_it(world: World) -> None:
    world.boxes.slow_down(0.2)
    device = world.device()
    ticket = world.ticket()
    reserved = world.transfer(collecting(device.context(), ticket), wait=NO_WAIT)
    assert (reserved.state, reserved.update) == (TransferState.RESERVED, None)
    assert (world.activations().used, world.activations().open) == (0, 1)
    assert world.states(ticket) == [FREE]
    with nothing_changes(world.db), pytest.raises(TransferNotIssued):
        world.confirm(reserved, device.receipt())

    assert world.run(world.transfers.drive_due(wait=PATIENCE)) == 0, "its lease is not over"
    assert sweep(world) == 1
    issued = world.transfers.get_transfer(reserved.transfer_id)
    assert issued.state is TransferState.ISSUED
    assert (world.activations().used, world.activations().open) == (1, 0)
    device.apply(issued)
    assert sweep(world) == 0
    world.check_books()


def test_slow_transfer_is_asked_for_a_second_later_not_after_its_lease(world: World) -> None:
    world.boxes.slow_down(0.2)
    reserved = world.transfer(collecting(world.device().context(), world.ticket()), wait=NO_WAIT)
    assert world.run(world.transfers.drive_due(wait=PATIENCE)) == 0
    world.clock.advance(timedelta(seconds=1))
    assert world.run(world.transfers.drive_due(wait=PATIENCE)) == 1
    assert world.transfers.get_transfer(reserved.transfer_id).state is TransferState.ISSUED


def test_unreachable_box_is_asked_ever_more_rarely_and_never_later_than_the_deadline(
    far_world: World, lost_box: LostBox
) -> None:
    lost_box.before = FsbUnavailable("gone")
    reserved = far_world.collect(far_world.device(), far_world.ticket())
    operations = dump(far_world.db)["op"]
    asked: list[int] = []
    for second in range(int(PROGRAM.total_seconds())):
        far_world.clock.set(reserved.created_at + timedelta(seconds=second))
        if far_world.run(far_world.transfers.drive_due()):
            asked.append(second)
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (1, LEASE.total_seconds())
    assert len(asked) < 50
    assert dump(far_world.db)["op"] == operations, "asking leaves no operation behind"
    far_world.clock.set(reserved.deadline_at)
    assert far_world.run(far_world.transfers.drive_due()) == 1
    assert far_world.transfers.get_transfer(reserved.transfer_id).state is TransferState.ROLLED_BACK


def test_driver_that_dies_does_not_keep_a_transfer_past_its_deadline(
    far_world: World, lost_box: LostBox
) -> None:
    lost_box.before = FsbUnavailable("gone")
    reserved = far_world.collect(far_world.device(), far_world.ticket())
    far_world.clock.set(reserved.deadline_at - timedelta(seconds=1))
    lost_box.before = Killed("before program")
    with pytest.raises(Killed):
        far_world.run(far_world.transfers.drive_due())
    far_world.clock.set(reserved.deadline_at)
    assert far_world.run(far_world.line().drive_due()) == 1
    assert far_world.transfers.get_transfer(reserved.transfer_id).state is TransferState.ROLLED_BACK


@pytest.mark.parametrize("reason", ["container_blocked", "container_unexpected_state"])
def test_container_stopped_while_its_transfer_is_in_the_making_gets_nothing(
    far_world: World, lost_box: LostBox, reason: str
) -> None:
    device, copy = far_world.device(), far_world.device()
    ticket = far_world.ticket()
    lost_box.before = FsbUnavailable("gone")
    reserved = far_world.collect(device, ticket)
    lost_box.before = None
    if reason == "container_blocked":
        far_world.containers.block_container(device.serial, reason="stolen", command=Command())
    else:
        with pytest.raises(KeyMismatch):
            far_world.collect(copy, ticket)
    assert sweep(far_world) == 1
    ended = far_world.transfers.get_transfer(reserved.transfer_id)
    assert (ended.state, ended.reason, ended.update) == (TransferState.ROLLED_BACK, reason, None)
    assert far_world.states(ticket) == [FREE]
    assert (far_world.activations().used, far_world.activations().open) == (0, 0)
    far_world.containers.restore_container(
        device.serial, Decision.KEEP_RECORDED, reason="", command=Command()
    )
    device.apply(far_world.collect(device, ticket))
    far_world.check_books()


def test_caller_who_waits_for_a_container_that_is_blocked_meanwhile_is_told_so(world: World) -> None:
    request = collecting(world.device().context(), world.ticket())

    async def blocked_while_the_box_works() -> None:
        held = HeldBox(world.boxes.client)
        task = asyncio.create_task(world.line(held).start_transfer(request, Command()))
        await held.called.wait()
        world.containers.block_container(request.context.serial, reason="", command=Command())
        held.go.set()
        await task

    with pytest.raises(TransferRolledBack) as refusal:
        world.run(blocked_while_the_box_works())
    assert refusal.value.detail["reason"] == "container_blocked"
    world.check_books()


def test_repeat_while_the_box_works_joins_the_transfer(world: World) -> None:
    world.boxes.slow_down(0.1)
    device = world.device()
    request = collecting(device.context(), world.ticket())
    reserved = world.transfer(request, wait=NO_WAIT)
    joined = world.transfer(request)
    assert (joined.transfer_id, joined.state) == (reserved.transfer_id, TransferState.ISSUED)
    world.check_books()


def test_other_request_while_the_box_works_is_refused_naming_the_open_one(world: World) -> None:
    world.boxes.slow_down(0.1)
    device = world.device()
    ticket = world.ticket(2)
    first, second = world.ids(ticket)
    reserved = world.transfer(collecting(device.context(), ticket, [first]), wait=NO_WAIT)
    for request in (collecting(device.context(), ticket, [second]), updating(device.context())):
        with nothing_changes(world.db), pytest.raises(TransferOpen) as refusal:
            world.transfer(request)
        assert refusal.value.detail["transfer_id"] == reserved.transfer_id
    assert world.containers.get_container(device.serial).open_transfer == reserved.transfer_id
    sweep(world)
    assert world.containers.get_container(device.serial).open_transfer is None
    world.check_books()


def test_licence_in_the_making_for_one_container_is_not_there_for_another(world: World) -> None:
    world.boxes.slow_down(0.1)
    ticket = world.ticket()
    world.transfer(collecting(world.device().context(), ticket), wait=NO_WAIT)
    other = world.device("130-1000000002")
    with nothing_changes(world.db), pytest.raises(DomainError) as refusal:
        world.collect(other, ticket)
    assert refusal.value.code == "license_pending"
    sweep(world)


@pytest.mark.parametrize(
    "error",
    [FsbUnavailable("gone"), FsbProtocolError("gibberish"), PoolUnknown("not set up yet")],
    ids=lambda error: error.code,
)
def test_gateway_that_cannot_be_reached_decides_nothing(
    far_world: World, lost_box: LostBox, error: DomainError
) -> None:
    device = far_world.device()
    ticket = far_world.ticket()
    lost_box.before = error
    reserved = far_world.collect(device, ticket)
    assert reserved.state is TransferState.RESERVED
    lost_box.before = None
    assert sweep(far_world) == 1
    device.apply(far_world.transfers.get_transfer(reserved.transfer_id))
    assert len({job.job_id for job in lost_box.jobs}) == 1
    assert lost_box.jobs[0] == lost_box.jobs[1]
    far_world.check_books()


def test_answer_lost_on_the_way_back_gives_the_same_update_later(far_world: World, lost_box: LostBox) -> None:
    device = far_world.device()
    lost_box.after = FsbUnavailable("cut")
    reserved = far_world.collect(device, far_world.ticket())
    lost_box.after = None
    made = far_world.run(far_world.boxes.client.find(reserved.transfer_id))
    sweep(far_world)
    issued = far_world.transfers.get_transfer(reserved.transfer_id)
    assert issued.update == getattr(made, "update", None)
    far_world.check_books()


@pytest.mark.parametrize(
    "error", [FirmKeyMissing("no key"), BoxQueueFull("full")], ids=lambda error: error.code
)
def test_box_that_refuses_gives_everything_back_and_the_same_request_can_be_tried_again(
    far_world: World, lost_box: LostBox, error: DomainError
) -> None:
    device = far_world.device()
    ticket = far_world.ticket(2)
    request = collecting(device.context(), ticket)
    command = Command(op_id="erp:key-1", fingerprint="same")
    lost_box.before = error
    expected = BoxQueueFull if isinstance(error, BoxQueueFull) else TransferRolledBack
    with pytest.raises(expected):
        far_world.transfer(request, command)
    assert far_world.states(ticket) == [FREE, FREE]
    assert [license_.pending_transfer for license_ in far_world.licenses(ticket)] == [None, None]
    assert (far_world.activations().used, far_world.activations().open) == (0, 0)
    assert far_world.event_types()[-1] == "transfer.rolled_back"
    assert far_world.containers.get_container(device.serial).open_transfer is None

    lost_box.before = None
    transfer = far_world.transfer(request, command)
    assert (transfer.state, transfer.fuc) == (TransferState.ISSUED, 1)
    assert transfer.transfer_id != lost_box.jobs[0].job_id
    device.apply(transfer)
    assert far_world.transfer(request, command).update == transfer.update
    assert far_world.activations().used == 2
    far_world.check_books()


def test_rolled_back_return_leaves_the_licence_in_its_container(far_world: World, lost_box: LostBox) -> None:
    held = collected(far_world)
    lost_box.before = FirmKeyMissing("no key")
    with pytest.raises(TransferRolledBack):
        far_world.give_back(held.device, held.licenses)
    assert far_world.states(held.ticket) == [LicenseState.CONFIRMED_COLLECTED]
    lost_box.before = None
    held.device.apply(far_world.give_back(held.device, held.licenses))
    assert held.device.items == {}
    far_world.check_books()


def test_deadline_rolls_back_what_no_box_has_programmed(far_world: World, lost_box: LostBox) -> None:
    device = far_world.device()
    ticket = far_world.ticket()
    lost_box.before = FsbUnavailable("gone")
    reserved = far_world.collect(device, ticket)
    sweep(far_world)
    assert far_world.transfers.get_transfer(reserved.transfer_id).state is TransferState.RESERVED
    far_world.clock.advance(PROGRAM)
    sweep(far_world)
    ended = far_world.transfers.get_transfer(reserved.transfer_id)
    assert (ended.state, ended.reason) == (TransferState.ROLLED_BACK, "deadline_passed")
    assert far_world.states(ticket) == [FREE]
    assert (far_world.activations().used, far_world.activations().open) == (0, 0)
    with nothing_changes(far_world.db), pytest.raises(TransferRolledBack):
        far_world.confirm(reserved, device.receipt())
    lost_box.before = None
    device.apply(far_world.collect(device, ticket))
    far_world.check_books()


def test_request_that_joined_a_transfer_is_told_of_its_end_and_may_try_again(
    far_world: World, lost_box: LostBox
) -> None:
    device = far_world.device()
    request = collecting(device.context(), far_world.ticket())
    lost_box.before = FsbUnavailable("gone")
    far_world.transfer(request, Command(op_id="one"))
    far_world.transfer(request, Command(op_id="two"))
    far_world.clock.advance(PROGRAM)
    sweep(far_world)
    lost_box.before = None
    again = far_world.transfer(request, Command(op_id="two"))
    assert again.state is TransferState.ISSUED
    assert far_world.transfer(request, Command(op_id="one")).update == again.update
    assert far_world.activations().used == 1
    far_world.check_books()


def test_waiting_for_another_request_that_is_rolled_back_is_answered_so(world: World) -> None:
    async def two_at_once() -> list[Transfer | BaseException | tuple[Transfer | None, Started]]:
        held = HeldBox(world.boxes.client, refusal=FirmKeyMissing("no key"))
        line = world.line(held)
        first = asyncio.create_task(line.start_transfer(request, Command()))
        await held.called.wait()
        second = asyncio.create_task(line.start_transfer(request, Command()))
        await wait_until_async(lambda: version() == 2, "the second request to touch the container")
        held.go.set()
        return list(await asyncio.gather(first, second, return_exceptions=True))

    def version() -> int:
        return world.containers.get_container(request.context.serial).container.version

    request = collecting(world.device().context(), world.ticket())
    answers = world.run(two_at_once())
    assert [type(answer) for answer in answers] == [TransferRolledBack, TransferRolledBack]
    world.check_books()


def test_dead_line_is_replaced_by_another_after_the_lease(far_world: World, lost_box: LostBox) -> None:
    device = far_world.device()
    reserved_by_the_dead = FsbUnavailable("never asked")
    lost_box.before = reserved_by_the_dead
    request = collecting(device.context(), far_world.ticket())
    reserved = far_world.transfer(request)
    one, two = far_world.line(), far_world.line()
    far_world.clock.advance(LEASE)

    async def both() -> list[int]:
        return list(await asyncio.gather(one.drive_due(wait=PATIENCE), two.drive_due(wait=PATIENCE)))

    assert sorted(far_world.run(both())) == [0, 1]
    lost_box.before = None
    again = far_world.transfer(request)
    assert (again.transfer_id, again.state) == (reserved.transfer_id, TransferState.ISSUED)
    far_world.check_books()


def test_transfer_that_cannot_be_finished_does_not_keep_others_waiting(
    far_world: World, lost_box: LostBox
) -> None:
    lost_box.before = FsbUnavailable("gone")
    far_world.ticket(2)
    tickets = [far_world.ticket(number=f"B-{number}") for number in range(2)]
    devices = [far_world.device(f"130-100000000{number}") for number in range(2)]
    reserved = [
        far_world.transfer(collecting(device.context(), ticket))
        for device, ticket in zip(devices, tickets, strict=True)
    ]
    with far_world.db.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE license SET pending_transfer = NULL WHERE ticket = '{tickets[0]}'"
        )
    lost_box.before = None
    sweep(far_world)
    assert far_world.transfers.get_transfer(reserved[1].transfer_id).state is TransferState.ISSUED


def test_exactly_one_of_issue_and_roll_back_succeeds(world: World) -> None:
    """The box is done just when somebody else gives the transfer up."""

    async def race(device: Device, ticket: str, *, roll_back_first: bool) -> Transfer:
        held = HeldBox(world.boxes.client)
        line = world.line(held)
        request = collecting(device.context(), ticket)
        task = asyncio.create_task(line.start_transfer(request, Command()))
        await held.called.wait()
        view = world.containers.get_container(device.serial)
        assert view.open_transfer is not None
        transfer = line.get_transfer(view.open_transfer)
        given_up = asyncio.create_task(asyncio.to_thread(outcome.roll_back, world.db, transfer, "test"))
        if roll_back_first:
            assert await given_up
        held.go.set()
        answer, rolled_back = await asyncio.gather(task, given_up, return_exceptions=True)
        ended = line.get_transfer(transfer.transfer_id)
        if rolled_back is True:
            assert isinstance(answer, TransferRolledBack)
            assert (ended.state, ended.update) == (TransferState.ROLLED_BACK, None)
        else:
            assert isinstance(answer, tuple)
            assert answer[0] == ended
            assert ended.state is TransferState.ISSUED
        return ended

    for number in range(6):
        device = world.device(f"130-100000000{number}")
        ticket = world.ticket(number=f"R-{number}")
        ended = world.run(race(device, ticket, roll_back_first=number == 0))
        expected = TAKEN if ended.state is TransferState.ISSUED else FREE
        assert world.states(ticket) == [expected]
    world.check_books()


def test_giving_up_after_somebody_else_has_issued_answers_with_the_update(
    far_world: World,
) -> None:
    """One line is told that the deadline passed while another one hands the update out."""
    device = far_world.device()
    request = collecting(device.context(), far_world.ticket())
    other = far_world.line()

    async def issued_elsewhere() -> tuple[Transfer | None, Started]:
        held = HeldBox(far_world.boxes.client, refusal=FirmKeyMissing("no key"))
        slow = far_world.line(held)
        task = asyncio.create_task(slow.start_transfer(request, Command()))
        await held.called.wait()
        await other.start_transfer(request, Command())
        held.go.set()
        return await task

    transfer, _ = far_world.run(issued_elsewhere())
    assert transfer is not None
    assert transfer.state is TransferState.ISSUED
    device.apply(transfer)
    far_world.check_books()


def test_issue_and_roll_back_done_again_change_nothing(world: World) -> None:
    device = world.device()
    transfer = world.collect(device, world.ticket())
    made = world.run(world.boxes.client.find(transfer.transfer_id))
    assert isinstance(made, ProgrammingResult)
    # Touching the container's row is how the two wait for each other; it leaves a higher version.
    with nothing_changes(world.db, but=("op", "container")):
        assert outcome.roll_back(world.db, transfer, "late") is False
        assert outcome.roll_back(world.db, transfer, "late") is False
        outcome.issue(world.db, transfer, made)

"""Cancelling: while a transfer waits everything goes back; once a box has begun it is let finish."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.core.command import Command
from app.core.db import Database, Tx
from app.core.errors import DatabaseUnavailable, DomainError, OperationIdReused
from app.core.ids import TransferId
from app.core.origin import Actor, Origin
from app.licensing import (
    ItemDraft,
    LicenseState,
    ProductOptions,
    Programmer,
    Shown,
    Transfer,
    TransferState,
)
from app.licensing.errors import TransferIssued, TransferNotFound
from fsb_gateway import (
    FsbUnavailable,
    JobCancelled,
    JobPending,
    JobRunning,
    JobUnknown,
    ProgrammingJob,
    ProgrammingResult,
)
from tests.fake.killed import Killed
from tests.fake.programmer import PassedOn, QueueingGateway
from tests.integration.app.licensing.world import (
    FIRM_CODE,
    NO_WAIT,
    PATIENCE,
    Boxes,
    Device,
    World,
    collecting,
    nothing_changes,
    returning,
    updating,
)
from tests.service.wait import wait_until_async

FREE = LicenseState.NOT_COLLECTED


@pytest.fixture
def gateway(boxes: Boxes) -> QueueingGateway:
    return QueueingGateway(boxes.client)


@pytest.fixture
def world(instance_db: Database, boxes: Boxes, gateway: QueueingGateway) -> World:
    """As elsewhere, with a box that begins when the test says so."""
    made = World(instance_db, boxes, programmer=gateway)
    made.sell(activations=100)
    made.item()
    return made


def reserve(world: World, device: Device, ticket: str) -> Transfer:
    reserved = world.transfer(collecting(device.context(), ticket), wait=NO_WAIT)
    assert reserved.state is TransferState.RESERVED
    return reserved


def cancel(world: World, transfer_id: TransferId, **more: Any) -> tuple[Transfer, bool]:
    command = Command(
        origin=Origin(
            actor=Actor(kind="client", actor_id="cli_1"), action="cancelTransfer", request_id="req_1"
        )
    )
    return world.run(world.transfers.cancel_transfer(transfer_id, command, **more))


def test_waiting_transfer_is_rolled_back_and_nothing_was_counted(
    world: World, gateway: QueueingGateway
) -> None:
    device, ticket = world.device(), world.ticket(3)
    request = collecting(device.context(), ticket)
    reserved = world.transfer(request, Command(op_id="erp:1"), wait=NO_WAIT)
    ended, new = cancel(world, reserved.transfer_id)
    assert new
    assert (ended.state, ended.reason, ended.update) == (TransferState.ROLLED_BACK, "cancelled", None)
    assert gateway.cancelled == [reserved.transfer_id]
    assert world.states(ticket) == [FREE] * 3
    assert [each.pending_transfer for each in world.licenses(ticket)] == [None] * 3
    assert (world.activations().used, world.activations().open) == (0, 0)
    told = world.events()[-1]
    assert (told.type, told.data["reason"]) == ("transfer.rolled_back", "cancelled")
    world.check_books()

    again = world.transfer(request, Command(op_id="erp:1"), wait=NO_WAIT)
    assert (again.state, again.fuc) == (TransferState.RESERVED, 1)
    assert again.transfer_id != reserved.transfer_id
    world.run(gateway.do(again.transfer_id))
    issued = world.transfer(request)
    device.apply(issued)
    assert (issued.transfer_id, world.activations().used) == (again.transfer_id, 3)
    world.check_books()


def test_whoever_cancels_stands_in_the_audit_chain(world: World) -> None:
    reserved = reserve(world, world.device(), world.ticket())
    cancel(world, reserved.transfer_id)
    with world.db.engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT actor, action, request_id FROM outbox_event WHERE type = 'transfer.rolled_back'"
        ).all()
    ((actor, action, request_id),) = found
    assert (json.loads(actor), action, request_id) == (
        {"kind": "client", "id": "cli_1"},
        "cancelTransfer",
        "req_1",
    )


def test_cancelling_again_changes_nothing(world: World) -> None:
    reserved = reserve(world, world.device(), world.ticket())
    first, _ = cancel(world, reserved.transfer_id)
    with nothing_changes(world.db):
        again, new = cancel(world, reserved.transfer_id)
    assert (again, new) == (first, False)


def test_other_transfer_of_the_container_may_begin_at_once(world: World, gateway: QueueingGateway) -> None:
    device, ticket = world.device(), world.ticket(2)
    first, second = world.ids(ticket)
    reserved = world.transfer(collecting(device.context(), ticket, [first]), wait=NO_WAIT)
    with pytest.raises(DomainError) as refusal:
        world.transfer(collecting(device.context(), ticket, [second]), wait=NO_WAIT)
    assert (refusal.value.code, refusal.value.detail["transfer_id"]) == (
        "transfer_open",
        reserved.transfer_id,
    )
    assert "cancel" in refusal.value.message
    cancel(world, reserved.transfer_id)
    other = world.transfer(collecting(device.context(), ticket, [second]), wait=NO_WAIT)
    world.run(gateway.do(other.transfer_id))
    world.clock.advance(timedelta(seconds=1))
    world.run(world.transfers.drive_due())
    device.apply(world.transfer(updating(device.context())))
    assert set(device.items) == {second}
    world.check_books()


@pytest.mark.parametrize("state", ["running", "unknown"])
def test_job_that_a_box_has_begun_is_let_finish(world: World, gateway: QueueingGateway, state: Any) -> None:
    device, ticket = world.device(), world.ticket()
    reserved = reserve(world, device, ticket)
    gateway.state = state
    with nothing_changes(world.db), pytest.raises(JobRunning):
        cancel(world, reserved.transfer_id)
    world.run(gateway.do(reserved.transfer_id))
    world.clock.advance(timedelta(seconds=1))
    assert world.run(world.transfers.drive_due()) == 1
    with nothing_changes(world.db), pytest.raises(TransferIssued):
        cancel(world, reserved.transfer_id)
    device.apply(world.transfers.get_transfer(reserved.transfer_id))
    world.check_books()


def test_gateway_that_cannot_be_asked_changes_nothing(world: World, gateway: QueueingGateway) -> None:
    reserved = reserve(world, world.device(), world.ticket())
    gateway.trouble = FsbUnavailable("gone")
    with nothing_changes(world.db), pytest.raises(FsbUnavailable):
        cancel(world, reserved.transfer_id)
    assert world.transfers.get_transfer(reserved.transfer_id).state is TransferState.RESERVED


def test_transfer_whose_job_the_gateway_does_not_have_can_be_cancelled(
    world: World, gateway: QueueingGateway
) -> None:
    reserved = reserve(world, world.device(), world.ticket())
    gateway.start_anew()
    ended, new = cancel(world, reserved.transfer_id)
    assert (ended.reason, new) == ("cancelled", True)
    world.check_books()


def test_transfer_that_is_not_there_cannot_be_cancelled(world: World) -> None:
    with nothing_changes(world.db), pytest.raises(TransferNotFound):
        cancel(world, TransferId("trf_0"))


def test_caller_who_waits_is_told(world: World, gateway: QueueingGateway) -> None:
    request = collecting(world.device().context(), world.ticket())

    async def cancelled_meanwhile() -> None:
        waiting = asyncio.create_task(world.transfers.start_transfer(request, Command()))
        second = asyncio.create_task(world.transfers.start_transfer(request, Command()))
        await wait_until_async(lambda: bool(gateway.open_jobs), "the job to be sent")
        await world.transfers.cancel_transfer(TransferId(gateway.open_jobs[0]), Command())
        for task in (waiting, second):
            with pytest.raises(JobCancelled):
                await task

    world.run(cancelled_meanwhile())
    world.check_books()


def test_caller_who_waits_at_another_line_is_told_or_finds_it(world: World, gateway: QueueingGateway) -> None:
    request = collecting(world.device().context(), world.ticket())
    other = world.line(gateway)

    async def cancelled_elsewhere() -> str:
        waiting = asyncio.create_task(world.transfers.start_transfer(request, Command()))
        await wait_until_async(lambda: bool(gateway.open_jobs), "the job to be sent")
        transfer_id = TransferId(gateway.open_jobs[0])
        await other.cancel_transfer(transfer_id, Command())
        try:
            transfer, _ = await waiting
        except JobCancelled:
            return transfer_id
        assert transfer is not None
        assert transfer.state is TransferState.RESERVED
        return transfer_id

    transfer_id = TransferId(world.run(cancelled_elsewhere()))
    ended = world.transfers.get_transfer(transfer_id)
    assert (ended.state, ended.reason) == (TransferState.ROLLED_BACK, "cancelled")
    world.check_books()


class LateAnswer(PassedOn):
    """A box does the job at once; its answer takes its time."""

    def __init__(self, client: Programmer) -> None:
        super().__init__(client)
        self.made: ProgrammingResult | JobPending | None = None
        self.go = asyncio.Event()

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        self.made = await self.client.program(job, wait=wait)
        await self.go.wait()
        return self.made


def test_result_of_a_job_that_another_line_sent_again_is_thrown_away(world: World, boxes: Boxes) -> None:
    late = LateAnswer(boxes.client)
    other = world.line(late)
    device, ticket = world.device(), world.ticket()
    request = collecting(device.context(), ticket)
    reserved = world.transfer(request, wait=NO_WAIT)

    async def race() -> None:
        sent_again = asyncio.create_task(other.start_transfer(request, Command()))
        await wait_until_async(lambda: late.made is not None, "a box to do it")
        await world.transfers.cancel_transfer(reserved.transfer_id, Command())
        late.go.set()
        with pytest.raises(JobCancelled):
            await sent_again

    world.run(race())
    ended = world.transfers.get_transfer(reserved.transfer_id)
    assert (ended.state, ended.reason, ended.update) == (TransferState.ROLLED_BACK, "cancelled", None)
    assert (world.activations().used, world.activations().open) == (0, 0)
    assert world.states(ticket) == [FREE]

    anew, _ = world.run(world.line(boxes.client).start_transfer(request, Command()))
    assert anew is not None
    assert isinstance(late.made, ProgrammingResult)
    assert (anew.fuc, anew.update == late.made.update) == (1, False)
    device.apply(anew)
    world.check_books()


def test_update_that_was_issued_while_somebody_cancels_stays(world: World, boxes: Boxes) -> None:
    """The gateway has been started anew and does not know the job; another line has had it done already."""
    device, ticket = world.device(), world.ticket()
    request = collecting(device.context(), ticket)
    reserved = world.transfer(request, wait=NO_WAIT)

    class DoneMeanwhile(QueueingGateway):
        async def cancel(self, job_id: str) -> None:
            await world.line(boxes.client).start_transfer(request, Command(), wait=PATIENCE)
            raise JobUnknown("not known here")

    line = world.line(DoneMeanwhile(boxes.client))
    with pytest.raises(TransferIssued):
        world.run(line.cancel_transfer(reserved.transfer_id, Command(op_id="mine")))
    device.apply(world.transfers.get_transfer(reserved.transfer_id))
    assert world.activations().used == 1
    world.check_books()


class Dying(QueueingGateway):
    """Whoever cancels dies when the job is out of its queue."""

    async def cancel(self, job_id: str) -> None:
        await super().cancel(job_id)
        raise Killed("after cancel")


def test_line_that_dies_between_queue_and_books_has_cancelled_nothing(world: World, boxes: Boxes) -> None:
    dying = Dying(boxes.client)
    line = world.line(dying)
    device, ticket = world.device(), world.ticket()
    request = collecting(device.context(), ticket)

    async def die() -> Transfer:
        waiting = asyncio.create_task(world.line(dying).start_transfer(request, Command()))
        await wait_until_async(lambda: bool(dying.open_jobs), "the job to be sent")
        with pytest.raises(Killed):
            await line.cancel_transfer(TransferId(dying.open_jobs[0]), Command())
        transfer, _ = await waiting
        assert transfer is not None
        return transfer

    reserved = world.run(die())
    assert (reserved.state, reserved.standing and reserved.standing.reason) == (
        TransferState.RESERVED,
        "job_cancelled",
    )
    world.clock.advance(timedelta(seconds=1))
    assert world.run(world.line(boxes.client).drive_due(wait=PATIENCE)) == 1
    device.apply(world.transfers.get_transfer(reserved.transfer_id))
    world.check_books()


@pytest.mark.parametrize("op_id", ["erp:1", "erp:2"])
def test_key_that_was_used_for_something_else_leaves_the_job_in_its_queue(
    world: World, gateway: QueueingGateway, op_id: str
) -> None:
    request = collecting(world.device().context(), world.ticket())
    reserved = world.transfer(request, Command(op_id="erp:1", fingerprint="start"), wait=NO_WAIT)
    world.items.add_item(
        ItemDraft(sku="B", name="B", options=ProductOptions(product_code=1)), Command(op_id="erp:2")
    )
    gateway.jobs.clear()
    with nothing_changes(world.db), pytest.raises(OperationIdReused):
        world.run(
            world.transfers.cancel_transfer(reserved.transfer_id, Command(op_id=op_id, fingerprint="cancel"))
        )
    assert (gateway.cancelled, gateway.open_jobs, gateway.jobs) == ([], [reserved.transfer_id], [])


def test_job_whose_transfer_cannot_be_rolled_back_is_sent_again_at_once(
    world: World, gateway: QueueingGateway
) -> None:
    def refuse(_tx: Tx) -> None:
        raise DatabaseUnavailable("full")

    device, ticket = world.device(), world.ticket()
    reserved = reserve(world, device, ticket)
    with nothing_changes(world.db), pytest.raises(DatabaseUnavailable):
        world.run(world.transfers.cancel_transfer(reserved.transfer_id, Command(charge=refuse)))
    assert gateway.cancelled == gateway.open_jobs == [reserved.transfer_id]
    world.run(gateway.do(reserved.transfer_id))
    world.clock.advance(timedelta(seconds=2))
    world.run(world.transfers.drive_due())
    device.apply(world.transfers.get_transfer(reserved.transfer_id))
    world.check_books()


# Who is not the vendor has to show something.


def shown(**what: Any) -> Shown:
    return Shown(**{"ticket": None, "context": None, **what})


def test_holder_cancels_with_the_ticket_or_a_file_of_the_container(world: World) -> None:
    for number, with_ticket in enumerate((True, False)):
        device = world.device(f"130-100000000{number}")
        ticket = world.ticket(number=f"H-{number}")
        reserved = reserve(world, device, ticket)
        proof = shown(ticket=ticket) if with_ticket else shown(context=device.context())
        ended, new = cancel(world, reserved.transfer_id, shown=proof)
        assert (ended.reason, new) == ("cancelled", True)
    world.check_books()


def test_stranger_who_knows_the_transfers_id_cancels_nothing(world: World) -> None:
    device, ticket = world.device(), world.ticket()
    reserved = reserve(world, device, ticket)
    other_ticket = world.ticket(number="B-1")
    forged = world.device(device.serial)
    with nothing_changes(world.db):
        for what in (
            shown(ticket=other_ticket),
            shown(context=world.device("130-1000000002").context()),
            shown(context=forged.context()),
            shown(),
        ):
            with pytest.raises(TransferNotFound):
                cancel(world, reserved.transfer_id, shown=what)


def test_file_that_somebody_has_kept_cancels_nothing(world: World, gateway: QueueingGateway) -> None:
    device, ticket = world.device(), world.ticket(2)
    kept = [device.context()]
    first, second = world.ids(ticket)
    early = world.transfer(collecting(device.context(), ticket, [first]), wait=NO_WAIT)
    kept.append(device.context())
    world.run(gateway.do(early.transfer_id))
    world.clock.advance(timedelta(seconds=1))
    world.run(world.transfers.drive_due())
    device.apply(world.transfers.get_transfer(early.transfer_id))
    kept.append(device.context())
    request = collecting(device.context(), ticket, [second])
    reserved = world.transfer(request, wait=NO_WAIT)
    elsewhere = replace(device.context(), firm_code=FIRM_CODE + 1)
    with nothing_changes(world.db):
        for file in (*kept, elsewhere):
            with pytest.raises(TransferNotFound):
                cancel(world, reserved.transfer_id, shown=shown(context=file))
    ended, _ = cancel(world, reserved.transfer_id, shown=shown(context=request.context))
    assert ended.reason == "cancelled"
    world.check_books()


def test_file_that_a_transfer_was_asked_for_with_cancels_it_whatever_came_in_between(
    world: World, gateway: QueueingGateway
) -> None:
    device, ticket = world.device(), world.ticket(2)
    first, second = world.ids(ticket)
    early = world.transfer(collecting(device.context(), ticket, [first]), wait=NO_WAIT)
    world.run(gateway.do(early.transfer_id))
    world.clock.advance(timedelta(seconds=1))
    world.run(world.transfers.drive_due())
    request = collecting(device.context(), ticket, [second])
    reserved = world.transfer(request, wait=NO_WAIT)
    device.apply(world.transfers.get_transfer(early.transfer_id))
    world.confirm(early, device.receipt())
    ended, _ = cancel(world, reserved.transfer_id, shown=shown(context=request.context))
    assert ended.reason == "cancelled"
    world.check_books()


def test_transfer_without_a_ticket_is_not_cancelled_by_showing_none(world: World) -> None:
    device, ticket = world.device(), world.ticket()
    first = reserve(world, device, ticket)
    world.run(world.transfers.cancel_transfer(first.transfer_id, Command()))
    assert first.ticket == ticket
    world.run(world.line(world.boxes.client).start_transfer(collecting(device.context(), ticket), Command()))
    device.apply(world.transfer(updating(device.context())))
    held = world.ids(ticket)
    reserved = world.transfer(returning(device.context(), held), wait=NO_WAIT)
    assert reserved.ticket is None
    with nothing_changes(world.db), pytest.raises(TransferNotFound):
        cancel(world, reserved.transfer_id, shown=shown())
    ended, _ = cancel(world, reserved.transfer_id, shown=shown(context=device.context()))
    assert ended.reason == "cancelled"
    assert world.states(ticket) == [LicenseState.CONFIRMED_COLLECTED]
    world.check_books()

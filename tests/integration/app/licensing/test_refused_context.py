"""What contexts and receipts get that do not fit; quotas used up; operation ids used again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from app.core.command import Command
from app.core.db import Tx
from app.core.errors import DomainError, InputInvalid, OperationIdReused
from app.core.ids import TransferId
from app.licensing import ContainerState, Decision
from app.licensing.errors import (
    ContainerBlocked,
    ContainerNotFound,
    ContainerNotInQuestion,
    ContextFromFuture,
    ContextOutdated,
    ContextReplayed,
    ContextWrongContainer,
    ContextWrongFirmCode,
    FucTooNew,
    FucTooOld,
    KeyMismatch,
    ReceiptTooOld,
    TicketUnknown,
    TransferNotFound,
)
from app.licensing.order.ticket_code import new_ticket
from editions import NoContractInForce, QuotaExceeded
from tests.integration.app.licensing.refusal import refused
from tests.integration.app.licensing.world import (
    World,
    collected,
    collecting,
    nothing_changes,
    returning,
    updating,
)

# Contexts


def test_context_of_another_container_than_the_named_one(world: World) -> None:
    device = world.device()
    request = collecting(device.context(), world.ticket(), container="130-1000000002")
    refused(world, lambda: world.transfer(request), ContextWrongContainer)


def test_context_for_another_instance(world: World) -> None:
    device = world.device()
    foreign = replace(device.context(), firm_code=6_000_011)
    ticket = world.ticket()
    refused(world, lambda: world.transfer(collecting(foreign, ticket)), ContextWrongFirmCode)


def test_context_used_before_for_another_request(world: World) -> None:
    device = world.device()
    ticket = world.ticket(2)
    first, second = world.ids(ticket)
    context = device.context()
    world.transfer(collecting(context, ticket, [first]))
    refused(world, lambda: world.transfer(collecting(context, ticket, [second])), ContextReplayed)


def test_context_older_than_the_newest_seen(world: World) -> None:
    device = world.device()
    ticket = world.ticket(2)
    first, second = world.ids(ticket)
    old = device.context()
    world.collect(device, ticket, [first])
    refused(world, lambda: world.transfer(collecting(old, ticket, [second])), ContextOutdated)


def test_context_of_a_clock_that_is_far_ahead(world: World) -> None:
    """Noted once, it would make every later context outdated."""
    device = world.device()
    ticket = world.ticket()
    ahead = device.context()
    ahead = replace(ahead, made_at=ahead.made_at + timedelta(days=1, seconds=1))
    refused(world, lambda: world.transfer(collecting(ahead, ticket)), ContextFromFuture)
    a_bit = replace(ahead, made_at=ahead.made_at - timedelta(seconds=2))
    transfer = world.transfer(collecting(a_bit, ticket))
    device.apply(transfer)
    receipt = replace(device.receipt(), made_at=ahead.made_at + timedelta(seconds=2))
    refused(world, lambda: world.confirm(transfer, receipt), ContextFromFuture)
    world.clock.advance(timedelta(days=1))
    world.confirm(transfer, device.receipt())


def test_stale_context_from_before_an_update_is_outdated_and_no_sign_of_a_copy(world: World) -> None:
    device = world.device()
    ticket = world.ticket(2)
    first, second = world.ids(ticket)
    old = device.context()
    device.apply(world.collect(device, ticket, [first]))
    world.run(world.transfers.start_transfer(updating(device.context()), Command()))
    refused(world, lambda: world.transfer(collecting(old, ticket, [second])), ContextOutdated)
    assert world.containers.get_container(device.serial).container.state is ContainerState.OK


# Containers that contradict the books


def stopped(world: World, act: Callable[[], object], error: type[DomainError], serial: str) -> None:
    """Only the container itself is touched, with the reason; one event tells of it."""
    refused(world, act, error, but=("container", "op", "outbox_event", "outbox_sequence"))
    container = world.containers.get_container(serial).container
    assert (container.state, str(container.reason)) == (ContainerState.UNEXPECTED_STATE, error.code)
    last = world.events()[-1]
    assert (last.type, last.subject) == ("container.unexpected_state", serial)


def test_counter_that_was_never_issued(world: World) -> None:
    held = collected(world)
    ticket = world.ticket(number="A-2")
    ahead = replace(held.device.context(), fuc=2)
    stopped(world, lambda: world.transfer(collecting(ahead, ticket)), FucTooNew, held.device.serial)
    refused(world, lambda: world.collect(held.device, ticket), FucTooNew)


def test_counter_below_the_proven_one(world: World) -> None:
    held = collected(world)
    ticket = world.ticket(number="A-2")
    behind = replace(held.device.context(), fuc=0)
    stopped(world, lambda: world.transfer(collecting(behind, ticket)), FucTooOld, held.device.serial)


def test_context_signed_by_another_key(world: World) -> None:
    held = collected(world)
    ticket = world.ticket(number="A-2")
    impostor = world.device(held.device.serial)
    stopped(world, lambda: world.collect(impostor, ticket), KeyMismatch, held.device.serial)


def test_somebody_without_a_ticket_cannot_stop_a_container(world: World) -> None:
    held = collected(world)
    impostor = world.device(held.device.serial)
    request = updating(impostor.context(), authenticated=False)
    refused(world, lambda: world.transfer(request), KeyMismatch)
    with_a_bad_ticket = updating(impostor.context(), ticket=new_ticket(), authenticated=False)
    refused(world, lambda: world.transfer(with_a_bad_ticket), TicketUnknown)


def test_holder_whose_ticket_has_nothing_in_a_container_cannot_stop_it(world: World) -> None:
    held = collected(world)
    stranger = collecting(
        world.device(held.device.serial).context(), world.ticket(number="A-2"), authenticated=False
    )
    refused(world, lambda: world.transfer(stranger), KeyMismatch)


def test_holder_whose_ticket_has_a_licence_there_stops_it(world: World) -> None:
    held = collected(world)
    rival = collecting(world.device(held.device.serial).context(), held.ticket, authenticated=False)
    stopped(world, lambda: world.transfer(rival), KeyMismatch, held.device.serial)


def test_somebody_without_a_ticket_cannot_register_a_container(world: World) -> None:
    squatter = world.device()
    request = updating(squatter.context(), authenticated=False)
    refused(world, lambda: world.transfer(request), ContainerNotFound)
    owner = world.device()
    world.collect(owner, world.ticket())


def test_blocked_container(world: World) -> None:
    held = collected(world)
    ticket = world.ticket(number="A-2")
    serial = held.device.serial
    world.containers.block_container(serial, reason="lost", command=Command())
    with nothing_changes(world.db, but=("op", "container")):
        assert world.containers.block_container(serial, reason="lost", command=Command()).replayed
    refused(world, lambda: world.collect(held.device, ticket), ContainerBlocked)
    refused(world, lambda: world.transfer(updating(held.device.context())), ContainerBlocked)
    act = lambda: world.containers.restore_container(  # noqa: E731
        serial, Decision.ACCEPT_REPORTED, reason="found", command=Command()
    )
    refused(world, act, ContainerNotInQuestion)
    world.containers.restore_container(serial, Decision.KEEP_RECORDED, reason="found", command=Command())
    world.collect(held.device, ticket)


def test_decision_about_a_container_that_is_in_order(world: World) -> None:
    held = collected(world)
    for decision in Decision:
        act = lambda decision=decision: world.containers.restore_container(  # noqa: E731
            held.device.serial, decision, reason="", command=Command()
        )
        refused(world, act, ContainerNotInQuestion)
    unknown = lambda: world.containers.block_container("130-1", reason="", command=Command())  # noqa: E731
    refused(world, unknown, ContainerNotFound)


# Receipts


def test_receipt_from_before_the_update(world: World) -> None:
    device = world.device()
    transfer = world.collect(device, world.ticket())
    refused(world, lambda: world.confirm(transfer, device.receipt()), ReceiptTooOld)


def test_receipt_of_another_container(world: World) -> None:
    held = collected(world)
    other = world.device("130-1000000002")
    transfer = world.collect(other, world.ticket(number="A-2"))
    refused(world, lambda: world.confirm(transfer, held.device.receipt()), ContextWrongContainer)


def test_receipt_for_another_instance_or_of_an_unknown_transfer(world: World) -> None:
    device = world.device()
    transfer = world.collect(device, world.ticket())
    device.apply(transfer)
    foreign = replace(device.receipt(), firm_code=6_000_011)
    refused(world, lambda: world.confirm(transfer, foreign), ContextWrongFirmCode)
    unknown = replace(transfer, transfer_id=TransferId("trf_unknown"))
    refused(world, lambda: world.confirm(unknown, device.receipt()), TransferNotFound)


def test_receipt_signed_by_another_key(world: World) -> None:
    device = world.device()
    transfer = world.collect(device, world.ticket())
    forged = replace(world.device().receipt(), fuc=1)
    stopped(world, lambda: world.confirm(transfer, forged), KeyMismatch, device.serial)


def test_replayed_receipt_confirms_once(world: World) -> None:
    device = world.device()
    transfer = world.collect(device, world.ticket())
    device.apply(transfer)
    receipt = device.receipt()
    assert world.confirm(transfer, receipt)[1]
    with nothing_changes(world.db, but=("op", "container")):
        again, new = world.confirm(transfer, receipt)
    assert (again.confirmed_at, new) == (
        world.transfers.get_transfer(transfer.transfer_id).confirmed_at,
        False,
    )


def test_receipt_of_an_older_transfer_does_not_confirm_a_newer_one(world: World) -> None:
    device = world.device()
    ticket = world.ticket(2)
    first, second = world.ids(ticket)
    device.apply(world.collect(device, ticket, [first]))
    newer = world.collect(device, ticket, [second])
    refused(world, lambda: world.confirm(newer, device.receipt()), ReceiptTooOld)


# Quota and operation ids


def test_quota_used_up(world: World) -> None:
    ticket = world.ticket(101)
    ids = world.ids(ticket)
    device = world.device()
    device.apply(world.collect(device, ticket, ids[:99]))
    error = refused(world, lambda: world.collect(device, ticket, ids[99:]), QuotaExceeded)
    assert error.detail["resets_at"] == "2026-03-31T22:00:00.000000Z"
    assert error.detail["requested"] == 2
    assert error.detail["lifted_by"]
    device.apply(world.collect(device, ticket, ids[99:100]))
    refused(world, lambda: world.collect(device, ticket, ids[100:]), QuotaExceeded)
    world.run(world.transfers.start_transfer(updating(device.context()), Command()))
    back = world.give_back(device, ids[:1])
    assert (back.fuc, world.activations().used) == (3, 101), "a return is counted, never refused"
    world.check_books()


def test_no_contract(world: World) -> None:
    ticket = world.ticket()
    world.clock.set(world.clock.now() - timedelta(days=365))
    refused(world, lambda: world.collect(world.device(), ticket), NoContractInForce)


def test_charge_that_refuses_takes_everything_with_it(world: World) -> None:
    def refuse(_tx: Tx) -> None:
        raise InputInvalid("no", field="charge")

    held = collected(world)
    ticket = world.ticket(number="A-2")
    request = collecting(held.device.context(), ticket)
    refused(world, lambda: world.transfer(request, Command(charge=refuse)), InputInvalid)
    act = lambda: world.order("A-3", command=Command(charge=refuse))  # noqa: E731
    refused(world, act, InputInvalid)


def test_operation_id_used_for_something_else(world: World) -> None:
    held = collected(world)
    ticket = world.ticket(number="A-2")
    request = collecting(held.device.context(), ticket)
    world.transfer(request, Command(op_id="key-1", fingerprint="a"))
    other = returning(held.device.context(), held.licenses)
    act = lambda: world.transfer(other, Command(op_id="key-1", fingerprint="b"))  # noqa: E731
    refused(world, act, OperationIdReused)

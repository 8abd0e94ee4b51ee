"""What bad input gets: a stable code, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from app.core.command import Command
from app.core.db import Tx
from app.core.errors import DomainError, InputInvalid, OperationIdReused
from app.core.ids import LicenseId, TransferId
from app.licensing import ContainerState, ContainerType, Decision, ItemDraft, ProductOptions
from app.licensing.errors import (
    ContainerBlocked,
    ContainerNotFound,
    ContainerNotInQuestion,
    ContainerTypeNotAllowed,
    ContextOutdated,
    ContextReplayed,
    ContextWrongContainer,
    ContextWrongFirmCode,
    FucTooNew,
    FucTooOld,
    ItemConflict,
    ItemNotFound,
    ItemNotReturnable,
    ItemVersionConflict,
    KeyMismatch,
    LicenseExpired,
    LicenseNotAvailable,
    LicenseNotConfirmed,
    LicenseNotFound,
    LicenseNotOnContainer,
    LicenseNotOnTicket,
    NothingToActivate,
    OrderConflict,
    OrderNotFound,
    QuantityOutOfRange,
    ReceiptTooOld,
    TicketMalformed,
    TicketUnknown,
    TransferNotFound,
)
from app.licensing.order.ticket_code import new_ticket
from editions import NoContractInForce, QuotaExceeded
from tests.integration.app.licensing.world import (
    World,
    collected,
    collecting,
    nothing_changes,
    order_draft,
    position,
    returning,
    updating,
)


def refused(
    world: World, act: Callable[[], object], error: type[DomainError], *, but: tuple[str, ...] = ()
) -> DomainError:
    with nothing_changes(world.db, but=but), pytest.raises(error) as caught:
        act()
    assert type(caught.value) is error
    return caught.value


# Tickets and licences


def test_unknown_ticket(world: World) -> None:
    device = world.device()
    refused(world, lambda: world.collect(device, new_ticket()), TicketUnknown)
    refused(world, lambda: world.orders.get_ticket(new_ticket()), TicketUnknown)
    refused(world, lambda: world.orders.get_ticket("AAAAA-BBBBB"), TicketMalformed)


def test_refused_first_context_does_not_register_its_container(world: World) -> None:
    device = world.device()
    refused(world, lambda: world.collect(device, new_ticket()), TicketUnknown)
    refused(world, lambda: world.containers.get_container(device.serial), ContainerNotFound)


def test_licence_of_another_ticket(world: World) -> None:
    device = world.device()
    ticket = world.ticket()
    other = world.ids(world.ticket(number="A-2"))
    error = refused(world, lambda: world.collect(device, ticket, other), LicenseNotOnTicket)
    assert error.detail["license_id"] == other[0]
    unknown = [LicenseId("lic_unknown")]
    refused(world, lambda: world.collect(device, ticket, unknown), LicenseNotOnTicket)
    refused(world, lambda: world.orders.get_license(unknown[0]), LicenseNotFound)


def test_one_bad_licence_among_good_ones_refuses_all(world: World) -> None:
    device = world.device()
    ticket = world.ticket(2)
    other = world.ids(world.ticket(number="A-2"))
    mixed = [*world.ids(ticket), *other]
    refused(world, lambda: world.collect(device, ticket, mixed), LicenseNotOnTicket)


def test_licence_in_another_container(world: World) -> None:
    held = collected(world)
    other = world.device("130-1000000002")
    refused(world, lambda: world.collect(other, held.ticket, held.licenses), LicenseNotAvailable)
    refused(world, lambda: world.collect(other, held.ticket), LicenseNotAvailable)
    refused(world, lambda: world.give_back(other, held.licenses), LicenseNotOnContainer)


def test_ticket_without_anything_left(world: World) -> None:
    held = collected(world, 2)
    refused(world, lambda: world.collect(held.device, held.ticket), NothingToActivate)


def test_expired_licence(world: World) -> None:
    soon = world.clock.now() + timedelta(days=1)
    world.item("RENT", expiration_time=soon)
    ticket = world.ticket(sku="RENT")
    world.clock.set(soon)
    device = world.device()
    refused(world, lambda: world.collect(device, ticket), LicenseExpired)
    refused(world, lambda: world.collect(device, ticket, world.ids(ticket)), LicenseExpired)


def test_licence_that_may_only_go_into_a_dongle(world: World) -> None:
    draft = ItemDraft(
        sku="DONGLE",
        name="Dongle only",
        options=ProductOptions(product_code=7),
        container_types=(ContainerType.CM_DONGLE,),
    )
    world.items.add_item(draft, Command())
    ticket = world.ticket(sku="DONGLE")
    device = world.device()
    refused(world, lambda: world.collect(device, ticket), ContainerTypeNotAllowed)
    world.collect(world.device("3-1234567"), ticket)


def test_serial_with_an_unknown_mask(world: World) -> None:
    ticket = world.ticket()
    refused(world, lambda: world.collect(world.device("99-1234567"), ticket), InputInvalid)


def test_item_that_is_not_returnable(world: World) -> None:
    world.item("FIXED", returnable=False)
    device = world.device()
    ticket = world.ticket(sku="FIXED")
    transfer = world.collect(device, ticket)
    device.apply(transfer)
    world.confirm(transfer, device.receipt())
    refused(world, lambda: world.give_back(device, world.ids(ticket)), ItemNotReturnable)


def test_return_before_the_collection_is_confirmed(world: World) -> None:
    device = world.device()
    ticket = world.ticket()
    world.collect(device, ticket)
    refused(world, lambda: world.give_back(device, world.ids(ticket)), LicenseNotConfirmed)


def test_returned_licence_is_not_free_before_the_receipt(world: World) -> None:
    held = collected(world)
    world.give_back(held.device, held.licenses)
    error = refused(world, lambda: world.collect(held.device, held.ticket, held.licenses), LicenseNotAvailable)
    assert error.detail["state"] == "returned"


def test_nothing_named_and_too_much_named(world: World) -> None:
    device = world.device()
    ticket = world.ticket()
    refused(world, lambda: world.give_back(device, []), InputInvalid)
    twice = world.ids(ticket) * 2
    refused(world, lambda: world.collect(device, ticket, twice), InputInvalid)
    many = [LicenseId(f"lic_{number}") for number in range(101)]
    refused(world, lambda: world.collect(device, ticket, many), InputInvalid)
    ticket = world.ticket(101, number="A-101")
    refused(world, lambda: world.collect(device, ticket), InputInvalid)


def test_update_that_no_container_could_read(world: World) -> None:
    """Each included update makes the next one larger; a container reads files up to 256 KiB."""
    world.sell(activations=1000)
    world.item("LONG", text="\N{SNOWMAN}" * 256)
    ticket = world.ticket(200, sku="LONG")
    ids = world.ids(ticket)
    device = world.device()
    lost = world.collect(device, ticket, ids[:90])
    refused(world, lambda: world.collect(device, ticket, ids[90:180]), InputInvalid)
    device.apply(world.transfer(updating(device.context())))
    assert device.fuc == lost.fuc
    device.apply(world.collect(device, ticket, ids[90:180]))
    assert set(device.items) == set(ids[:180])


# Orders and items


def test_quantity_that_cannot_be_meant(world: World) -> None:
    for quantity in (0, -1, 1001):
        act = lambda quantity=quantity: world.order("A-1", position(quantity=quantity))  # noqa: E731
        refused(world, act, QuantityOutOfRange)
    refused(world, lambda: world.orders.get_order("A-1"), OrderNotFound)


def test_ticket_that_would_grow_too_large(world: World) -> None:
    full = [position(number, quantity=1000) for number in range(1, 6)]
    world.order("A-1", *full)
    refused(world, lambda: world.order("A-1", position(6)), QuantityOutOfRange)


@pytest.mark.parametrize("number", [0, -1, 2**31])
def test_position_number_out_of_range(world: World, number: int) -> None:
    refused(world, lambda: world.order("A-1", position(number)), InputInvalid)


def test_order_number_with_other_content(world: World) -> None:
    world.order("A-1", position(10, quantity=2))
    for other in (position(10, quantity=3), position(10, quantity=2, feature_map=1)):
        act = lambda other=other: world.order("A-1", other)  # noqa: E731
        error = refused(world, act, OrderConflict)
        assert error.detail == {"order_number": "A-1", "position": 10}
    stranger = order_draft("A-1", position(10, quantity=2), reference="Somebody else")
    refused(world, lambda: world.orders.place_order(stranger, Command()), OrderConflict)
    partly_new = (position(20), position(10, quantity=3))
    refused(world, lambda: world.order("A-1", *partly_new), OrderConflict)


def test_order_of_an_unknown_item(world: World) -> None:
    refused(world, lambda: world.order("A-1", position(sku="NONE")), ItemNotFound)
    refused(world, lambda: world.order("A-1", position(10), position(20, sku="NONE")), ItemNotFound)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("product_code", 5),
        ("colour", "red"),
        ("feature_map", -1),
        ("feature_map", 2**32),
        ("feature_map", True),
        ("license_quantity", "3"),
        ("expiration_time", "soon"),
        ("expiration_time", "2027-01-31T00:00:00"),
        ("expiration_time", 5),
        ("maintenance_end", "2027-01-31T00:00:00Z"),
        ("text", "x" * 257),
        ("text", 5),
        ("text", "\ud800"),
        ("usage_period_seconds", 0),
    ],
)
def test_order_with_an_option_that_makes_no_sense(world: World, name: str, value: str | int) -> None:
    error = refused(world, lambda: world.order("A-1", position(10, **{name: value})), InputInvalid)
    assert error.detail["field"] == name


def test_sku_with_other_content_and_a_version_that_is_not_the_newest(world: World) -> None:
    refused(world, lambda: world.item("CAD", feature_map=3), ItemConflict)
    draft = replace(world.items.get_item("CAD").draft(), name="New name")
    error = refused(
        world, lambda: world.items.replace_item(draft, version=9, command=Command()), ItemVersionConflict
    )
    assert error.detail["version"] == 1
    absent = replace(draft, sku="NONE")
    refused(world, lambda: world.items.replace_item(absent, version=1, command=Command()), ItemNotFound)


def test_names_differ_by_case_on_every_engine(world: World) -> None:
    world.item("cad")
    assert world.order("a-1", position(sku="cad")).ticket != world.order("A-1").ticket


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
    assert (again.confirmed_at, new) == (world.transfers.get_transfer(transfer.transfer_id).confirmed_at, False)


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


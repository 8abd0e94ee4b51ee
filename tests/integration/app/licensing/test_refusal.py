"""What bad input gets: a stable code, and nothing changed. Tickets, licences, orders, items."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.core.command import Command
from app.core.errors import InputInvalid
from app.core.ids import LicenseId
from app.licensing import ContainerType, ItemDraft, OrderedPosition, ProductOptions
from app.licensing.errors import (
    ContainerNotFound,
    ContainerTypeNotAllowed,
    ItemConflict,
    ItemNotFound,
    ItemNotReturnable,
    ItemVersionConflict,
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
    TicketMalformed,
    TicketUnknown,
)
from app.licensing.order.ticket_code import new_ticket
from tests.integration.app.licensing.refusal import refused
from tests.integration.app.licensing.world import (
    World,
    collected,
    order_draft,
    position,
    updating,
)

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
    error = refused(
        world, lambda: world.collect(held.device, held.ticket, held.licenses), LicenseNotAvailable
    )
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
    odd = OrderedPosition(position=10, sku="CAD", quantity=1, options={name: value})
    error = refused(world, lambda: world.order("A-1", odd), InputInvalid)
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

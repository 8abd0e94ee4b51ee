"""The story of a licence, told with real boxes and a real container, on both engines."""

from __future__ import annotations

from app.core.command import Command
from app.licensing import LicenseState, Started, TransferState
from tests.integration.app.licensing.world import (
    World,
    collected,
    collecting,
    next_month,
    nothing_changes,
    position,
    returning,
    updating,
)

FREE = LicenseState.NOT_COLLECTED
TAKEN = LicenseState.COLLECTED
PROVEN = LicenseState.CONFIRMED_COLLECTED
RETURNED = LicenseState.RETURNED
FREE_AGAIN = LicenseState.CONFIRMED_RETURNED


def test_licences_are_collected_confirmed_returned_and_collected_again(world: World) -> None:
    device = world.device()
    ticket = world.ticket(3)
    first, second, third = world.ids(ticket)
    assert world.states(ticket) == [FREE] * 3

    transfer = world.collect(device, ticket, [first, second])
    assert (transfer.state, transfer.base_fuc, transfer.fuc) == (TransferState.ISSUED, 0, 1)
    assert world.states(ticket) == [TAKEN, TAKEN, FREE]
    device.apply(transfer)
    assert set(device.items) == {first, second}

    confirmed, new = world.confirm(transfer, device.receipt())
    assert (confirmed.state, new) == (TransferState.CONFIRMED, True)
    assert world.states(ticket) == [PROVEN, PROVEN, FREE]

    back = world.give_back(device, [first], ticket)
    assert world.states(ticket) == [RETURNED, PROVEN, FREE]
    device.apply(back)
    assert set(device.items) == {second}
    world.confirm(back, device.receipt())
    assert world.states(ticket) == [FREE_AGAIN, PROVEN, FREE]

    other = world.device("130-1000000002")
    again = world.collect(other, ticket)
    other.apply(again)
    world.confirm(again, other.receipt())
    assert world.states(ticket) == [PROVEN] * 3
    assert set(other.items) == {first, third}
    assert [license_.container for license_ in world.licenses(ticket)] == [
        other.serial,
        device.serial,
        other.serial,
    ]

    assert (world.activations().used, world.activations().open) == (5, 0)
    world.check_books()


def test_each_change_of_state_is_told_once_in_the_order_it_happened(world: World) -> None:
    held = collected(world)
    back = world.give_back(held.device, held.licenses)
    held.device.apply(back)
    world.confirm(back, held.device.receipt())
    assert world.event_types() == [
        "item.created",
        "order.created",
        "container.registered",
        "transfer.reserved",
        "transfer.issued",
        "license.collected",
        "transfer.confirmed",
        "license.collection_confirmed",
        "transfer.reserved",
        "transfer.issued",
        "license.returned",
        "transfer.confirmed",
        "license.return_confirmed",
    ]
    assert [event.subject for event in world.events()][-2:] == [back.transfer_id, held.licenses[0]]
    world.check_books()


def test_one_transfer_gives_back_and_collects_with_deactivations_first(world: World) -> None:
    held = collected(world, 1)
    world.ticket(2, number="A-2")
    ticket = world.orders.get_order("A-2").ticket
    new = world.ids(ticket)
    world.order("A-1", position(20, quantity=1))
    extra = world.ids(held.ticket)[1]

    request = collecting(held.device.context(), held.ticket, [extra], give_back=held.licenses)
    transfer = world.transfer(request)
    held.device.apply(transfer)
    assert set(held.device.items) == {extra}
    assert world.states(held.ticket) == [RETURNED, TAKEN]
    assert world.activations().used == 3

    both = world.transfer(collecting(held.device.context(), ticket))
    held.device.apply(both)
    assert set(held.device.items) == {extra, *new}
    assert world.states(held.ticket) == [FREE_AGAIN, PROVEN], "the later context proves the earlier update"
    world.check_books()


def test_lost_update_is_included_in_the_next_one(world: World) -> None:
    device = world.device()
    ticket = world.ticket(3)
    first, second, third = world.ids(ticket)
    lost = world.collect(device, ticket, [first])
    also_lost = world.collect(device, ticket, [second])
    transfer = world.collect(device, ticket, [third])
    assert (lost.fuc, also_lost.fuc, transfer.fuc) == (1, 2, 3)
    assert transfer.base_fuc == 0

    device.apply(transfer)
    assert set(device.items) == {first, second, third}
    assert device.fuc == 3
    world.confirm(transfer, device.receipt())
    assert world.states(ticket) == [PROVEN] * 3
    assert world.activations().used == 3
    world.check_books()


def test_lost_receipt_is_made_up_for_by_any_later_context(world: World) -> None:
    device = world.device()
    ticket = world.ticket(2)
    first, second = world.ids(ticket)
    device.apply(world.collect(device, ticket, [first]))
    transfer = world.collect(device, ticket, [second])
    assert world.states(ticket) == [PROVEN, TAKEN]
    device.apply(transfer)
    assert set(device.items) == {first, second}
    world.check_books()


def test_late_receipt_after_implicit_confirmation_changes_nothing(world: World) -> None:
    device = world.device()
    ticket = world.ticket(2)
    first, second = world.ids(ticket)
    transfer = world.collect(device, ticket, [first])
    device.apply(transfer)
    receipt = device.receipt()
    world.collect(device, ticket, [second])
    with nothing_changes(world.db, but=("op", "container")):
        found, new = world.confirm(transfer, receipt)
    assert (found.state, new) == (TransferState.CONFIRMED, False)
    world.check_books()


def test_auto_update_brings_a_lost_update_again_and_counts_nothing(world: World) -> None:
    device = world.device()
    ticket = world.ticket(1)
    lost = world.collect(device, ticket)
    again = world.transfer(updating(device.context()))
    assert (again.transfer_id, again.update) == (lost.transfer_id, lost.update)
    device.apply(again)
    nothing = world.run(world.transfers.start_transfer(updating(device.context()), Command()))
    assert nothing == (None, Started.NOTHING)
    assert world.states(ticket) == [PROVEN]
    assert world.activations().used == 1
    world.check_books()


def test_extension_of_an_order_adds_licences_to_the_same_ticket(world: World) -> None:
    order = world.order("A-1", position(10, quantity=2))
    extended = world.order("A-1", position(10, quantity=2), position(20, quantity=1, unit_counter=50))
    assert extended.ticket == order.ticket
    assert [each.position for each in world.licenses(order.ticket)] == [10, 10, 20]
    assert world.licenses(order.ticket)[2].options.unit_counter == 50
    assert extended.license_count == 3
    assert world.event_types()[-2:] == ["order.created", "order.extended"]


def test_licence_keeps_the_options_it_was_ordered_with_when_the_item_changes(world: World) -> None:
    ticket = world.ticket(1)
    item = world.items.get_item("CAD")
    changed = item.draft()
    object.__setattr__(changed, "name", "CAD 2")
    world.items.replace_item(changed, version=item.version, command=Command())
    assert world.licenses(ticket)[0].item_name == "Item CAD"
    assert world.items.get_item("CAD").version == 2


def test_update_says_what_the_order_said(world: World) -> None:
    device = world.device()
    order = world.order("A-1", position(10, feature_map=5, expiration_time="2027-01-01T00:00:00Z"))
    device.apply(world.collect(device, order.ticket))
    (held,) = device.items.values()
    assert dict(held.product) == {
        "product_code": 100,
        "feature_map": 5,
        "expiration_time": "2027-01-01T00:00:00.000000Z",
    }


def test_licence_returned_in_a_lost_update_is_not_free_before_it_is_proven(world: World) -> None:
    held = collected(world)
    back = world.give_back(held.device, held.licenses)
    assert world.states(held.ticket) == [RETURNED]
    world.order("A-2")
    other = world.orders.get_order("A-2").ticket
    transfer = world.collect(held.device, other)
    assert world.states(held.ticket) == [RETURNED]
    held.device.apply(transfer)
    assert set(held.device.items) == set(world.ids(other))
    world.confirm(back, held.device.receipt())
    assert world.states(held.ticket) == [FREE_AGAIN]
    assert world.states(other) == [PROVEN], "the receipt proves the later transfer, too"
    world.check_books()


def test_each_month_counts_for_itself(world: World) -> None:
    held = collected(world)
    march = world.activations()
    world.clock.set(next_month())
    world.give_back(held.device, held.licenses)
    assert (march.used, world.activations().used) == (1, 1)
    world.check_books()


def test_return_by_another_ticket_is_refused_but_without_ticket_the_container_is_enough(world: World) -> None:
    held = collected(world)
    transfer = world.transfer(returning(held.device.context(), held.licenses))
    assert transfer.ticket is None
    held.device.apply(transfer)
    assert held.device.items == {}

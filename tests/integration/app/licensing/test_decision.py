"""A container contradicts the books; staff decides, and it goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.cmcontainer import Container
from app.core.command import Command
from app.licensing import ContainerState, Decision, LicenseState, Started, TransferState
from app.licensing.errors import ContextReplayed, FucTooNew, FucTooOld, KeyMismatch, TransferOpen
from tests.integration.app.licensing.world import (
    PATIENCE,
    Device,
    World,
    collected,
    collecting,
    nothing_changes,
    updating,
)


def decide(world: World, serial: str, decision: Decision) -> None:
    world.containers.restore_container(serial, decision, reason="asked the customer", command=Command())
    assert world.containers.get_container(serial).container.state is ContainerState.OK
    assert world.event_types()[-1] == "container.restored"


def set_back(world: World, device: Device, backup: Container, ticket: str) -> None:
    """Somebody restores a container from a backup and shows it."""
    device.container = backup
    with pytest.raises(FucTooOld):
        world.collect(device, ticket)


def test_older_state_accepted_is_programmed_again_with_the_next_update_uncounted(world: World) -> None:
    held = collected(world)
    device = held.device
    backup = device.container
    for number in ("A-2", "A-3"):
        transfer = world.collect(device, world.ticket(number=number))
        device.apply(transfer)
    world.confirm(transfer, device.receipt())
    before = dict(device.items)
    ticket = world.ticket(number="A-4")
    set_back(world, device, backup, ticket)
    decide(world, device.serial, Decision.ACCEPT_REPORTED)
    used = world.activations().used

    transfer = world.collect(device, ticket)
    assert (transfer.base_fuc, transfer.fuc) == (1, 4)
    device.apply(transfer)
    assert dict(device.items).keys() == {*before, *world.ids(ticket)}
    assert world.activations().used == used + 1
    world.confirm(transfer, device.receipt())
    assert world.states(ticket) == [LicenseState.CONFIRMED_COLLECTED]
    world.check_books()


def test_older_state_accepted_is_brought_up_to_date_without_anything_new(world: World) -> None:
    """No licence is left to collect: the way out is `auto_update`."""
    held = collected(world)
    device = held.device
    backup = device.container
    for number in ("A-2", "A-3"):
        transfer = world.collect(device, world.ticket(number=number))
        device.apply(transfer)
    lost = world.give_back(device, held.licenses)
    device.apply(lost)
    world.confirm(lost, device.receipt())
    expected = dict(device.items)
    used = world.activations().used
    set_back(world, device, backup, held.ticket)
    decide(world, device.serial, Decision.ACCEPT_REPORTED)

    request = updating(device.context())
    update = world.transfer(request)
    assert (update.base_fuc, update.fuc, update.licenses) == (1, 5, ())
    assert world.transfer(request) == update
    assert world.transfer(updating(device.context())) == update
    device.apply(update)
    assert dict(device.items) == expected
    last = world.run(world.transfers.start_transfer(updating(device.context()), Command()))
    assert last == (None, Started.NOTHING)
    assert world.activations().used == used
    assert world.transfers.get_transfer(update.transfer_id).state is TransferState.CONFIRMED
    world.check_books()


def test_new_key_accepted_gets_the_missing_update_encrypted_to_it(world: World) -> None:
    device = world.device()
    ticket = world.ticket()
    lost = world.collect(device, ticket)
    reinstalled = world.device(device.serial)
    with pytest.raises(KeyMismatch):
        world.transfer(updating(reinstalled.context()))
    decide(world, device.serial, Decision.ACCEPT_REPORTED)
    update = world.transfer(updating(reinstalled.context()))
    assert update.transfer_id != lost.transfer_id
    reinstalled.apply(update)
    assert set(reinstalled.items) == set(world.ids(ticket))
    assert world.activations().used == 1
    with pytest.raises(KeyMismatch):
        world.transfer(updating(device.context()))
    world.check_books()


def test_higher_counter_accepted_goes_on_from_there(world: World) -> None:
    held = collected(world)
    ticket = world.ticket(number="A-2")
    ahead = held.device
    item = ahead.container.firm_items[6_000_010]
    ahead.container = replace(ahead.container, firm_items={6_000_010: replace(item, fuc=7)})
    with pytest.raises(FucTooNew):
        world.collect(ahead, ticket)
    decide(world, ahead.serial, Decision.ACCEPT_REPORTED)
    transfer = world.collect(ahead, ticket)
    assert (transfer.base_fuc, transfer.fuc) == (7, 8)
    ahead.apply(transfer)
    world.confirm(transfer, ahead.receipt())
    assert set(ahead.items) == {*held.licenses, *world.ids(ticket)}


def test_recorded_state_kept_ignores_the_odd_context(world: World) -> None:
    held = collected(world)
    ticket = world.ticket(number="A-2")
    impostor = world.device(held.device.serial)
    with pytest.raises(KeyMismatch):
        world.collect(impostor, ticket)
    with pytest.raises(KeyMismatch), nothing_changes(world.db):
        world.collect(held.device, ticket)
    decide(world, held.device.serial, Decision.KEEP_RECORDED)
    held.device.apply(world.collect(held.device, ticket))
    assert set(held.device.items) == {*held.licenses, *world.ids(ticket)}
    world.check_books()


def test_context_that_was_accepted_is_used_up(world: World) -> None:
    held = collected(world)
    ticket = world.ticket(number="A-2")
    odd = world.device(held.device.serial)
    request = collecting(odd.context(), ticket)
    with pytest.raises(KeyMismatch):
        world.transfer(request)
    decide(world, held.device.serial, Decision.ACCEPT_REPORTED)
    with pytest.raises(ContextReplayed), nothing_changes(world.db):
        world.transfer(request)


def test_nothing_is_accepted_while_a_transfer_is_in_the_making(world: World) -> None:
    held = collected(world)
    device = held.device
    world.boxes.slow_down(0.1)
    reserved = world.transfer(collecting(device.context(), world.ticket(number="A-2")), wait=timedelta(0))
    ahead = replace(device.context(), fuc=5)
    with pytest.raises(FucTooNew):
        world.transfer(collecting(ahead, world.ticket(number="A-3")))
    with nothing_changes(world.db), pytest.raises(TransferOpen) as refusal:
        decide(world, device.serial, Decision.ACCEPT_REPORTED)
    assert refusal.value.detail["transfer_id"] == reserved.transfer_id
    world.clock.advance(timedelta(minutes=1))
    world.run(world.transfers.drive_due(wait=PATIENCE))
    assert world.transfers.get_transfer(reserved.transfer_id).state is TransferState.ROLLED_BACK
    decide(world, device.serial, Decision.ACCEPT_REPORTED)


def test_older_state_with_a_return_in_between_takes_the_licence_out_again(world: World) -> None:
    """The licence went on to another container; the backup must not keep a second copy."""
    held = collected(world)
    device = held.device
    backup = device.container
    back = world.give_back(device, held.licenses)
    device.apply(back)
    world.confirm(back, device.receipt())
    other = world.device("130-1000000002")
    other.apply(world.collect(other, held.ticket))
    set_back(world, device, backup, world.ticket(number="A-2"))
    assert set(device.items) == set(held.licenses)
    decide(world, device.serial, Decision.ACCEPT_REPORTED)
    update = world.transfer(updating(device.context()))
    device.apply(update)
    assert device.items == {}
    assert set(other.items) == set(held.licenses)
    assert world.states(held.ticket) == [LicenseState.COLLECTED]
    assert world.licenses(held.ticket)[0].container == other.serial
    world.check_books()

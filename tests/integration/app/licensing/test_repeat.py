"""The same request again: the same answer byte for byte, and nothing counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.command import Command
from app.core.db import Database, Tx
from app.core.ids import new_id
from app.licensing import Started, Transfer, TransferState
from app.licensing.errors import TransferRolledBack
from fsb_gateway import FirmKeyMissing
from tests.integration.app.licensing.world import (
    Boxes,
    LostBox,
    World,
    collected,
    collecting,
    nothing_changes,
    order_draft,
    position,
    returning,
    updating,
)

# A repeat leaves the id of its own operation, and touches the row that guards what it is about.
TRACES = ("op", "container", "sales_order")


class Charge:
    """Counts how often a caller was charged."""

    def __init__(self) -> None:
        self.times = 0

    def command(self, op_id: str | None = None) -> Command:
        return Command(op_id=op_id or new_id("op"), charge=self._charge)

    def _charge(self, _tx: Tx) -> None:
        self.times += 1


def test_repeated_collection_gets_the_same_update(world: World) -> None:
    charge = Charge()
    device = world.device()
    request = collecting(device.context(), world.ticket(2))
    first = world.transfer(request, charge.command("key-1"))
    with nothing_changes(world.db):
        assert world.transfer(request, charge.command("key-1")) == first
    with nothing_changes(world.db, but=TRACES):
        assert world.transfer(request, charge.command()) == first
        fresh_context = replace(request, context=device.context())
        assert world.transfer(fresh_context, charge.command()) == first
        assert world.transfer(replace(request, principal="somebody"), charge.command()) == first
    assert charge.times == 1
    device.apply(first)
    world.confirm(first, device.receipt())
    with nothing_changes(world.db, but=TRACES):
        assert world.transfer(request, charge.command()).update == first.update
    assert (charge.times, world.activations().used) == (1, 2)
    world.check_books()


def test_repeated_return_gets_the_same_update(world: World) -> None:
    held = collected(world, 2)
    request = returning(held.device.context(), held.licenses)
    first = world.transfer(request)
    with nothing_changes(world.db, but=TRACES):
        assert world.transfer(replace(request, context=held.device.context())) == first
        swapped = returning(held.device.context(), held.licenses[::-1])
        assert world.transfer(swapped) == first, "the order of naming means nothing"
    held.device.apply(first)
    world.run(world.transfers.start_transfer(updating(held.device.context()), Command()))
    with nothing_changes(world.db, but=TRACES):
        again = world.transfer(request)
    assert (again.update, again.state) == (first.update, TransferState.CONFIRMED)
    assert world.activations().used == 4
    world.check_books()


def test_repeated_auto_update_gets_the_same_update(world: World) -> None:
    device = world.device()
    lost = world.collect(device, world.ticket())

    def ask(command: Command) -> tuple[Transfer | None, Started]:
        return world.run(world.transfers.start_transfer(request, command))

    request = updating(device.context())
    charge = Charge()
    assert ask(charge.command("one")) == (lost, Started.FETCHED)
    assert ask(charge.command("one")) == (lost, Started.REPEATED)
    assert ask(charge.command()) == (lost, Started.REPEATED), "the same context again"
    request = updating(device.context())
    assert ask(charge.command()) == (lost, Started.FETCHED), "a new context asks anew"
    device.apply(lost)
    request = updating(device.context())
    assert ask(charge.command("two")) == (None, Started.NOTHING)
    assert ask(charge.command("two")) == (None, Started.REPEATED)
    assert ask(charge.command()) == (None, Started.REPEATED)
    assert charge.times == 3
    world.check_books()


def test_repeated_receipt_is_new_once(world: World) -> None:
    charge = Charge()
    device = world.device()
    transfer = world.collect(device, world.ticket())
    device.apply(transfer)
    receipt = device.receipt()
    assert world.confirm(transfer, receipt, charge.command("key-1"))[1] is True
    with nothing_changes(world.db):
        assert world.confirm(transfer, receipt, charge.command("key-1"))[1] is False
    with nothing_changes(world.db, but=TRACES):
        assert world.confirm(transfer, device.receipt(), charge.command())[1] is False
    assert charge.times == 1


def test_repeated_order_and_item_change_nothing(world: World) -> None:
    charge = Charge()
    draft = order_draft("A-1", position(10), position(20, quantity=2, feature_map=3))
    first = world.orders.place_order(draft, charge.command("key-1"))
    assert (first.created, first.replayed) == (True, False)
    with nothing_changes(world.db):
        assert world.orders.place_order(draft, charge.command("key-1")).value == first.value
    with nothing_changes(world.db, but=TRACES):
        again = world.orders.place_order(draft, charge.command())
        part = world.orders.place_order(
            order_draft("A-1", position(20, quantity=2, feature_map=3)), charge.command()
        )
    assert (again.created, again.replayed, part.replayed) == (False, True, True)
    assert again.value == part.value == first.value
    with nothing_changes(world.db, but=("op",)):
        item = world.items.add_item(world.items.get_item("CAD").draft(), charge.command())
    assert (item.created, item.replayed) == (False, True)
    assert charge.times == 1


def test_first_request_of_a_container_can_be_tried_again_after_a_roll_back(
    instance_db: Database, boxes: Boxes
) -> None:
    box = LostBox(boxes.client)
    world = World(instance_db, boxes, programmer=box)
    world.sell(activations=100)
    world.item()
    device = world.device()
    request = collecting(device.context(), world.ticket())
    box.before = FirmKeyMissing("no key")
    for _ in range(3):
        with pytest.raises(TransferRolledBack):
            world.transfer(request)
    box.before = None
    device.apply(world.transfer(request))
    assert [job.steps[-1].fuc for job in box.jobs] == [1, 1, 1, 1]
    assert world.activations().used == 1
    world.check_books()

"""Lives of licences at random, with kills at every point, against the oracle.

For far more of them: pytest tests/integration/app/licensing/test_life.py --hypothesis-profile=long -o timeout=0
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from app.core.command import Command
from app.core.errors import DomainError
from app.core.ids import LicenseId, TransferId, new_id
from app.licensing import Deadlines, Decision, TransferAction, TransferRequest, Wish
from editions import month_of
from fsb_gateway import Context
from tests.fake.clock import FakeClock
from tests.fake.killed import Killed
from tests.integration.app.licensing.chronicle import LIMIT, SERIALS, Chronicle
from tests.integration.app.licensing.mortal import TROUBLES
from tests.integration.app.licensing.oracle import Licence
from tests.integration.app.licensing.world import PATIENCE, Boxes, position
from tests.service.database import DatabaseMaker, EngineKind

T = TypeVar("T")
LEASE = Deadlines().lease
STATES = ("reserved", "issued", "confirmed", "rolled_back")


class Life(Chronicle):
    """Owners of three containers lose updates, receipts and patience; processes die."""

    def teardown(self) -> None:
        try:
            self.everything_can_be_brought_to_an_end()
        finally:
            self.db.close()
            self.maker.remove(self.url)

    @initialize()
    def open_shop(self) -> None:
        self.world.sell(activations=LIMIT)
        self.world.item("KEEP", returnable=False)
        self.world.item("RENT")
        for number, sku in (("A", "RENT"), ("B", "RENT"), ("B", "KEEP"), ("C", "RENT")):
            self.order(number=number, sku=sku, quantity=3)

    @rule(
        number=st.sampled_from("ABC"),
        sku=st.sampled_from(["RENT", "RENT", "KEEP"]),
        quantity=st.integers(1, 3),
    )
    def order(self, number: str, sku: str, quantity: int) -> None:
        """A new order, or more positions on one that is there."""
        place = self.orders[number] = self.orders.get(number, 0) + 1
        placed = self.world.order(number, position(place, sku=sku, quantity=quantity))
        for license_ in self.world.licenses(placed.ticket):
            known = Licence(ticket=license_.ticket, returnable=sku == "RENT")
            self.oracle.licences.setdefault(license_.license_id, known)

    @rule(data=st.data(), serial=st.sampled_from(SERIALS), trouble=st.none() | st.sampled_from(TROUBLES))
    def ask(self, data: st.DataObject, serial: str, trouble: str | None) -> None:
        self.ask_for(data, serial, trouble)

    @rule(data=st.data(), serial=st.sampled_from(SERIALS), with_receipt=st.booleans())
    def ask_and_apply(self, data: st.DataObject, serial: str, with_receipt: bool) -> None:
        """As it should be; perhaps with the receipt."""
        self.ask_for(data, serial, None)
        newest = self.oracle.of(serial, "issued")
        if newest and self.apply(newest[-1]) and with_receipt:
            self.confirm(newest[-1], self.devices[serial].receipt())

    @rule(data=st.data(), serial=st.sampled_from(SERIALS), trouble=st.sampled_from(TROUBLES))
    def ask_again_at_once(self, data: st.DataObject, serial: str, trouble: str) -> None:
        """A client whose request got lost sends it again."""
        request, op_id = self.ask_for(data, serial, trouble)
        self.send(request, op_id, None)

    @rule(data=st.data(), serial=st.sampled_from(SERIALS), trouble=st.sampled_from(TROUBLES))
    def ask_at_the_end_of_a_month(self, data: st.DataObject, serial: str, trouble: str) -> None:
        self.time_passes("month end")
        self.ask_for(data, serial, trouble)
        self.sweep(None, 30)
        self.renew_contract()

    def ask_for(self, data: st.DataObject, serial: str, trouble: str | None) -> tuple[TransferRequest, str]:
        request = self.draw_request(data, serial)
        op_id = new_id("op")
        self.sent.append((request, op_id))
        self.send(request, op_id, trouble)
        return request, op_id

    @rule(data=st.data(), same_operation=st.booleans(), trouble=st.none() | st.sampled_from(TROUBLES))
    def ask_again(self, data: st.DataObject, same_operation: bool, trouble: str | None) -> None:
        if self.sent:
            request, op_id = _pick(data, self.sent[-6:])
            self.send(request, op_id if same_operation else new_id("op"), trouble)

    def draw_request(self, data: st.DataObject, serial: str) -> TransferRequest:
        old = self.contexts[serial][-3:]
        context = _pick(data, old) if old and data.draw(st.integers(0, 5)) == 0 else None
        if context is None:
            context = self.devices[serial].context()
            self.contexts[serial].append(context)
        kind = data.draw(
            st.sampled_from(["all", "some", "some", "some", "return", "return", "both", "both", "update"])
        )
        if kind == "update":
            return _request(context, TransferAction.AUTO_UPDATE, None, (), ())
        # In the order of their making: ids and tickets are random, and a run has to be repeatable.
        tickets = list(dict.fromkeys(each.ticket for each in self.oracle.licences.values()))
        ticket = _pick(data, tickets)
        here = self.returnable(serial) or [
            name for name, each in self.oracle.licences.items() if each.container == serial
        ]
        there = self.collectable(ticket) or [
            name for name, each in self.oracle.licences.items() if each.ticket == ticket
        ]
        activate = _some(data, there) if kind in ("some", "both") else None
        deactivate = _some(data, here or there) if kind in ("return", "both") else ()
        if kind == "return":
            return _request(context, TransferAction.DEACTIVATE, None, (), deactivate)
        activate = None if activate is None else tuple(each for each in activate if each not in deactivate)
        return _request(context, TransferAction.ACTIVATE, ticket, activate, deactivate)

    def collectable(self, ticket: str) -> list[str]:
        """Mostly ask for what can be had; what cannot is asked for often enough."""
        if len(self.sent) % 4 == 0:
            return []
        free = ("not_collected", "confirmed_returned")
        return [
            name
            for name, each in self.oracle.licences.items()
            if each.ticket == ticket and each.state in free
        ]

    def returnable(self, serial: str) -> list[str]:
        """What the container may give back once its newest context is seen."""
        held = self.devices[serial].items
        return [
            name for name in self.oracle.licences if name in held and self.oracle.licences[name].returnable
        ]

    @rule(trouble=st.none() | st.sampled_from(TROUBLES), seconds=st.sampled_from([0, 30, 30, 200, 600]))
    def sweep(self, trouble: str | None, seconds: int) -> None:
        """Time passes, and what is due is driven on; the worker may die of it, too."""
        self.clock.advance(timedelta(seconds=seconds))
        before = self.stored_transfers()
        self.fate.trouble = trouble
        died = False
        try:
            self.world.run(self.service.drive_due(wait=PATIENCE))
        except Killed:
            died = True
        finally:
            self.service = self.start_process()
        self.take_over(before)
        if trouble is None and not died and seconds >= LEASE.total_seconds():
            assert [each for each in self.oracle.transfers.values() if each.state == "reserved"] == []

    @rule(where=st.sampled_from(["month end", "a day"]))
    def time_passes(self, where: str) -> None:
        now = self.clock.now()
        almost = month_of(now).end - timedelta(seconds=20)
        self.clock.set(almost if where == "month end" and now < almost else now + timedelta(days=1))
        self.renew_contract()

    @rule(data=st.data())
    def apply_update(self, data: st.DataObject) -> None:
        issued = [name for serial in SERIALS for name in self.oracle.of(serial, "issued", "confirmed")]
        if not issued:
            return
        self.apply(_pick(data, issued))

    @rule(data=st.data(), again=st.booleans())
    def send_receipt(self, data: st.DataObject, again: bool) -> None:
        if not self.oracle.transfers:
            return
        made = [name for serial in SERIALS for name in self.oracle.of(serial, *STATES)]
        name = _pick(data, made)
        serial = self.oracle.transfers[name].ask.serial
        old = [each for each in self.contexts[serial] if each.kind == "receipt"]
        receipt = old[-1] if again and old else self.devices[serial].receipt()
        self.contexts[serial].append(receipt)
        self.confirm(name, receipt)

    @rule(serial=st.sampled_from(SERIALS))
    def make_backup(self, serial: str) -> None:
        self.backups[serial] = self.devices[serial].container

    @rule(serial=st.sampled_from(SERIALS))
    def restore_backup(self, serial: str) -> None:
        if serial in self.backups:
            self.devices[serial].container = self.backups[serial]

    @rule(data=st.data(), serial=st.sampled_from(SERIALS))
    def restore_backup_and_ask_staff(self, data: st.DataObject, serial: str) -> None:
        self.restore_backup(serial)
        self.ask_for(data, serial, None)
        self.staff_accepts(serial)
        self.ask_for(data, serial, None)

    @rule(serial=st.sampled_from(SERIALS))
    def staff_accepts(self, serial: str) -> None:
        box = self.oracle.containers.get(serial)
        if box is None or box.blocked:
            return
        if box.unexpected is None or self.oracle.of(serial, "reserved"):
            with pytest.raises(DomainError) as refusal:
                self.accept(serial)
            expected = "transfer_open" if box.unexpected else "container_not_in_question"
            assert refusal.value.code == expected
            return
        self.accept(serial)
        self.oracle.accept(serial)

    @rule(serial=st.sampled_from(SERIALS), again=st.booleans())
    def vendor_blocks(self, serial: str, again: bool) -> None:
        """Whatever is in the making then is not handed out any more; sooner or later the container is let go on."""
        box = self.oracle.containers.get(serial)
        if box is None or box.unexpected is not None:
            return
        if box.blocked:
            command = Command()
            self.world.containers.restore_container(
                serial, Decision.KEEP_RECORDED, reason="", command=command
            )
        if not box.blocked or again:
            self.world.containers.block_container(serial, reason="", command=Command())
        box.blocked = not box.blocked or again

    @rule(data=st.data(), serial=st.sampled_from(SERIALS))
    def vendor_blocks_what_is_in_the_making(self, data: st.DataObject, serial: str) -> None:
        self.ask_for(data, serial, "unreachable")
        self.vendor_blocks(serial, again=False)
        self.sweep(None, 30)

    def accept(self, serial: str) -> None:
        command = Command()
        self.world.containers.restore_container(serial, Decision.ACCEPT_REPORTED, reason="", command=command)

    def everything_can_be_brought_to_an_end(self) -> None:
        """Whatever has happened: a sweep, a decision and one update later all is well."""
        self.sweep(None, 30)
        for serial, box in list(self.oracle.containers.items()):
            if box.blocked:
                self.vendor_blocks(serial, False)
            if box.unexpected is None and self.devices[serial].fuc < box.proven:
                self.send(_update(self.devices[serial].context()), new_id("op"), None)
            if box.unexpected is not None:
                self.staff_accepts(serial)
            self.send(_update(self.devices[serial].context()), new_id("op"), None)
            missing = self.oracle.of(serial, "issued")
            if missing:
                self.devices[serial].apply(self.service.get_transfer(TransferId(missing[-1])))
            self.send(_update(self.devices[serial].context()), new_id("op"), None)
            assert self.oracle.of(serial, "issued", "reserved") == []
            assert self.devices[serial].fuc == self.oracle.containers[serial].issued
        assert {each.state for each in self.oracle.licences.values()} <= {
            "not_collected",
            "confirmed_collected",
            "confirmed_returned",
        }
        self.books_agree_with_the_oracle()
        self.ledger_counters_events_and_counters_of_containers_are_sound()
        self.containers_hold_what_their_history_says()


def _pick(data: st.DataObject, things: list[T]) -> T:
    return things[data.draw(st.integers(0, len(things) - 1))]


def _some(data: st.DataObject, names: list[str]) -> tuple[str, ...]:
    places = st.lists(st.integers(0, len(names) - 1), min_size=1, max_size=3, unique=True)
    return tuple(names[place] for place in data.draw(places))


def _request(
    context: Context,
    action: TransferAction,
    ticket: str | None,
    activate: tuple[str, ...] | None,
    deactivate: tuple[str, ...],
) -> TransferRequest:
    wish = Wish(
        ticket=ticket,
        activate=None if activate is None else tuple(LicenseId(each) for each in activate),
        deactivate=tuple(LicenseId(each) for each in deactivate),
    )
    return TransferRequest(
        context=context, container=None, action=action, wish=wish, principal="erp", authenticated=True
    )


def _update(context: Context) -> TransferRequest:
    return _request(context, TransferAction.AUTO_UPDATE, None, (), ())


# Explaining a failure traces every line, which takes longer than finding it.
_PHASES = [phase for phase in Phase if phase is not Phase.explain]
SHORT = settings(max_examples=50, stateful_step_count=50, phases=_PHASES)
SHORTEST = settings(SHORT, max_examples=5, stateful_step_count=25)
LONG = settings(SHORT, max_examples=1000, stateful_step_count=60)


@pytest.fixture(scope="module")
def lasting_boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    folder: Path = tmp_path_factory.mktemp("boxes")
    made = Boxes(folder, FakeClock())
    yield made
    made.close()


def test_lives_of_licences(
    lasting_boxes: Boxes, database_maker: DatabaseMaker, engine_kind: EngineKind
) -> None:
    short = SHORT if engine_kind == "sqlite" else SHORTEST
    chosen = LONG if settings.get_current_profile_name() == "long" else short
    run_state_machine_as_test(
        partial(Life, lasting_boxes, database_maker, engine_kind),  # type: ignore[arg-type]  # any maker of one will do
        settings=settings(
            chosen, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
        ),
    )

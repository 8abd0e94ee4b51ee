"""Lives of licences at random, with kills at every point, against the oracle.

`pytest --hypothesis-profile=long` makes far more of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.cmcontainer import Container
from app.core.clock import from_us
from app.core.command import Command
from app.core.db import Database, Tx, TxAnswer
from app.core.errors import DomainError
from app.core.ids import LicenseId, TransferId, new_id
from app.core.json import JsonObject
from app.core.schema import instance_metadata
from app.licensing import (
    Deadlines,
    Decision,
    LicenseFilter,
    Transfer,
    TransferAction,
    TransferRequest,
    TransferService,
    Wish,
)
from editions import audit_meters, month_of
from fsb_gateway import (
    Context,
    FirmKeyMissing,
    FsbClient,
    FsbUnavailable,
    JobPending,
    ProgrammingJob,
    ProgrammingResult,
)
from tests.fake.clock import START, FakeClock
from tests.integration.app.licensing.oracle import Ask, Oracle
from tests.integration.app.licensing.world import PATIENCE, Boxes, Device, World, dump, position
from tests.service.database import DatabaseMaker

LIMIT = 14
LEASE = Deadlines().lease
PROGRAM = Deadlines().program
MICROSECOND = timedelta(microseconds=1)
SERIALS = ("130-1", "130-2", "3-3")
KILLS = (
    "before reserve",
    "after reserve",
    "before program",
    "after program",
    "before issue",
    "after issue",
)
TROUBLES = (*KILLS, "rejected", "unreachable", "answer lost")


class Killed(BaseException):
    """The process died here."""


class Fate:
    """Decides where the running process meets its end; shared by its database and its gateway client."""

    def __init__(self) -> None:
        self.trouble: str | None = None

    def meet(self, point: str) -> None:
        if self.trouble == point:
            raise Killed(point)


class MortalDatabase(Database):
    """Dies just before or just after a transaction commits."""

    def __init__(self, url: str, fate: Fate, clock: FakeClock) -> None:
        super().__init__(url, clock=clock)
        self._fate = fate

    def run_tx(self, op_id: str, body: Any, *, fingerprint: str = "") -> TxAnswer:
        ending = op_id.startswith(("issue:", "rollback:"))
        phase = "issue" if ending else "reserve"

        def doomed(tx: Tx) -> JsonObject:
            value: JsonObject = body(tx)
            self._fate.meet(f"before {phase}")
            return value

        answer = super().run_tx(op_id, doomed, fingerprint=fingerprint)
        self._fate.meet(f"after {phase}")
        return answer


class MortalBox:
    """Dies before or after the box has worked; or the box does not play along."""

    def __init__(self, client: FsbClient, fate: Fate) -> None:
        self._client = client
        self._fate = fate

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        self._fate.meet("before program")
        if self._fate.trouble == "rejected":
            raise FirmKeyMissing("not in this box")
        if self._fate.trouble == "unreachable":
            raise FsbUnavailable("gone")
        result = await self._client.program(job, wait=wait)
        self._fate.meet("after program")
        if self._fate.trouble == "answer lost":
            raise FsbUnavailable("cut")
        return result


class Life(RuleBasedStateMachine):
    """An instance with three containers whose owners lose updates, receipts and patience."""

    def __init__(self, boxes: Boxes, maker: DatabaseMaker) -> None:
        super().__init__()
        self.maker = maker
        self.clock = boxes.clock
        self.clock.set(START)
        self.url = maker.create("sqlite", "instance")
        self.fate = Fate()
        self.db = MortalDatabase(self.url, self.fate, self.clock)
        self.world = World(self.db, boxes)
        self.service = self.start_process()
        self.oracle = Oracle(limit=LIMIT)
        self.devices = {serial: Device(serial, boxes.template, self.clock) for serial in SERIALS}
        self.contexts: dict[str, list[Context]] = {serial: [] for serial in SERIALS}
        self.backups: dict[str, Container] = {}
        self.orders: dict[str, int] = {}
        self.sent: list[tuple[TransferRequest, str]] = []
        self.updates: dict[str, str] = {}

    def start_process(self) -> TransferService:
        self.fate.trouble = None
        return self.world.line(MortalBox(self.world.boxes.client, self.fate), db=self.db)

    def teardown(self) -> None:
        try:
            self.everything_can_be_brought_to_an_end()
        finally:
            self.db.close()
            self.maker.remove(self.url)

    # Orders

    @initialize()
    def open_shop(self) -> None:
        self.world.sell(activations=LIMIT)
        self.world.item("KEEP", returnable=False)
        self.world.item("RENT")

    @rule(number=st.sampled_from("ABC"), sku=st.sampled_from(["RENT", "RENT", "KEEP"]), quantity=st.integers(1, 3))
    def order(self, number: str, sku: str, quantity: int) -> None:
        """A new order, or more positions on one that is there."""
        place = self.orders[number] = self.orders.get(number, 0) + 1
        placed = self.world.order(number, position(place, sku=sku, quantity=quantity))
        for license_ in self.world.licenses(placed.ticket):
            self.oracle.licences.setdefault(license_.license_id, _licence(license_.ticket, sku == "RENT"))

    # Transfers

    @rule(data=st.data(), serial=st.sampled_from(SERIALS), trouble=st.none() | st.sampled_from(TROUBLES))
    def ask(self, data: st.DataObject, serial: str, trouble: str | None) -> None:
        request = self.draw_request(data, serial)
        op_id = new_id("op")
        self.sent.append((request, op_id))
        self.send(request, op_id, trouble)

    @rule(data=st.data(), same_operation=st.booleans(), trouble=st.none() | st.sampled_from(TROUBLES))
    def ask_again(self, data: st.DataObject, same_operation: bool, trouble: str | None) -> None:
        if self.sent:
            request, op_id = data.draw(st.sampled_from(self.sent[-8:]))
            self.send(request, op_id if same_operation else new_id("op"), trouble)

    def draw_request(self, data: st.DataObject, serial: str) -> TransferRequest:
        old = self.contexts[serial][-3:]
        context = data.draw(st.sampled_from(old)) if old and data.draw(st.integers(0, 5)) == 0 else None
        if context is None:
            context = self.devices[serial].context()
            self.contexts[serial].append(context)
        kind = data.draw(st.sampled_from(["all", "all", "some", "return", "return", "both", "update"]))
        if kind == "update" or not self.oracle.licences:
            return _request(context, TransferAction.AUTO_UPDATE, None, (), ())
        ticket = data.draw(st.sampled_from(sorted({each.ticket for each in self.oracle.licences.values()})))
        here = [name for name, each in self.oracle.licences.items() if each.container == serial]
        there = [name for name, each in self.oracle.licences.items() if each.ticket == ticket]
        activate = tuple(data.draw(_some(there))) if kind in ("some", "both") else None
        deactivate = tuple(data.draw(_some(here or there))) if kind in ("return", "both") else ()
        if kind == "return":
            return _request(context, TransferAction.DEACTIVATE, None, (), deactivate)
        activate = None if activate is None else tuple(each for each in activate if each not in deactivate)
        return _request(context, TransferAction.ACTIVATE, ticket, activate, deactivate)

    def send(self, request: TransferRequest, op_id: str, trouble: str | None) -> None:
        ask = _ask(request)
        month = str(month_of(self.clock.now()))
        if op_id in self.oracle.answers:
            answer = self.oracle.answers[op_id]
            verdict = None
        else:
            verdict = self.oracle.expect(ask, month)
            answer = verdict.existing
        outcome = self.act(request, op_id, trouble)
        if verdict is not None and verdict.refused:
            self.check_refusal(ask, verdict.refused, outcome, trouble)
            return
        if trouble == "before reserve":
            assert outcome == "killed"
            return
        opened = None
        if verdict is not None and verdict.moves is not None:
            opened = answer = self.note_opened(ask, verdict.moves, month=month, op_id=op_id)
        elif verdict is not None:
            self.note_answered(ask, op_id, answer)
        if trouble == "after reserve":
            assert outcome == "killed"
        elif answer is None:
            assert outcome is None
        else:
            self.follow(answer, outcome, trouble, fresh=opened is not None)

    def act(self, request: TransferRequest, op_id: str, trouble: str | None) -> Transfer | DomainError | str | None:
        """Send a request to a process that may die of it; another one takes its place."""
        self.fate.trouble = trouble
        try:
            transfer, _ = self.world.run(self.service.start_transfer(request, Command(op_id=op_id), wait=PATIENCE))
        except Killed:
            return "killed"
        except DomainError as error:
            return error
        finally:
            self.service = self.start_process()
        return transfer

    def check_refusal(
        self, ask: Ask, codes: frozenset[str], outcome: Transfer | DomainError | str | None, trouble: str | None
    ) -> None:
        stops = codes == {"fuc_too_old"} and self.oracle.containers[ask.serial].unexpected is None
        if stops and trouble == "before reserve":
            assert outcome == "killed"
            return
        if stops:
            box = self.oracle.containers[ask.serial]
            box.unexpected, box.reported = "fuc_too_old", (ask.fuc, ask.made_at)
        if stops and trouble == "after reserve":
            assert outcome == "killed"
            return
        assert isinstance(outcome, DomainError), outcome
        assert outcome.code in codes

    def note_opened(
        self, ask: Ask, moves: tuple[tuple[str, str], ...], *, month: str, op_id: str
    ) -> str:
        self.oracle.note_context(ask)
        (opened,) = {row[0] for row in dump(self.db)["transfer"]} - set(self.oracle.transfers)
        deadline = self.clock.now() + PROGRAM
        self.oracle.reserve(opened, ask, moves, month=month, deadline=deadline, op_id=op_id)
        self.oracle.answers[op_id] = opened
        return opened

    def note_answered(self, ask: Ask, op_id: str, answer: str | None) -> None:
        """A repeat leaves no trace; an `auto_update` that finds something or nothing has used its context."""
        same_key = answer is not None and self.oracle.transfers[answer].ask.key() == ask.key()
        if ask.action == "auto_update" and not same_key:
            self.oracle.note_context(ask)
            self.oracle.answers[op_id] = answer

    def follow(
        self, name: str, outcome: Transfer | DomainError | str | None, trouble: str | None, *, fresh: bool
    ) -> None:
        """Where a transfer has got to, and what its caller has to hear."""
        move = self.oracle.transfers[name]
        if move.state != "reserved":
            self.expect_update(name, outcome)
        elif self.clock.now() >= move.deadline:
            self.end_late(name, outcome, trouble)
        elif trouble in ("before program", "after program", "before issue"):
            assert outcome == "killed"
        elif trouble in ("unreachable", "answer lost"):
            assert isinstance(outcome, Transfer)
            assert str(outcome.state) == "reserved"
        elif trouble == "rejected":
            self.oracle.roll_back(name, self.before_newest(move.ask.serial))
            assert isinstance(outcome, DomainError)
            assert outcome.code == "transfer_rolled_back"
        else:
            self.oracle.issue(name)
            if trouble == "after issue":
                assert outcome == "killed"
            else:
                self.expect_update(name, outcome)

    def end_late(self, name: str, outcome: Transfer | DomainError | str | None, trouble: str | None) -> None:
        if trouble == "before issue":
            assert outcome == "killed"
            return
        self.oracle.roll_back(name, self.before_newest(self.oracle.transfers[name].ask.serial))
        if trouble == "after issue":
            assert outcome == "killed"
        else:
            assert isinstance(outcome, DomainError)
            assert outcome.code == "transfer_rolled_back"

    def before_newest(self, serial: str) -> datetime:
        return self.oracle.containers[serial].newest - MICROSECOND

    def expect_update(self, name: str, outcome: Transfer | DomainError | str | None) -> None:
        if self.oracle.transfers[name].state == "rolled_back":
            assert isinstance(outcome, DomainError)
            assert outcome.code == "transfer_rolled_back"
            return
        assert isinstance(outcome, Transfer), outcome
        assert outcome.transfer_id == name
        assert outcome.update is not None
        assert self.updates.setdefault(name, outcome.update) == outcome.update

    # What a worker does

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

    def take_over(self, before: dict[str, str]) -> None:
        """Which reserved transfers a worker gets to before it dies is its own affair; how they end is not."""
        for name, state in self.stored_transfers().items():
            if before.get(name) != "reserved" or state == "reserved":
                continue
            if state == "rolled_back":
                self.oracle.roll_back(name, self.before_newest(self.oracle.transfers[name].ask.serial))
            else:
                assert self.clock.now() < self.oracle.transfers[name].deadline
                self.oracle.issue(name)

    def stored_transfers(self) -> dict[str, str]:
        columns = [column.name for column in instance_metadata.tables["transfer"].c]
        rows = [dict(zip(columns, row, strict=True)) for row in dump(self.db)["transfer"]]
        return {row["transfer_id"]: row["state"] for row in rows}

    @rule(where=st.sampled_from(["month end", "a day"]))
    def time_passes(self, where: str) -> None:
        now = self.clock.now()
        almost = month_of(now).end - timedelta(seconds=20)
        self.clock.set(almost if where == "month end" and now < almost else now + timedelta(days=1))
        if not self.has_contract():
            self.world.sell(activations=LIMIT)

    def has_contract(self) -> bool:
        return self.world.activations().included

    # What owners of containers do

    @rule(data=st.data())
    def apply_update(self, data: st.DataObject) -> None:
        issued = [name for serial in SERIALS for name in self.oracle.of(serial, "issued", "confirmed")]
        if not issued:
            return
        name = data.draw(st.sampled_from(issued))
        transfer = self.service.get_transfer(TransferId(name))
        device = self.devices[transfer.container]
        fits = transfer.base_fuc <= device.fuc < transfer.fuc
        try:
            device.apply(transfer)
        except DomainError as error:
            assert not fits
            assert error.code in ("update_already_applied", "update_too_old", "update_too_new")
        else:
            assert fits
            assert device.fuc == transfer.fuc

    @rule(data=st.data(), again=st.booleans())
    def send_receipt(self, data: st.DataObject, again: bool) -> None:
        if not self.oracle.transfers:
            return
        name = data.draw(st.sampled_from(sorted(self.oracle.transfers)))
        serial = self.oracle.transfers[name].ask.serial
        old = [each for each in self.contexts[serial] if each.kind == "receipt"]
        receipt = old[-1] if again and old else self.devices[serial].receipt()
        self.contexts[serial].append(receipt)
        expected = self.expected_receipt(name, receipt)
        try:
            _, new = self.world.run(self.service.confirm_transfer(TransferId(name), receipt, Command()))
        except DomainError as error:
            assert error.code == expected
            if expected == "fuc_too_old" and self.oracle.containers[serial].unexpected is None:
                box = self.oracle.containers[serial]
                box.unexpected, box.reported = "fuc_too_old", (receipt.fuc, receipt.made_at)
            return
        assert ("new" if new else "known") == expected
        if new:
            self.oracle.prove(serial, receipt.fuc)
            self.oracle.containers[serial].newest = receipt.made_at

    def expected_receipt(self, name: str, receipt: Context) -> str:
        move = self.oracle.transfers[name]
        box = self.oracle.containers[move.ask.serial]
        if move.state == "rolled_back":
            return "transfer_rolled_back"
        if move.state == "reserved":
            return "transfer_not_issued"
        if receipt.fuc < move.fuc:
            return "receipt_too_old"
        if move.state == "confirmed":
            return "known"
        if box.unexpected is not None:
            return box.unexpected
        if receipt.made_at <= box.newest:
            return "context_replayed" if receipt.made_at == box.newest else "context_outdated"
        return "fuc_too_old" if receipt.fuc < box.proven else "new"

    @rule(serial=st.sampled_from(SERIALS))
    def make_backup(self, serial: str) -> None:
        self.backups[serial] = self.devices[serial].container

    @rule(serial=st.sampled_from(SERIALS))
    def restore_backup(self, serial: str) -> None:
        if serial in self.backups:
            self.devices[serial].container = self.backups[serial]

    @rule(serial=st.sampled_from(SERIALS))
    def staff_accepts(self, serial: str) -> None:
        box = self.oracle.containers.get(serial)
        if box is None:
            return
        accept = lambda: self.world.containers.restore_container(  # noqa: E731
            serial, Decision.ACCEPT_REPORTED, reason="", command=Command()
        )
        if box.unexpected is None or self.oracle.of(serial, "reserved"):
            with pytest.raises(DomainError) as refusal:
                accept()
            expected = "transfer_open" if box.unexpected else "container_not_in_question"
            assert refusal.value.code == expected
            return
        accept()
        self.oracle.accept(serial)

    # What always holds

    @invariant()
    def books_agree_with_the_oracle(self) -> None:
        assert self.shown_licences() == {
            name: (each.ticket, each.state, each.container if each.state != "confirmed_returned" else None, each.pending)
            for name, each in self.oracle.licences.items()
        }
        assert self.shown_containers() == {
            serial: (each.proven, each.issued, each.newest, each.unexpected)
            for serial, each in self.oracle.containers.items()
        }
        assert self.stored_transfers() == {name: each.state for name, each in self.oracle.transfers.items()}

    def shown_licences(self) -> dict[str, tuple[Any, ...]]:
        listed = self.world.orders.list_licenses(LicenseFilter(), limit=1000)
        return {
            each.license_id: (each.ticket, str(each.state), each.container, each.pending_transfer)
            for each in listed
        }

    def shown_containers(self) -> dict[str, tuple[Any, ...]]:
        columns = [column.name for column in instance_metadata.tables["container"].c]
        rows = [dict(zip(columns, row, strict=True)) for row in dump(self.db)["container"]]
        return {
            row["serial"]: (
                row["fuc_confirmed"],
                row["fuc_issued"],
                from_us(row["last_context_us"]),
                row["reason"] if row["state"] == "unexpected_state" else None,
            )
            for row in rows
        }

    @invariant()
    def ledger_counters_events_and_counters_of_containers_are_sound(self) -> None:
        self.world.check_books()
        assert self.db.read(audit_meters) == ()
        now = self.clock.now()
        if self.has_contract():
            usage = self.world.activations()
            month = str(month_of(now))
            assert (usage.used, usage.used + usage.open) == (self.oracle.used(month), self.oracle.taken(month))

    @invariant()
    def containers_hold_what_their_history_says(self) -> None:
        for serial, device in self.devices.items():
            assert set(device.items) == self.oracle.content(serial, device.fuc)
            box = self.oracle.containers.get(serial)
            inside = {
                name
                for name, each in self.oracle.licences.items()
                if each.container == serial and each.state in ("collected", "confirmed_collected")
            }
            assert inside == (self.oracle.content(serial, box.issued) if box else set())

    def everything_can_be_brought_to_an_end(self) -> None:
        """Whatever has happened: a sweep, a decision and one update later all is well."""
        self.sweep(None, 30)
        for serial, box in list(self.oracle.containers.items()):
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


def _licence(ticket: str, returnable: bool) -> Any:
    from tests.integration.app.licensing.oracle import Licence  # noqa: PLC0415

    return Licence(ticket=ticket, returnable=returnable)


def _some(names: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(names)), min_size=1, max_size=3, unique=True)


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


def _ask(request: TransferRequest) -> Ask:
    return Ask(
        serial=request.context.serial,
        fuc=request.context.fuc,
        made_at=request.context.made_at,
        action=str(request.action),
        ticket=request.wish.ticket,
        activate=request.wish.activate,
        deactivate=request.wish.deactivate,
    )


SHORT = settings(max_examples=25, stateful_step_count=30)
LONG = settings(max_examples=1500, stateful_step_count=60)


@pytest.fixture(scope="module")
def lasting_boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    folder: Path = tmp_path_factory.mktemp("boxes")
    made = Boxes(folder, FakeClock())
    yield made
    made.close()


def test_lives_of_licences(lasting_boxes: Boxes, database_maker: DatabaseMaker) -> None:
    chosen = LONG if settings.get_current_profile_name() == "long" else SHORT
    run_state_machine_as_test(
        lambda: Life(lasting_boxes, database_maker),
        settings=settings(
            chosen, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
        ),
    )

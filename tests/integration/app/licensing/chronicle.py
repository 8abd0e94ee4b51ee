"""An instance and its oracle side by side: each request is sent to both, and what always holds is compared."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant

from app.cmcontainer import Container
from app.core.clock import from_us
from app.core.command import Command
from app.core.errors import DomainError
from app.core.ids import TransferId
from app.licensing import Deadlines, LicenseFilter, Transfer, TransferRequest, TransferService
from editions import audit_meters, month_of
from fsb_gateway import Context, JobUnknown, ProgrammingResult
from tests.fake.clock import START
from tests.fake.killed import Killed
from tests.integration.app.licensing.mortal import Fate, MortalBox, MortalDatabase
from tests.integration.app.licensing.oracle import Ask, Oracle
from tests.integration.app.licensing.world import PATIENCE, Boxes, Device, World
from tests.service.database import DatabaseMaker, EngineKind

LIMIT = 14
PROGRAM = Deadlines().program
AWAY = ("unreachable", "answer lost")
MICROSECOND = timedelta(microseconds=1)
SERIALS = ("130-1", "130-2", "3-3")
Outcome = Transfer | DomainError | str | None


class Chronicle(RuleBasedStateMachine):
    """An instance with three containers, and what the oracle says about it."""

    def __init__(self, boxes: Boxes, maker: DatabaseMaker, kind: EngineKind) -> None:
        super().__init__()
        self.maker = maker
        self.clock = boxes.clock
        self.clock.set(START)
        self.url = maker.create(kind, "instance")
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

    # A request and what has to come of it

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
        if trouble == "before reserve" and verdict is not None:
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

    def act(self, request: TransferRequest, op_id: str, trouble: str | None) -> Outcome:
        """Send a request to a process that may die of it; another one takes its place."""
        self.fate.trouble = trouble
        try:
            transfer, _ = self.world.run(
                self.service.start_transfer(request, Command(op_id=op_id), wait=PATIENCE)
            )
        except Killed:
            return "killed"
        except DomainError as error:
            return error
        finally:
            self.service = self.start_process()
        return transfer

    def check_refusal(
        self,
        ask: Ask,
        codes: frozenset[str],
        outcome: Outcome,
        trouble: str | None,
    ) -> None:
        stops = codes == {"fuc_too_old"} and self.oracle.containers[ask.serial].stopped is None
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

    def note_opened(self, ask: Ask, moves: tuple[tuple[str, str], ...], *, month: str, op_id: str) -> str:
        self.oracle.note_context(ask)
        (opened,) = set(self.stored_transfers()) - set(self.oracle.transfers)
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

    def follow(self, name: str, outcome: Outcome, trouble: str | None, *, fresh: bool) -> None:
        """Where a transfer has got to, and what its caller has to hear."""
        move = self.oracle.transfers[name]
        if move.state != "reserved":
            self.expect_update(name, outcome)
        elif self.clock.now() >= move.deadline and not self.can_be_fetched(name, trouble):
            self.end_late(name, outcome, trouble)
        elif trouble in self.deadly(name):
            assert outcome == "killed"
        elif trouble in AWAY:
            assert isinstance(outcome, Transfer)
            assert str(outcome.state) == "reserved"
        elif trouble == "after issue" and self.stopped(name):
            self.oracle.roll_back(name, self.before_newest(move.ask.serial))
            assert outcome == "killed"
        elif (trouble == "rejected" and not self.is_late(name)) or self.stopped(name):
            self.oracle.roll_back(name, self.before_newest(move.ask.serial))
            assert isinstance(outcome, DomainError)
            assert outcome.code == "transfer_rolled_back"
        else:
            self.oracle.issue(name)
            if trouble == "after issue":
                assert outcome == "killed"
            else:
                self.expect_update(name, outcome)

    def is_late(self, name: str) -> bool:
        return self.clock.now() >= self.oracle.transfers[name].deadline

    def deadly(self, name: str) -> tuple[str, ...]:
        """Where a process dies on its way to an update; past the deadline nothing is sent any more."""
        return (
            ("before issue",) if self.is_late(name) else ("before program", "after program", "before issue")
        )

    def can_be_fetched(self, name: str, trouble: str | None) -> bool:
        """Whether a box has made the update by now and can be asked for it."""
        return trouble not in AWAY and self.is_made(name)

    def is_made(self, name: str) -> bool:
        """Whether the box has recorded the job."""
        try:
            return isinstance(self.world.run(self.world.boxes.client.find(name)), ProgrammingResult)
        except JobUnknown:
            return False

    def stopped(self, name: str) -> bool:
        return self.oracle.containers[self.oracle.transfers[name].ask.serial].stopped is not None

    def end_late(self, name: str, outcome: Outcome, trouble: str | None) -> None:
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

    def expect_update(self, name: str, outcome: Outcome) -> None:
        if self.oracle.transfers[name].state == "rolled_back":
            assert isinstance(outcome, DomainError)
            assert outcome.code == "transfer_rolled_back"
            return
        assert isinstance(outcome, Transfer), outcome
        assert outcome.transfer_id == name
        assert outcome.update is not None
        assert self.updates.setdefault(name, outcome.update) == outcome.update

    # What else happens

    def take_over(self, before: dict[str, str]) -> None:
        """Which reserved transfers a worker gets to before it dies is its own affair; how they end is not."""
        for name, state in self.stored_transfers().items():
            if before.get(name) != "reserved" or state == "reserved":
                continue
            if state == "rolled_back":
                self.oracle.roll_back(name, self.before_newest(self.oracle.transfers[name].ask.serial))
            else:
                assert self.is_made(name)
                assert not self.stopped(name)
                self.oracle.issue(name)

    def stored_transfers(self) -> dict[str, str]:
        return dict(self.rows("SELECT transfer_id, state FROM transfer"))

    def rows(self, statement: str) -> list[Any]:
        """A look past the services."""
        with self.db.engine.connect() as connection:
            return list(connection.exec_driver_sql(statement).all())

    def renew_contract(self) -> None:
        if not self.has_contract():
            self.world.sell(activations=LIMIT)

    def has_contract(self) -> bool:
        return self.world.activations().included

    def apply(self, name: str) -> bool:
        """Whether the container took the update; it has to, if the counters fit."""
        transfer = self.service.get_transfer(TransferId(name))
        device = self.devices[transfer.container]
        fits = transfer.base_fuc <= device.fuc < transfer.fuc
        if not fits:
            with pytest.raises(DomainError) as refusal:
                device.apply(transfer)
            assert refusal.value.code in ("update_already_applied", "update_too_old", "update_too_new")
            return False
        device.apply(transfer)
        assert device.fuc == transfer.fuc
        return True

    def confirm(self, name: str, receipt: Context) -> None:
        serial = receipt.serial
        box = self.oracle.containers[serial]
        expected = self.expected_receipt(name, receipt)
        work = self.service.confirm_transfer(TransferId(name), receipt, Command())
        if expected in ("new", "known"):
            assert self.world.run(work)[1] == (expected == "new")
        else:
            with pytest.raises(DomainError) as refusal:
                self.world.run(work)
            assert refusal.value.code == expected
        if expected == "new":
            self.oracle.prove(serial, receipt.fuc)
            box.newest = receipt.made_at
        elif expected == "fuc_too_old" and box.stopped is None:
            box.unexpected, box.reported = "fuc_too_old", (receipt.fuc, receipt.made_at)

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
        if box.stopped is not None:
            return box.stopped
        if receipt.made_at <= box.newest:
            return "context_replayed" if receipt.made_at == box.newest else "context_outdated"
        return "fuc_too_old" if receipt.fuc < box.proven else "new"

    # What always holds

    @invariant()
    def books_agree_with_the_oracle(self) -> None:
        assert self.shown_licences() == {
            name: (
                each.ticket,
                each.state,
                each.container if each.state != "confirmed_returned" else None,
                each.pending,
            )
            for name, each in self.oracle.licences.items()
        }
        assert self.shown_containers() == {
            serial: (each.proven, each.issued, each.newest, each.stopped)
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
        stored = "SELECT serial, fuc_confirmed, fuc_issued, last_context_us, state, reason FROM container"
        return {
            serial: (proven, issued, from_us(newest), _stopped(state, reason))
            for serial, proven, issued, newest, state, reason in self.rows(stored)
        }

    @invariant()
    def ledger_counters_events_and_counters_of_containers_are_sound(self) -> None:
        assert self.db.read(audit_meters) == ()
        (numbers,) = self.rows("SELECT count(*), coalesce(min(sequence), 1), max(sequence) FROM outbox_event")
        assert (numbers[1], numbers[2]) == (1, numbers[0])
        for serial in SERIALS:
            counters = [
                self.oracle.transfers[name].fuc for name in self.oracle.of(serial, "issued", "confirmed")
            ]
            assert counters == list(range(1, len(counters) + 1))
            assert len(self.oracle.of(serial, "reserved")) <= 1
        now = self.clock.now()
        if self.has_contract():
            usage = self.world.activations()
            month = str(month_of(now))
            assert (usage.used, usage.used + usage.open) == (
                self.oracle.used(month),
                self.oracle.taken(month),
            )

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


def _stopped(state: str, reason: str | None) -> str | None:
    return {"ok": None, "blocked": "container_blocked"}.get(state, reason)


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

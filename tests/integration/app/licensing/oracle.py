"""What License Central has to do, written a second time: plain dicts, whole histories, no cleverness.

Knows nothing of SQL, transactions or the modules under test. Whatever can be recomputed from the history is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

FREE = ("not_collected", "confirmed_returned")


@dataclass(frozen=True)
class Ask:
    """A request as the oracle sees it; `activate` None: everything that can be collected."""

    serial: str
    fuc: int
    made_at: datetime
    action: str
    ticket: str | None
    activate: tuple[str, ...] | None
    deactivate: tuple[str, ...]

    def key(self) -> tuple[object, ...]:
        activate = None if self.activate is None else frozenset(self.activate)
        return (self.serial, self.fuc, self.action, self.ticket, activate, frozenset(self.deactivate))


@dataclass
class Licence:
    ticket: str
    returnable: bool
    state: str = "not_collected"
    container: str | None = None
    pending: str | None = None


@dataclass
class Move:
    """A transfer."""

    ask: Ask
    fuc: int
    moves: tuple[tuple[str, str], ...]
    month: str
    deadline: datetime
    op_id: str
    state: str = "reserved"
    base: int = 0


@dataclass
class Box:
    """A container as the books have it."""

    proven: int
    issued: int
    newest: datetime
    blocked: bool = False
    unexpected: str | None = None
    reported: tuple[int, datetime] | None = None

    @property
    def stopped(self) -> str | None:
        return "container_blocked" if self.blocked else self.unexpected


@dataclass(frozen=True)
class Verdict:
    """What has to come of a request: one of the fields is set."""

    refused: frozenset[str] = frozenset()
    existing: str | None = None
    nothing: bool = False
    moves: tuple[tuple[str, str], ...] | None = None


@dataclass
class Oracle:
    limit: int
    licences: dict[str, Licence] = field(default_factory=dict)
    containers: dict[str, Box] = field(default_factory=dict)
    transfers: dict[str, Move] = field(default_factory=dict)
    answers: dict[str, str | None] = field(default_factory=dict)

    # Derived by brute force.

    def of(self, serial: str, *states: str) -> list[str]:
        """Transfers of a container in some states, in the order of their counters."""
        found = [
            name
            for name, each in self.transfers.items()
            if each.ask.serial == serial and each.state in states
        ]
        return sorted(found, key=lambda name: self.transfers[name].fuc)

    def used(self, month: str) -> int:
        return sum(len(each.moves) for each in self._of_month(month) if each.state in ("issued", "confirmed"))

    def taken(self, month: str) -> int:
        return sum(len(each.moves) for each in self._of_month(month) if each.state != "rolled_back")

    def _of_month(self, month: str) -> Iterable[Move]:
        return (each for each in self.transfers.values() if each.month == month)

    def content(self, serial: str, fuc: int) -> set[str]:
        """Licences in a container whose counter stands at `fuc`, by its whole history."""
        held: set[str] = set()
        for name in self.of(serial, "issued", "confirmed"):
            if self.transfers[name].fuc <= fuc:
                for licence, action in self.transfers[name].moves:
                    (held.add if action == "activate" else held.discard)(licence)
        return held

    # What comes of a request.

    def expect(self, ask: Ask, month: str) -> Verdict:
        box = self.containers.get(ask.serial)
        stale = None
        if box is not None:
            if box.stopped is not None:
                return Verdict(refused=frozenset({box.stopped}))
            stale = self._stale(box, ask)
            if stale is None and ask.fuc < box.proven:
                return Verdict(refused=frozenset({"fuc_too_old"}))
            repeated = self._repeated(box, ask, stale)
            if repeated is not None:
                return Verdict(existing=repeated)
            if self.of(ask.serial, "reserved"):
                return Verdict(refused=frozenset({"transfer_open"}))
            again = stale == "context_replayed" and ask.action == "auto_update"
            if stale is not None and not again:
                return Verdict(refused=frozenset({stale}))
        if ask.action == "auto_update":
            return self._missing(ask)
        return self._wanted(ask, month)

    def _stale(self, box: Box, ask: Ask) -> str | None:
        if ask.made_at == box.newest:
            return "context_replayed"
        return "context_outdated" if ask.made_at < box.newest else None

    def _repeated(self, box: Box, ask: Ask, stale: str | None) -> str | None:
        for name, each in self.transfers.items():
            if each.state == "rolled_back" or each.ask.key() != ask.key():
                continue
            if stale is not None or (each.state != "confirmed" and each.fuc > box.proven):
                return name
        return None

    def _missing(self, ask: Ask) -> Verdict:
        missing = [name for name in self.of(ask.serial, "issued") if self.transfers[name].fuc > ask.fuc]
        if not missing:
            return Verdict(nothing=True)
        if self.transfers[missing[-1]].base > ask.fuc:
            return Verdict(moves=())
        return Verdict(existing=missing[-1])

    def _wanted(self, ask: Ask, month: str) -> Verdict:
        states = self._states_after(ask.serial, ask.fuc)
        reasons = {self._cannot_return(name, ask, states) for name in ask.deactivate}
        if ask.activate is None:
            chosen = [
                name
                for name, each in self.licences.items()
                if each.ticket == ask.ticket and self._cannot_collect(name, ask, states) is None
            ]
            if not chosen:
                on_ticket = [name for name, each in self.licences.items() if each.ticket == ask.ticket]
                single = len(on_ticket) == 1
                reasons.add(
                    self._cannot_collect(on_ticket[0], ask, states) if single else "nothing_to_activate"
                )
        else:
            chosen = list(ask.activate)
            reasons |= {self._cannot_collect(name, ask, states) for name in chosen}
        if not chosen and not ask.deactivate:
            reasons.add("input_invalid")
        reasons.discard(None)
        if reasons:
            return Verdict(refused=frozenset(str(each) for each in reasons))
        number = len(chosen) + len(ask.deactivate)
        if chosen and self.taken(month) + number > self.limit:
            return Verdict(refused=frozenset({"quota_exceeded"}))
        moves = [(name, "deactivate") for name in ask.deactivate] + [(name, "activate") for name in chosen]
        return Verdict(moves=tuple(sorted(moves)))

    def _states_after(self, serial: str, fuc: int) -> dict[str, str]:
        """States once everything up to a counter is proven."""
        states = {name: each.state for name, each in self.licences.items()}
        for name in self.of(serial, "issued"):
            each = self.transfers[name]
            if each.fuc <= fuc:
                states.update(self._proven_states(each))
        return states

    def _proven_states(self, each: Move) -> dict[str, str]:
        proven = {}
        for licence, action in each.moves:
            awaited = "collected" if action == "activate" else "returned"
            # A later programming may have moved the licence on; then only that one decides.
            latest = self._latest(licence)
            if self.licences[licence].state == awaited and latest is each:
                proven[licence] = f"confirmed_{awaited}"
        return proven

    def _latest(self, licence: str) -> Move | None:
        touching = [
            each
            for each in self.transfers.values()
            if each.state in ("issued", "confirmed") and licence in [name for name, _ in each.moves]
        ]
        return touching[-1] if touching else None

    def _cannot_collect(self, name: str, ask: Ask, states: dict[str, str]) -> str | None:
        licence = self.licences[name]
        if licence.ticket != ask.ticket:
            return "license_not_on_ticket"
        if licence.pending is not None:
            return "license_pending"
        return None if states[name] in FREE else "license_not_available"

    def _cannot_return(self, name: str, ask: Ask, states: dict[str, str]) -> str | None:
        licence = self.licences[name]
        if ask.ticket is not None and licence.ticket != ask.ticket:
            return "license_not_on_ticket"
        if licence.pending is not None:
            return "license_pending"
        inside = licence.container == ask.serial
        if inside and states[name] == "collected":
            return "license_not_confirmed"
        if not inside or states[name] != "confirmed_collected":
            return "license_not_on_container"
        return None if licence.returnable else "item_not_returnable"

    # What happens.

    def note_context(self, ask: Ask) -> None:
        """A fitting context was used: it registers its container, or proves what it proves."""
        box = self.containers.get(ask.serial)
        if box is None:
            self.containers[ask.serial] = Box(proven=ask.fuc, issued=ask.fuc, newest=ask.made_at)
            return
        self.prove(ask.serial, ask.fuc)
        box.newest = ask.made_at

    def prove(self, serial: str, fuc: int) -> None:
        for name in self.of(serial, "issued"):
            each = self.transfers[name]
            if each.fuc <= fuc:
                for licence, state in self._proven_states(each).items():
                    self.licences[licence].state = state
                    if state == "confirmed_returned":
                        self.licences[licence].container = None
                each.state = "confirmed"
        self.containers[serial].proven = max(self.containers[serial].proven, fuc)

    def reserve(
        self,
        name: str,
        ask: Ask,
        moves: tuple[tuple[str, str], ...],
        *,
        month: str,
        deadline: datetime,
        op_id: str,
    ) -> None:
        box = self.containers[ask.serial]
        self.transfers[name] = Move(
            ask=ask,
            fuc=box.issued + 1,
            moves=moves,
            month=month,
            deadline=deadline,
            op_id=op_id,
            base=ask.fuc,
        )
        for licence, _ in moves:
            self.licences[licence].pending = name

    def issue(self, name: str) -> None:
        each = self.transfers[name]
        # Later in the history than everything issued before it, whenever it was reserved.
        self.transfers[name] = self.transfers.pop(name)
        each.state = "issued"
        self.containers[each.ask.serial].issued = each.fuc
        for licence, action in each.moves:
            known = self.licences[licence]
            known.state = "collected" if action == "activate" else "returned"
            known.container, known.pending = each.ask.serial, None

    def roll_back(self, name: str, microsecond_before: datetime) -> None:
        each = self.transfers[name]
        each.state = "rolled_back"
        for licence, _ in each.moves:
            self.licences[licence].pending = None
        self.answers.pop(each.op_id, None)
        self.containers[each.ask.serial].newest = microsecond_before

    def accept(self, serial: str) -> None:
        """Staff takes the container's word for where it stands."""
        box = self.containers[serial]
        assert box.reported is not None
        box.proven, box.newest = box.reported
        box.unexpected, box.reported = None, None
        for name in self.of(serial, "confirmed"):
            if self.transfers[name].fuc > box.proven:
                self.transfers[name].state = "issued"

"""The ledger under any sequence of events, against an oracle that only keeps lists.

The oracle knows nothing of counters, leases, blocks or versions: it holds every effect and every answered call,
and recounts them all after each step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from app.core.db import Database
from app.core.errors import DomainError
from app.core.ids import LineId, new_id
from app.core.outbox import list_events
from editions import (
    ACTIVATIONS,
    METERS,
    WEB_SERVICE_CALLS,
    CallMeter,
    CallPermit,
    Contract,
    EditionFeatureUnavailable,
    Effect,
    EffectAlreadyVoided,
    EffectNotCounted,
    Meter,
    Month,
    Overage,
    QuotaExceeded,
    QuotaState,
    audit_meters,
    count_call,
    list_ledger,
    month_of,
    quota_state,
)
from tests.fake.clock import FakeClock
from tests.integration.editions.material import (
    MONTH,
    call,
    contract,
    do_count,
    do_release,
    do_reserve,
    do_void,
    effects,
    put,
)
from tests.service.database import DatabaseMaker, EngineKind

_LINES = ("line_1", "line_2")
_SIZES = (4, 2, 1)
_AMOUNTS = st.integers(1, 12)
_POLICIES: st.SearchStrategy[Overage] = st.sampled_from(["grace", "block"])
_Edition = Literal["dedicated", "datacenter"]
_EDITIONS: st.SearchStrategy[_Edition] = st.sampled_from(["dedicated", "dedicated", "datacenter"])


@dataclass(slots=True)
class _Booking:
    """One transfer, as the oracle keeps it."""

    effects: list[Effect]
    month: Month
    phase: Literal["reserved", "counted", "released"] = "reserved"


@dataclass(frozen=True, slots=True)
class _Answer:
    """One counted call, as its client remembers it."""

    months: frozenset[Month]
    line: str
    second: float


@dataclass(slots=True)
class _Line:
    """One process of a line."""

    meter: CallMeter
    permits: list[CallPermit] = field(default_factory=list)


class _LedgerMachine(RuleBasedStateMachine):
    """Transfers come and go, lines serve calls and are killed, contracts and months change."""

    bookings: Bundle[_Booking] = Bundle("bookings")
    counted: Bundle[_Booking] = Bundle("counted")

    maker: ClassVar[DatabaseMaker]
    kind: ClassVar[EngineKind]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self._url = self.maker.create(self.kind, "instance")
        self.db = Database(self._url, clock=self.clock)
        self.lines = {name: self._start(name) for name in _LINES}
        self.contracts: list[Contract] = []
        self.booked: list[_Booking] = []
        self.answers: dict[str, _Answer] = {}
        self.voided: set[str] = set()
        self.most_allowed: dict[Month, int] = {}
        self.used: dict[tuple[Meter, Month], int] = {}
        self.noted: set[tuple[object, ...]] = set()
        self.months = [MONTH]
        self.loosened_at = self.clock.monotonic()

    def teardown(self) -> None:
        self.db.close()
        self.maker.remove(self._url)

    def _start(self, name: str) -> _Line:
        return _Line(CallMeter(self.db, LineId(name), clock=self.clock, block_sizes=_SIZES))

    def _limit(self, meter: Meter, at: datetime) -> tuple[int, int]:
        """Contractual and refusal amount: those of the row that began last."""
        row = [each for each in self.contracts if each.effective_from <= at][-1]
        if meter == WEB_SERVICE_CALLS and row.edition == "datacenter":
            return 0, 0
        amount = (row.limits or {})[meter]
        return amount, int(amount * 6 / 5) if row.overage == "grace" else amount

    def _taken(self, month: Month) -> int:
        mine = [each for each in self.booked if each.month == month and each.phase != "released"]
        return sum(len(self._in_force(each)) for each in mine)

    def _in_force(self, booking: _Booking) -> list[Effect]:
        return [each for each in booking.effects if each.effect_id not in self.voided]

    def _state(self, meter: Meter, month: Month) -> QuotaState:
        at = month.clamp(self.clock.now())
        return self.db.read(lambda reader: quota_state(reader, meter, at))

    # Contracts and time.

    @initialize(activations=_AMOUNTS, calls=_AMOUNTS, overage=_POLICIES)
    def sign_first_contract(self, activations: int, calls: int, overage: Overage) -> None:
        self._sign("dedicated", activations, calls, overage)

    @rule(edition=_EDITIONS, activations=_AMOUNTS, calls=_AMOUNTS, overage=_POLICIES)
    def change_contract(self, edition: _Edition, activations: int, calls: int, overage: Overage) -> None:
        self.clock.advance(timedelta(microseconds=1))
        self._sign(edition, activations, calls, overage)

    def _sign(self, edition: _Edition, activations: int, calls: int, overage: Overage) -> None:
        row = contract(edition, activations=activations, calls=calls, overage=overage, start=self.clock.now())
        put(self.db, row)
        self.contracts.append(row)
        self.loosened_at = self.clock.monotonic()
        month = month_of(self.clock.now())
        self.most_allowed[month] = max(
            self.most_allowed.get(month, 0), self._limit(WEB_SERVICE_CALLS, row.effective_from)[1]
        )
        for meter in METERS:
            self._expect_notices(meter, month)

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.6, 90.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, and the worker flushes what has become due."""
        self.clock.advance(timedelta(seconds=seconds))
        for line in self.lines.values():
            if line.meter.due_in() == 0.0:
                line.meter.flush()
                self.loosened_at = self.clock.monotonic()

    @rule()
    def begin_next_month(self) -> None:
        self.clock.set(self.months[-1].end)
        month = month_of(self.clock.now())
        self.months.append(month)
        self.most_allowed[month] = self._limit(WEB_SERVICE_CALLS, self.clock.now())[1]

    # Activations.

    @rule(target=bookings, number=st.integers(0, 4), deactivations=st.integers(0, 2))
    def reserve(self, number: int, deactivations: int) -> MultipleResults[_Booking]:
        month = month_of(self.clock.now())
        what = effects(number, deactivations=deactivations)
        refusal = self._limit(ACTIVATIONS, self.clock.now())[1]
        if number and self._taken(month) + len(what) > refusal:
            with pytest.raises(QuotaExceeded):
                do_reserve(self.db, what, month)
            return multiple()
        do_reserve(self.db, what, month)
        self.booked.append(_Booking(what, month))
        return multiple(self.booked[-1])

    @rule(target=counted, booking=consumes(bookings))
    def count(self, booking: _Booking) -> _Booking:
        do_count(self.db, booking.effects, booking.month)
        booking.phase = "counted"
        return booking

    @rule(booking=consumes(bookings))
    def release(self, booking: _Booking) -> None:
        do_release(self.db, booking.effects, booking.month)
        booking.phase = "released"

    # Corrections.

    @rule(booking=counted, number=st.integers(1, 3), again=st.booleans())
    def void_activations(self, booking: _Booking, number: int, again: bool) -> None:
        chosen = [each.effect_id for each in self._in_force(booking) if each.kind == "activation"][:number]
        self._void(chosen, booking.month, again=again)

    @rule(again=st.booleans())
    def void_call(self, again: bool) -> None:
        """The call that was written last, if any is left."""
        written = {key: month for key, month in self._written().items() if key not in self.voided}
        if written:
            effect_id, month = list(written.items())[-1]
            self._void([effect_id], month, again=again)
            self.loosened_at = self.clock.monotonic()

    def _void(self, effect_ids: list[str], month: Month, *, again: bool) -> None:
        if not effect_ids:
            return
        reference = new_id("opn")
        for _ in range(2 if again else 1):
            do_void(self.db, effect_ids, month, reference=reference)
        self.voided.update(effect_ids)
        with pytest.raises(EffectAlreadyVoided):
            do_void(self.db, effect_ids, month, reference=new_id("opn"))

    @rule(booking=bookings)
    def void_what_is_only_reserved(self, booking: _Booking) -> None:
        activations = [each.effect_id for each in booking.effects if each.kind == "activation"]
        if activations:
            with pytest.raises(EffectNotCounted):
                do_void(self.db, activations, booking.month)

    # Calls.

    @rule()
    def write_call(self) -> None:
        one = call(self.clock.now())
        month = month_of(one.answered_at)
        fits = (
            self._state(WEB_SERVICE_CALLS, month).taken < self._limit(WEB_SERVICE_CALLS, one.answered_at)[1]
        )
        try:
            self.db.run_tx(new_id("op"), lambda tx: count_call(tx, one).to_json())
        except (QuotaExceeded, EditionFeatureUnavailable):
            assert not fits
        else:
            assert fits
            self.answers[one.effect_id] = _Answer(frozenset({month}), "", self.clock.monotonic())

    @rule(name=st.sampled_from(_LINES))
    def begin_call(self, name: str) -> None:
        line = self.lines[name]
        month = month_of(self.clock.now())
        before = self._state(WEB_SERVICE_CALLS, month).taken
        try:
            line.permits.append(line.meter.begin())
        except (QuotaExceeded, EditionFeatureUnavailable) as refused:
            self._check_refusal(refused)
        if self._state(WEB_SERVICE_CALLS, month).taken < before:
            self.loosened_at = self.clock.monotonic()

    def _check_refusal(self, refused: DomainError) -> None:
        """A refusal may be a quarter of a second old, and is right otherwise."""
        if self.clock.monotonic() - self.loosened_at > 0.25:
            now = self.clock.now()
            state = self._state(WEB_SERVICE_CALLS, month_of(now))
            assert state.taken >= self._limit(WEB_SERVICE_CALLS, now)[1], refused.detail

    @rule(name=st.sampled_from(_LINES), status=st.sampled_from([200, 200, 404, 503]))
    def answer_call(self, name: str, status: int) -> None:
        line = self.lines[name]
        if not line.permits:
            return
        permit = line.permits.pop(0)
        one = call(self.clock.now(), status=status)
        if permit.count(one):
            months = frozenset({permit.month, month_of(one.answered_at)})
            self.answers[one.effect_id] = _Answer(months, name, self.clock.monotonic())

    @rule(name=st.sampled_from(_LINES))
    def flush(self, name: str) -> None:
        self.lines[name].meter.flush()
        self.loosened_at = self.clock.monotonic()
        assert not self._unwritten(name)

    @rule(name=st.sampled_from(_LINES))
    def close(self, name: str) -> None:
        self.lines[name].meter.close()
        self.loosened_at = self.clock.monotonic()
        assert not self._unwritten(name)

    @rule(name=st.sampled_from(_LINES))
    def kill(self, name: str) -> None:
        """The process is gone with all it knew; another one starts under the line's name."""
        for effect_id, answer in self._unwritten(name).items():
            assert self.clock.monotonic() - answer.second < 1.0
            del self.answers[effect_id]
        self.lines[name] = self._start(name)

    def _unwritten(self, name: str) -> dict[str, _Answer]:
        written = self._written()
        return {key: each for key, each in self.answers.items() if each.line == name and key not in written}

    def _written(self) -> dict[str, Month]:
        return {
            entry.effect_id: month
            for month in self.months
            for entry in self.db.read(
                lambda reader, month=month: list_ledger(reader, month, meter=WEB_SERVICE_CALLS, limit=1_000)  # type: ignore[misc]
            )
        }

    # What holds after every step.

    @invariant()
    def everything_agrees_with_the_ledger(self) -> None:
        assert self.db.read(audit_meters) == ()

    @invariant()
    def activations_are_those_of_the_oracle(self) -> None:
        for month in self.months:
            state = self._state(ACTIVATIONS, month)
            counted = [each for each in self.booked if each.month == month and each.phase == "counted"]
            assert state.used == sum(len(self._in_force(each)) for each in counted)
            assert state.taken == self._taken(month)

    @invariant()
    def calls_are_counted_once_in_a_month_of_theirs_and_never_beyond_the_limit(self) -> None:
        for effect_id, month in self._written().items():
            assert month in self.answers[effect_id].months
        for month in self.months:
            assert self._state(WEB_SERVICE_CALLS, month).taken <= self.most_allowed.get(month, 0)

    @invariant()
    def each_threshold_is_noted_once_for_each_limit(self) -> None:
        for meter in METERS:
            for month in self.months:
                if self._state(meter, month).used != self.used.get((meter, month), 0):
                    self._expect_notices(meter, month)
        data = [
            event.data for event in self.db.read(lambda reader: list_events(reader, after=0, limit=1_000))
        ]
        found = [(each["meter"], each["month"], each["threshold"], each["limit"]) for each in data]
        assert len(found) == len(set(found))
        assert set(found) == self.noted

    def _expect_notices(self, meter: Meter, month: Month) -> None:
        used = self._state(meter, month).used
        self.used[meter, month] = used
        contractual = self._limit(meter, month.clamp(self.clock.now()))[0]
        if contractual:
            reached = [each for each in (50, 80, 100, 120) if used * 100 >= each * contractual]
            self.noted |= {(meter, str(month), threshold, contractual) for threshold in reached}


def test_ledger_agrees_with_the_oracle_after_every_step(
    database_maker: DatabaseMaker, engine_kind: EngineKind
) -> None:
    class Machine(_LedgerMachine):
        maker = database_maker
        kind = engine_kind

    # A server answers more slowly than a file: fewer lives there, and shorter ones.
    examples, steps = (50, 40) if engine_kind == "sqlite" else (5, 25)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

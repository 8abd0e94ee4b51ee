"""The healer's turns over a platform database, with lines and boxes that are as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.errors import DatabaseUnavailable, DomainError
from app.core.ids import LineId
from app.core.outbox import list_events
from app.operations.front.keeper import FrontsReport
from app.operations.reconcile import repository
from app.operations.reconcile.front_watch import FrontWatch
from app.operations.reconcile.healer import Healer, HealerParts
from app.operations.reconcile.journal import KEEP, Journal
from app.operations.reconcile.lease import LEASE, HealerLease
from app.operations.reconcile.line_watch import LineWatch, LineWatchParts
from app.operations.reconcile.past import Rails
from app.operations.reconcile.record import Entry
from app.operations.reconcile.remedy import Remedy, RemedyParts
from app.operations.reconcile.service import ReconcileService
from tenancy import Instance, InstanceService
from tenancy.box.control import BoxView
from tenancy.box.record import BoxRecord
from tenancy.box.service import BoxService
from tenancy.line.errors import LineStateUnfit
from tenancy.runner.port import LineSeen, LineState
from tests.fake.box_gateway import FakeGateway
from tests.integration.tenancy.line.track import Track

FIRST, SECOND = LineId("acme-1"), LineId("acme-2")
STEP = timedelta(seconds=1)
pytestmark = pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)


class Lease(HealerLease):
    """One whose database can be away."""

    away = False

    def keep(self) -> int | None:
        if self.away:
            raise DatabaseUnavailable("The database does not answer.")
        return super().keep()


class Ward:
    """A fleet of two lines, and healers over it."""

    def __init__(self, track: Track, folder: Path) -> None:
        self.track = track
        self.folder = folder
        self.acme: Instance = track.instance()
        self.states: dict[LineId, LineState] = {FIRST: "ready", SECOND: "ready"}
        self.restarted: list[tuple[str, LineId]] = []
        self.refuses: DomainError | None = None
        self.busy: set[str] = set()
        self.boxes: list[BoxView] = []
        self.db = track.world.platform
        self.service = ReconcileService(self.db)
        self.heals = True

    def healer(self, *, rails: Rails | None = None) -> tuple[Healer, Lease]:
        """Another control process."""
        lease = Lease(self.db)
        lines = LineWatchParts(
            seen=self._seen,
            list_served=self.track.lines.list_served,
            list_lines=self.track.lines.list_lines,
            last_change=InstanceService(self.db).last_change,
            is_busy=lambda objects: bool(self.busy & set(objects)),
            directory_of=lambda line_id: self.folder / line_id,
        )
        remedies = RemedyParts(
            lines=self.track.lines,
            restart_line=lambda line_id: self._cure("restart", line_id),
            replace_line=lambda line_id: self._cure("replace", line_id),
            boxes=BoxService(self.db),
        )
        parts = HealerParts(
            lines=LineWatch(lines, clock=self.db.clock),
            fronts=FrontWatch((), lambda: FrontsReport(desired=None, problem=None, fronts=())),
            boxes=self._views,
            pauses=self.service.list_pauses,
            lease=lease,
            journal=Journal(self.db, lease),
            remedy=Remedy(remedies, lease),
            is_watching=True,
        )
        healer = Healer(parts, clock=self.db.clock, rails=rails)
        self.service.on_released = healer.note_released
        return healer, lease

    async def pass_time(self, healer: Healer, seconds: float) -> None:
        """Turns, one a second."""
        for _ in range(int(seconds)):
            self.track.world.clock.advance(STEP)
            await healer.turn()

    async def until(self, healer: Healer, reason: str, part: str = "line:acme-1") -> int:
        """Turns until that is the decision's reason; how many."""
        for number in range(1, 400):
            await self.pass_time(healer, 1)
            if self.reason(healer, part) == reason:
                return number
        raise AssertionError(f"never {reason}: {self.actions(part)}")

    def reason(self, healer: Healer, part: str = "line:acme-1") -> str:
        found = {each.decision.subject.key: each.decision.reason for each in healer.report.parts}
        return str(found.get(part, ""))

    def journal(self, part: str | None = None) -> list[Entry]:
        return list(reversed(self.service.list_entries(before="", limit=500, part=part)))

    def actions(self, part: str = "line:acme-1") -> list[tuple[str, str | None]]:
        return [(each.action, each.outcome) for each in self.journal(part) if each.action != "none"]

    def events(self) -> list[str]:
        found = self.db.read(lambda reader: list_events(reader, after=0, limit=1000))
        return [each.type for each in found if each.type.startswith("reconcile.")]

    async def _seen(self) -> dict[LineId, LineSeen]:
        return {line: LineSeen(line_id=line, state=state) for line, state in self.states.items()}

    async def _cure(self, verb: str, line_id: LineId) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.restarted.append((verb, line_id))
        if self.heals:
            self.states[line_id] = "ready"

    async def _views(self) -> Sequence[BoxView]:
        records = {each.name: each for each in BoxService(self.db).list_boxes()}
        return [replace(each, record=records[each.name]) for each in self.boxes]


@pytest.fixture
def ward(track: Track, tmp_path: Path) -> Ward:
    return Ward(track, tmp_path)


def run(body: Callable[[], object]) -> None:
    async def main() -> None:
        await body()  # type: ignore[misc]

    asyncio.run(main())


def test_sick_line_is_healed_step_by_step_and_every_step_is_written_first(ward: Ward) -> None:
    async def body() -> None:
        healer, lease = ward.healer()
        await ward.pass_time(healer, 7)
        assert ward.reason(healer) == "healthy"
        assert ward.journal() == []
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "healthy_again")
        await ward.pass_time(healer, 2)
        assert ward.actions() == [("take_out", "met"), ("restart", "met"), ("put_back", "met")]
        assert ward.restarted == [("restart", FIRST)]
        assert ward.reason(healer) == "healthy"
        assert ward.track.front(ward.acme)[FIRST].in_service
        assert {each.token for each in ward.journal()} == {lease.token} == {1}
        told = ward.events()
        assert told[::2] == ["reconcile.take_out", "reconcile.restart", "reconcile.put_back"]
        assert set(told[1::2]) == {"reconcile.ended"}

    run(body)


def test_nothing_helps_and_a_person_is_called_once(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        ward.heals = False
        await ward.pass_time(healer, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "frozen")
        await ward.pass_time(healer, 60)
        assert ward.actions() == [
            ("take_out", "met"),
            ("restart", "not_met"),
            ("replace", "not_met"),
            ("replace", "not_met"),
            ("call_human", None),
        ]
        at = [
            each.decided_at for each in ward.journal("line:acme-1") if each.action in ("restart", "replace")
        ]
        assert timedelta(seconds=30) <= at[1] - at[0] < timedelta(seconds=33)
        assert timedelta(minutes=5) <= at[2] - at[1] < timedelta(minutes=5, seconds=3)
        (alarm,) = ward.service.list_alarms()
        assert (alarm.part, alarm.reason) == ("line:acme-1", "too_often")
        assert ward.events().count("reconcile.person_called") == 1
        ward.heals = True
        ward.service.release("line:acme-1")
        assert ward.service.list_alarms() == []
        await ward.until(healer, "healthy")
        assert ward.actions()[-2:] == [("restart", "met"), ("put_back", "open")] or ward.actions()[-2:] == [
            ("restart", "met"),
            ("put_back", "met"),
        ]

    run(body)


def test_next_process_keeps_rates_and_goes_on_with_what_was_begun(ward: Ward) -> None:
    async def body() -> None:
        first, lease = ward.healer()
        ward.heals = False
        await ward.pass_time(first, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(first, "recovering")
        second, _ = ward.healer()
        await ward.pass_time(second, 3)
        assert second.report.has_lease is False
        lease.give_up()
        await ward.pass_time(second, 1)
        assert (second.report.has_lease, second.report.token) == (True, 2)
        assert second._past["line:acme-1"].tried == first._past["line:acme-1"].tried
        await ward.until(second, "acted_lately")
        assert [action for action, _ in ward.actions()] == ["take_out", "restart", "replace"]
        # The first one is still there, and does nothing.
        before = len(ward.journal())
        await ward.pass_time(first, 10)
        assert (first.report.has_lease, len(ward.journal())) == (False, before)

    run(body)


def test_who_has_no_lease_only_looks_and_says_so(ward: Ward) -> None:
    async def body() -> None:
        first, _ = ward.healer()
        second, _ = ward.healer()
        await first.turn()
        ward.states[FIRST] = "frozen"
        for _ in range(12):
            await ward.pass_time(second, 1)
        found = {each.decision.subject.key: each.decision for each in second.report.parts}
        decision = found["line:acme-1"]
        assert (decision.action, decision.reason, decision.wanted) == ("none", "no_lease", "take_out")
        assert ward.journal() == []

    run(body)


def test_platform_database_away_means_looking_only(ward: Ward) -> None:
    async def body() -> None:
        healer, lease = ward.healer()
        await ward.pass_time(healer, 7)
        lease.away = True
        ward.states[FIRST] = "frozen"
        await ward.pass_time(healer, 10)
        assert (healer.report.problem, healer.report.has_lease) == ("database_unavailable", False)
        assert ward.reason(healer) == "no_lease"
        assert ward.actions() == []
        lease.away = False
        await ward.until(healer, "healthy_again")
        assert healer.report.problem is None

    run(body)


@pytest.mark.parametrize("is_set", [False, True])
def test_healer_that_was_held_up_warms_up_again(ward: Ward, is_set: bool) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        clock = ward.track.world.clock
        await ward.pass_time(healer, 7)
        since = healer.report.watching_since
        ward.states[FIRST] = "frozen"
        await ward.pass_time(healer, 1)
        if is_set:
            clock.set(clock.now() + timedelta(seconds=10))
        else:
            clock.advance(timedelta(seconds=10))
        await healer.turn()
        assert healer.report.watching_since != since
        assert ward.actions() == [], "it was bad for long enough, and nobody has watched it meanwhile"
        await ward.pass_time(healer, 4)
        assert ward.actions() == []
        await ward.pass_time(healer, 2)
        assert [action for action, _ in ward.actions()][:1] == ["take_out"]

    run(body)


def test_what_staff_say_wins(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        await ward.pass_time(healer, 7)
        ward.track.lines.drain_line(ward.acme.instance_id, FIRST, by="staff", reason="maintenance")
        ward.states[FIRST] = "frozen"
        await ward.pass_time(healer, 10)
        assert ward.reason(healer) == "taken_out_by_others"
        ward.states[FIRST] = "ready"
        await ward.pass_time(healer, 10)
        assert not ward.track.front(ward.acme)[FIRST].in_service
        ward.busy.add(ward.acme.instance_id)
        ward.states[SECOND] = "frozen"
        await ward.pass_time(healer, 10)
        assert ward.reason(healer, "line:acme-2") == "change_under_way"
        assert ward.actions("line:acme-2") == []

    run(body)


def test_action_that_is_refused_is_written_down_and_counts(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        await ward.pass_time(healer, 7)
        ward.refuses = LineStateUnfit("not now")
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "recovering")
        assert ward.actions() == [("take_out", "met"), ("restart", "failed")]
        assert ward.journal("line:acme-1")[-2].outcome_code == "line_state_unfit"

    run(body)


def test_pause_ends_by_itself(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        until = ward.track.world.clock.now() + timedelta(seconds=20)
        ward.service.pause("group:" + ward.acme.instance_id, reason="looking", until=until)
        await ward.pass_time(healer, 7)
        ward.states[FIRST] = "frozen"
        await ward.until(healer, "paused")
        await ward.pass_time(healer, 5)
        assert ward.actions() == []
        await ward.until(healer, "healthy_again")

    run(body)


def test_old_lines_are_cleared_and_alarms_stay(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        await ward.pass_time(healer, 7)
        ward.states.update({FIRST: "frozen", SECOND: "frozen"})
        await ward.until(healer, "frozen", "line:*")
        assert len(ward.journal()) > 1
        ward.states.update({FIRST: "ready", SECOND: "ready"})
        ward.track.world.clock.advance(KEEP + LEASE)
        await ward.pass_time(healer, 8)
        assert next(each.action for each in ward.journal("line:*")) == "call_human"
        assert all(
            each.action == "call_human" or each.decided_at > ward.track.world.clock.now() - KEEP
            for each in ward.journal()
        )
        alarms = ward.db.read(repository.list_alarms)
        assert [each.part for each in alarms] == ["line:*"]

    run(body)


def test_sick_box_is_drained_while_another_works_and_resumed_when_it_is_well(ward: Ward) -> None:
    async def body() -> None:
        healer, _ = ward.healer()
        gateway = FakeGateway()
        service = BoxService(ward.db)
        records: list[BoxRecord] = [each for each in service.list_boxes() if each.spec.owner is not None]
        assert len(records) == 2
        for each in records:
            await gateway.ensure_box(each.told)
        reports = {each.name: each for each in await gateway.boxes()}

        def see(condition: str, other: str = "ready") -> None:
            first, second = (reports[each.name] for each in records)
            ward.boxes = [
                BoxView(name=one.name, record=None, report=replace(one, condition=seen), seen=None)  # type: ignore[arg-type]
                for one, seen in ((first, condition), (second, other))
            ]

        name = records[0].name
        see("ready")
        await ward.pass_time(healer, 7)
        see("out")
        await ward.pass_time(healer, 10)
        assert ward.reason(healer, f"box:{name}") == "being_healed"
        see("token_pin_wrong")
        await ward.until(healer, "frozen", f"box:{name}")
        assert ward.actions(f"box:{name}") == [("call_human", None)]
        assert not service.get_box(name).spec.drained, "telling it anything would try the PIN again"
        ward.service.release(f"box:{name}")
        ward.track.world.clock.advance(timedelta(hours=2))
        see("journal_damaged")
        await ward.until(healer, "frozen", f"box:{name}")
        assert [action for action, _ in ward.actions(f"box:{name}")][1:] == ["take_out", "call_human"]
        assert service.get_box(name).spec.drained
        see("drained")
        ward.service.release(f"box:{name}")
        await ward.until(healer, "healthy_again", f"box:{name}")
        assert not service.get_box(name).spec.drained

    run(body)

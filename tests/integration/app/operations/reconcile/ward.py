"""A fleet of two lines and their boxes that are as a test says, and healers over it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio.lowlevel

from app.core.db import Tx
from app.core.errors import DatabaseUnavailable, DomainError
from app.core.ids import LineId, new_id
from app.core.json import JsonObject
from app.core.outbox import list_events
from app.operations.front.keeper import FrontsReport
from app.operations.reconcile.front_watch import FrontWatch
from app.operations.reconcile.healer import ASK_WITHIN, Healer, HealerParts
from app.operations.reconcile.journal import Journal
from app.operations.reconcile.lease import HealerLease
from app.operations.reconcile.line_watch import LineWatch, LineWatchParts
from app.operations.reconcile.past import Rails
from app.operations.reconcile.record import Entry
from app.operations.reconcile.remedy import Permission, Remedy, RemedyParts
from app.operations.reconcile.service import ReconcileService
from fsb_gateway.report import BoxCondition, BoxReport
from tenancy import Instance, InstanceService
from tenancy.box.control import BoxView
from tenancy.box.record import BoxRecord
from tenancy.box.service import BoxService
from tenancy.line.plan import REMOVE_LINE
from tenancy.operation.start import start_operation
from tenancy.runner.port import LineSeen, LineState
from tests.fake.box_gateway import FakeGateway
from tests.integration.tenancy.line.track import Track

FIRST, SECOND = LineId("acme-1"), LineId("acme-2")
STEP = timedelta(seconds=1)


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
        self.before_busy: Callable[[], object] = lambda: None
        self.boxes: list[BoxView] = []
        self.db = track.world.platform
        self.service = ReconcileService(self.db, known_scopes=lambda: {f"group:{self.acme.instance_id}"})
        self.heals = True
        self.before_cure: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint
        self.before_boxes: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint

    def healer(
        self, *, rails: Rails | None = None, ask_within: timedelta = ASK_WITHIN
    ) -> tuple[Healer, Lease]:
        """Another control process."""
        lease = Lease(self.db)
        lines = LineWatchParts(
            seen=self._seen,
            list_served=self.track.lines.list_served,
            list_lines=self.track.lines.list_lines,
            last_change=InstanceService(self.db).last_change,
            directory_of=lambda line_id: self.folder / line_id,
        )
        remedies = RemedyParts(
            lines=self.track.lines,
            restart_line=lambda line_id, permission: self._cure("restart", line_id, permission),
            replace_line=lambda line_id, permission: self._cure("replace", line_id, permission),
            boxes=BoxService(self.db),
        )
        parts = HealerParts(
            lines=LineWatch(lines, clock=self.db.clock),
            fronts=FrontWatch((), lambda: FrontsReport(desired=None, problem=None, fronts=())),
            boxes=self._views,
            busy=self._busy,
            pauses=self.service.list_pauses,
            alarms=lambda: frozenset(each.part for each in self.service.list_alarms()),
            lease=lease,
            journal=Journal(self.db, lease),
            remedy=Remedy(remedies, lease),
            is_watching=True,
        )
        return Healer(parts, clock=self.db.clock, rails=rails, ask_within=ask_within), lease

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

    def start_operation(self, object_id: str) -> None:
        """One that nobody has looked at yet."""

        def body(tx: Tx) -> JsonObject:
            return {"operation_id": start_operation(tx, REMOVE_LINE, object_id=object_id)}

        self.db.run_tx(new_id("op"), body)

    def _busy(self) -> frozenset[str]:
        self.before_busy()
        return frozenset(self.busy)

    async def _seen(self) -> dict[LineId, LineSeen]:
        return {line: LineSeen(line_id=line, state=state) for line, state in self.states.items()}

    async def _cure(self, verb: str, line_id: LineId, permission: Permission) -> None:
        await self.before_cure()
        await permission()
        if self.refuses is not None:
            raise self.refuses
        self.restarted.append((verb, line_id))
        if self.heals:
            self.states[line_id] = "ready"

    async def _views(self) -> Sequence[BoxView]:
        await self.before_boxes()
        records = {each.name: each for each in BoxService(self.db).list_boxes()}
        return [replace(each, record=records[each.name]) for each in self.boxes]


class OwnBoxes:
    """Both boxes of a ward's instance, as its gateway reports them."""

    def __init__(self, ward: Ward, reports: Sequence[BoxReport]) -> None:
        self._ward = ward
        self._reports = reports
        self.service = BoxService(ward.db)

    @classmethod
    async def of(cls, ward: Ward) -> OwnBoxes:
        gateway = FakeGateway()
        records: list[BoxRecord] = [
            each for each in BoxService(ward.db).list_boxes() if each.spec.owner is not None
        ]
        assert len(records) == 2
        for each in records:
            await gateway.ensure_box(each.told)
        reports = {each.name: each for each in await gateway.boxes()}
        return cls(ward, [reports[each.name] for each in records])

    @property
    def name(self) -> str:
        return self._reports[0].name

    @property
    def part(self) -> str:
        return f"box:{self.name}"

    @property
    def first(self) -> BoxRecord:
        return self.service.get_box(self.name)

    def see(self, condition: BoxCondition) -> None:
        """The first one is like that, the other is ready."""
        conditions: tuple[BoxCondition, ...] = (condition, "ready")
        self._ward.boxes = [
            BoxView(name=one.name, record=None, report=replace(one, condition=seen), seen=None)
            for one, seen in zip(self._reports, conditions, strict=True)
        ]


def run(body: Callable[[], object]) -> None:
    async def main() -> None:
        await body()  # type: ignore[misc]

    asyncio.run(main())

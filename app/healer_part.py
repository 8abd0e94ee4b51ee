"""Builds the healer out of what looks after lines, load balancers and boxes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from app.core.db import Database
from app.core.ids import LineId
from app.front_part import front_settings
from app.operations.front.keeper import FrontKeeper
from app.operations.line_keeper import LineKeeper
from app.operations.reconcile.front_watch import FrontWatch
from app.operations.reconcile.healer import Healer, HealerParts
from app.operations.reconcile.journal import Journal
from app.operations.reconcile.lease import HealerLease
from app.operations.reconcile.line_watch import LineWatch, LineWatchParts
from app.operations.reconcile.past import Rails
from app.operations.reconcile.remedy import Remedy, RemedyParts
from app.operations.reconcile.service import ReconcileService
from app.settings import Settings
from tenancy import BoxCare, InstanceService
from tenancy.line.service import LineService
from tenancy.line_file import line_directory
from tenancy.operation import repository as operations
from tenancy.runner.port import LineSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class HealerServices:
    """What it looks at, and through whom it acts.

    Attributes:
        line_keeper: None: lines work in this process.
    """

    db: Database
    reconcile: ReconcileService
    instances: InstanceService
    lines: LineService
    lines_seen: Callable[[], Awaitable[Mapping[LineId, LineSeen] | None]]
    line_keeper: LineKeeper | None
    fronts: FrontKeeper
    boxes: BoxCare


def make_healer(settings: Settings, services: HealerServices, *, rails: Rails) -> Healer:
    """The healer of this platform. Without line processes and load balancers it has nothing to do."""
    db, clock = services.db, services.db.clock
    fronts = FrontWatch(front_settings(settings), services.fronts.report)
    lease = HealerLease(db)
    healer = Healer(
        HealerParts(
            lines=LineWatch(_line_parts(settings, services), clock=clock),
            fronts=fronts,
            boxes=services.boxes.control.list_boxes,
            pauses=services.reconcile.list_pauses,
            lease=lease,
            journal=Journal(db, lease),
            remedy=Remedy(_remedy_parts(services), lease),
            is_watching=services.line_keeper is not None or fronts.has_parts,
        ),
        clock=clock,
        rails=rails,
    )
    services.reconcile.on_released = healer.note_released
    return healer


def _line_parts(settings: Settings, services: HealerServices) -> LineWatchParts:
    data_dir = settings.data_dir.resolve()

    def is_busy(objects: Iterable[str]) -> bool:
        return services.db.read(
            lambda reader: any(operations.find_unfinished(reader, each) is not None for each in objects)
        )

    return LineWatchParts(
        seen=services.lines_seen,
        list_served=services.lines.list_served,
        list_lines=services.lines.list_lines,
        last_change=services.instances.last_change,
        is_busy=is_busy,
        directory_of=lambda line_id: line_directory(data_dir, line_id),
    )


def _remedy_parts(services: HealerServices) -> RemedyParts:
    keeper = services.line_keeper

    async def restart(line_id: LineId) -> None:
        if keeper is not None:
            await keeper.restart(line_id)

    async def replace(line_id: LineId) -> None:
        if keeper is not None:
            await keeper.replace(line_id)

    return RemedyParts(
        lines=services.lines, restart_line=restart, replace_line=replace, boxes=services.boxes.service
    )

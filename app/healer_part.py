"""Builds the healer out of what looks after lines, load balancers and boxes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app.core.db import Database
from app.core.ids import LineId
from app.front_part import front_settings
from app.operations.front.keeper import FrontKeeper
from app.operations.line_keeper import LineKeeper
from app.operations.reconcile.box_watch import box_subject
from app.operations.reconcile.front_watch import FrontWatch
from app.operations.reconcile.healer import Healer, HealerParts
from app.operations.reconcile.journal import Journal
from app.operations.reconcile.lease import HealerLease
from app.operations.reconcile.line_watch import LineWatch, LineWatchParts, line_subject
from app.operations.reconcile.past import Rails
from app.operations.reconcile.remedy import Permission, Remedy, RemedyParts
from app.operations.reconcile.service import ReconcileService
from app.settings import Settings
from tenancy import BoxCare, InstanceService
from tenancy.line.service import LineService
from tenancy.line_file import line_directory
from tenancy.operation import repository as operations
from tenancy.runner.port import LineSeen

_GATEWAY_WITHIN: Final = timedelta(seconds=1.5)
"""Less than `healer.ASK_WITHIN`: boxes of a gateway that hangs are known, and how they are is not."""


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
            boxes=lambda: services.boxes.control.list_boxes(within=_GATEWAY_WITHIN),
            busy=lambda: db.read(operations.list_busy_objects),
            pauses=services.reconcile.list_pauses,
            alarms=lambda: frozenset(each.part for each in services.reconcile.list_alarms()),
            lease=lease,
            journal=Journal(db, lease),
            remedy=Remedy(_remedy_parts(services), lease),
            is_watching=services.line_keeper is not None or fronts.has_parts,
        ),
        clock=clock,
        rails=rails,
    )
    services.reconcile.known_scopes = lambda: _known_scopes(services, fronts)
    return healer


def _known_scopes(services: HealerServices, fronts: FrontWatch) -> frozenset[str]:
    """Everything that can be paused, seen at this moment or not."""
    subjects = [
        line_subject(line.line_id, instance.line_set)
        for instance in services.lines.list_served()
        for line in instance.lines
    ]
    subjects += [box_subject(each) for each in services.boxes.service.list_boxes()]
    return frozenset(scope for each in (*subjects, *fronts.subjects) for scope in each.scopes)


def _line_parts(settings: Settings, services: HealerServices) -> LineWatchParts:
    data_dir = settings.data_dir.resolve()
    return LineWatchParts(
        seen=services.lines_seen,
        list_served=services.lines.list_served,
        list_lines=services.lines.list_lines,
        last_change=services.instances.last_change,
        directory_of=lambda line_id: line_directory(data_dir, line_id),
    )


def _remedy_parts(services: HealerServices) -> RemedyParts:
    keeper = services.line_keeper

    async def restart(line_id: LineId, permission: Permission) -> None:
        if keeper is not None:
            await permission()
            await keeper.restart(line_id)

    async def replace(line_id: LineId, permission: Permission) -> None:
        if keeper is not None:
            await keeper.replace(line_id, permission)

    return RemedyParts(
        lines=services.lines, restart_line=restart, replace_line=replace, boxes=services.boxes.service
    )

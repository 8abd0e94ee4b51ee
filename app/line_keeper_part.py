"""Builds what looks after lines in processes of their own, out of settings and services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.core.clock import Clock
from app.core.ids import LineId
from app.operations.line_keeper import LineKeeper, LineKeeperParts
from app.settings import Settings
from tenancy import InstanceDatabases, InstanceService
from tenancy.line.service import LineService
from tenancy.line_file import LineFile
from tenancy.runner.port import Runner


@dataclass(frozen=True, slots=True, kw_only=True)
class LineKeeperServices:
    """Where lines' wishes are read.

    Attributes:
        make_runner: makes what runs their processes.
        line_file: what a line is, its keys too.
    """

    make_runner: Callable[[], Runner]
    instances: InstanceService
    lines: LineService
    databases: InstanceDatabases
    line_file: Callable[[LineId], LineFile]


def make_line_keeper(settings: Settings, services: LineKeeperServices, *, clock: Clock) -> LineKeeper | None:
    """What looks after them; None: lines work in this process."""
    if settings.lines != "processes":
        return None
    parts = LineKeeperParts(
        runner=services.make_runner(),
        list_served=services.lines.list_served,
        last_change=services.instances.last_change,
        line_file=services.line_file,
        home_of=services.databases.line_home,
        connections=settings.server_connections,
    )
    return LineKeeper(settings.data_dir.resolve(), parts, clock=clock)

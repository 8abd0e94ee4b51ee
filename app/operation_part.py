"""Builds long changes: which kinds there are, who carries out their steps, and who looks after them.

provisioning ┐
staff        │
boxes        ├─► kinds ─► OperationRunner, OperationService, OperationSweeper
lines        │
lifecycle    │   export, end, erasure
migrations   ┘
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.core.db import Database
from app.operations.migration.service import MigrationService
from app.operations.remote_line import RemoteLines
from app.settings import Settings
from fsb_gateway import FsbClient
from tenancy import (
    BoxCare,
    BoxKind,
    ContractService,
    CredentialKey,
    InstanceDatabases,
    InstanceProvisioner,
    OperationRunner,
    OperationService,
    OperationSweeper,
)
from tenancy.lifecycle.certificate import Signer
from tenancy.lifecycle.ending import InstanceEnder, InstanceLines
from tenancy.lifecycle.erasing import EraserParts, InstanceEraser
from tenancy.lifecycle.export import InstanceExporter
from tenancy.lifecycle.file_store import FileStore
from tenancy.line.operation import LineOperations, LineWatch
from tenancy.operation.kind import OperationKind
from tenancy.operation.plan import PROVISION_INSTANCE
from tenancy.staff.operation import StaffOperations

_OWNER: Final = "embedded"
"""Name of the embedded operations runner. The lock on the data directory keeps it the only one of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationServices:
    """What steps are carried out with.

    Attributes:
        db: the platform database.
        fsb: the gateway's surface for control.
        key: checks the first secret of an instance.
        signer: signs certificates of erasure.
        own_lines: the lines of this process, as the end of an instance sees them.
        lines_seen: how lines are; None while they work in this process.
    """

    db: Database
    databases: InstanceDatabases
    contracts: ContractService
    fsb: FsbClient
    key: CredentialKey
    signer: Signer
    boxes: BoxCare
    files: FileStore
    exporter: InstanceExporter
    own_lines: InstanceLines
    lines_seen: LineWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """Long changes, and those who begin them."""

    staff: StaffOperations
    eraser: InstanceEraser
    migrations: MigrationService
    runner: OperationRunner
    service: OperationService
    sweeper: OperationSweeper


def make_operations(settings: Settings, services: OperationServices) -> Operations:
    """All of this platform's; nothing runs yet."""
    db, lines = services.db, _serving_lines(settings, services)
    staff = StaffOperations(db, services.databases, boxes=services.fsb)
    eraser = _make_eraser(services, lines)
    migrations = MigrationService(db, settings.platform_url, databases=services.databases, clock=db.clock)
    ender = InstanceEnder(db, contracts=services.contracts, exporter=services.exporter, lines=lines)
    kinds: list[OperationKind] = [
        _make_provisioner(settings, services).operation_kind(),
        *staff.kinds(),
        *services.boxes.kinds(),
        *LineOperations(db, services.lines_seen).kinds(),
        services.exporter.operation_kind(),
        ender.operation_kind(),
        eraser.operation_kind(),
        migrations.operation_kind(),
    ]
    stranded = dict.fromkeys(("provisioning", "failed"), PROVISION_INSTANCE)
    return Operations(
        staff=staff,
        eraser=eraser,
        migrations=migrations,
        runner=OperationRunner(db, kinds, owner=_OWNER),
        service=OperationService(db, kinds),
        sweeper=OperationSweeper(db, kinds, stranded=stranded),
    )


def _serving_lines(settings: Settings, services: OperationServices) -> InstanceLines:
    """The lines that serve instances: those of this process, or those in processes of their own as well."""
    own = services.own_lines
    if settings.lines != "processes":
        return own
    return RemoteLines(settings.data_dir.resolve(), databases=services.databases, own=own)


def _make_eraser(services: OperationServices, lines: InstanceLines) -> InstanceEraser:
    parts = EraserParts(
        databases=services.databases,
        files=services.files,
        exporter=services.exporter,
        boxes=services.fsb,
        lines=lines,
        signer=services.signer,
    )
    return InstanceEraser(services.db, parts)


def _make_provisioner(settings: Settings, services: OperationServices) -> InstanceProvisioner:
    return InstanceProvisioner(
        services.db,
        services.databases,
        boxes=services.fsb,
        contracts=services.contracts,
        key=services.key,
        kind=BoxKind(operation_time=settings.operation_time),
    )

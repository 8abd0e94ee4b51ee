"""Migrating all instances from the admin API: as an operation, and what is known of every instance's schema."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from anyio import from_thread, to_thread

from app.core.clock import Clock
from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.errors import DatabaseUnavailable, InputInvalid
from app.core.ids import OperationId
from app.core.json import JsonObject
from app.core.migrate import head
from app.core.migrate_error import MigrationIncomplete
from app.operations.migration import repository
from app.operations.migration.record import MigrationReport
from app.operations.migration.repository import LastMigration
from app.operations.migration.run import MigratedDatabases, MigrationRun, Progress, RunOrder
from tenancy.operation import repository as operations
from tenancy.operation.kind import OperationKind, StepContext
from tenancy.operation.plan import Operation, OperationPlan, StepPlan
from tenancy.operation.start import start_operation
from tenancy.transaction import carry_out

FLEET: Final = "instances"
"""The object that such an operation changes: one at a time."""
MIGRATE_INSTANCES: Final = OperationPlan(
    kind="migrate_instances",
    steps=(StepPlan(name="migrate", timeout=timedelta(hours=12)),),
    # Revisions go forward only: there is nothing to undo, and a retry goes on where the last attempt ended.
    deadline=timedelta(days=1),
)
JOBS_BESIDE_LINES: Final = 2
"""At a time in a process that serves as well: half of what a process of its own takes. Our own decision."""
_NAMED_AT_MOST: Final = 20
_TENTHS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSchema:
    """What is known of the schemas of all instances.

    Attributes:
        target: the newest revision.
        done: instances that a run has seen at it, or brought to it.
        failed: those that the last run could not bring to it.
        not_checked: instances that no run of this release has looked at, e.g. because they were made by it.
    """

    target: str
    instances: int
    done: int
    failed: Sequence[LastMigration]

    @property
    def not_checked(self) -> int:
        """Instances about which the last runs say nothing."""
        return self.instances - self.done - len(self.failed)


_log = logging.getLogger(__name__)


class MigrationService:
    """What staff do about the schemas of all instances. Thread-safe, blocking.

    Args:
        platform_db: the platform database.
        platform_url: the same, with its password.
        databases: where the instances' databases are.
        clock: measures, and decides when leases end.
    """

    def __init__(
        self, platform_db: Database, platform_url: str, *, databases: MigratedDatabases, clock: Clock
    ) -> None:
        self._db = platform_db
        self._url = platform_url
        self._databases = databases
        self._clock = clock

    def start(
        self, *, names: Collection[str] | None = None, command: Command | None = None
    ) -> Done[Operation]:
        """Have all instances, or those of these names or ids, brought to the newest schema.

        Raises:
            InputInvalid: one of the names is no instance with a database.
            OperationRunning: it is being done already.
        """

        def body(tx: Tx) -> JsonObject:
            _check_names(tx, names)
            wanted = None if names is None else sorted(names)
            parameters: JsonObject = {"instances": wanted}
            return {
                "operation_id": start_operation(tx, MIGRATE_INSTANCES, object_id=FLEET, parameters=parameters)
            }

        answer = carry_out(self._db, command, body)
        started = OperationId(str(answer.value["operation_id"]))
        operation = self._db.read(lambda reader: operations.get_operation(reader, started))
        return Done(value=operation, replayed=answer.replayed, created=not answer.replayed)

    def get_report(self) -> FleetSchema:
        """What is known of the schemas of all instances."""
        target = head("instance")

        def look(reader: Reader) -> FleetSchema:
            last = [each for each in repository.list_all_last(reader) if each.target == target]
            return FleetSchema(
                target=target,
                instances=len(repository.list_candidates(reader)),
                done=sum(each.state == "done" for each in last),
                failed=[each for each in last if each.state == "failed"],
            )

        return self._db.read(look)

    def operation_kind(self) -> OperationKind:
        """What the operations runner needs."""
        return OperationKind(plan=MIGRATE_INSTANCES, actions={"migrate": self._migrate})

    async def _migrate(self, context: StepContext) -> None:
        wanted = context.parameters.get("instances")
        names = frozenset(map(str, wanted)) if isinstance(wanted, list) else None
        order = RunOrder(names=names, jobs=JOBS_BESIDE_LINES, origin=context.origin)
        run = MigrationRun(
            self._url,
            platform_db=self._db,
            databases=self._databases,
            clock=self._clock,
            on_progress=_Noted(context).tell,
        )
        await context.check_owner()
        try:
            report = await to_thread.run_sync(run.run, order, abandon_on_cancel=True)
        except BaseException:
            # Nobody waits for the thread any more; it ends between two revisions.
            run.stop()
            raise
        await context.note(_summary(report))
        if not report.is_complete:
            raise MigrationIncomplete(
                f"Not at the newest schema: {_names(report)}.", failed=len(report.of("failed"))
            )


class _Noted:
    """Writes the progress of a run into the log of its operation, from the run's thread."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._tenth = 0
        self._named = 0

    def tell(self, progress: Progress) -> None:
        """Note each failure, up to some, and each tenth."""
        outcome = progress.outcome
        if outcome.state == "failed" and self._named < _NAMED_AT_MOST:
            self._named += 1
            self._note(f"{outcome.candidate.name}: {outcome.code}: {outcome.message}")
        tenth = progress.done * _TENTHS // progress.candidates
        if tenth > self._tenth:
            self._tenth = tenth
            self._note(f"{progress.done} of {progress.candidates} instances")

    def _note(self, line: str) -> None:
        """Lose a line rather than the run, when the platform's database does not answer."""
        try:
            from_thread.run(self._context.note, line)
        except DatabaseUnavailable as error:
            _log.warning("progress_not_noted", extra={"code": error.code})


def _check_names(reader: Reader, names: Collection[str] | None) -> None:
    found = repository.list_candidates(reader) if names is not None else []
    known = {each.name for each in found} | {each.instance_id for each in found}
    unknown = sorted(set(names or ()) - known)
    if unknown:
        raise InputInvalid(f"No instance with a database: {', '.join(unknown)}.", field="instances")


def _summary(report: MigrationReport) -> str:
    return (
        f"{len(report.of('migrated'))} migrated, {len(report.of('current'))} were current,"
        f" {len(report.of('failed'))} failed; {report.rate:.1f} a second"
    )


def _names(report: MigrationReport) -> str:
    names = [each.candidate.name for each in report.of("failed")]
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more if names else "the run was stopped"

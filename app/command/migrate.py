"""`wops migrate`: the platform's database and those of all instances to the newest schema, while they serve or not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import MofNCompleteColumn
from rich.progress import Progress as Bar

from app.cluster.place import settings_at
from app.command.database import open_databases
from app.command.output import err, line, out, show
from app.core.clock import SystemClock
from app.core.errors import InputInvalid
from app.core.lock import PRIVATE_UMASK, make_private
from app.core.migrate import current, head
from app.operations.migration.record import MigrationReport
from app.operations.migration.run import MigrationRun, Progress, RunOrder
from app.settings import Settings

COMPLETE: Final = 0
INCOMPLETE: Final = 2
"""The run took place, and instances are left that are not at the newest schema; 1 is a refusal, as everywhere."""
_TENTHS: Final = 10


def run_migration(settings: Settings, order: RunOrder, *, as_json: bool = False) -> int:
    """Migrate, with progress on standard error and a report on standard output; returns the exit status.

    Safe to repeat and to kill, and while a platform serves the same databases.

    Raises:
        InputInvalid: there is no platform database to migrate, or no such instance.
        MigrationRunning: another run is under way.
        MigrationError, DatabaseUnavailable: of the platform's own database.
        ClusterDamaged: it is a cluster's, and cannot be told where it is.
        OSError: the data directory cannot be opened.
    """
    settings = settings_at(settings)
    _require_platform(settings)
    os.umask(PRIVATE_UMASK)
    make_private(settings.data_dir.resolve())
    with open_databases(settings) as (platform_db, databases):
        with _Shown(err) as shown:
            run = MigrationRun(
                settings.platform_url,
                platform_db=platform_db,
                databases=databases,
                clock=SystemClock(),
                on_progress=shown.tell,
            )
            with _heard(run.stop):
                report = run.run(order)
        _print(report, as_json=as_json)
    return COMPLETE if report.is_complete else INCOMPLETE


def _require_platform(settings: Settings) -> None:
    if settings.platform_database is None and not settings.platform_file.is_file():
        raise InputInvalid(
            f"There is no platform database in {settings.data_dir.resolve()}; `wops up` makes one.",
            field="data_dir",
        )
    if current(settings.platform_url) is None:
        raise InputInvalid("There is no platform in that database; `wops up` makes one.", field="data_dir")


@contextmanager
def _heard(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run between two revisions, in order and with a report; a second one at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hear(number: int, _frame: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop()

    for number in before:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Shown:
    """How far a run is: a bar on a terminal, a line for every tenth elsewhere; failures as they come on both."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Bar(*Bar.get_default_columns(), MofNCompleteColumn(), console=console, transient=True)
        self._task = self._bar.add_task("instances", total=None)
        self._tenth = 0

    def __enter__(self) -> _Shown:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def tell(self, progress: Progress) -> None:
        """Show one instance more."""
        outcome = progress.outcome
        if outcome.state == "failed":
            self._console.print(line((f"{outcome.candidate.name}: {outcome.code}: {outcome.message}", "red")))
        if self._console.is_terminal:
            self._bar.update(self._task, total=progress.candidates, completed=progress.done)
            return
        tenth = progress.done * _TENTHS // progress.candidates
        if tenth > self._tenth:
            self._tenth = tenth
            self._console.print(f"{progress.done} of {progress.candidates} instances")


def _print(report: MigrationReport, *, as_json: bool) -> None:
    if as_json:
        show(report.to_json(), as_json=True)
        return
    changed = len(report.of("migrated")) + len(report.of("behind")) + int(report.platform_changed)
    would = "to change" if report.is_dry else "changed"
    parts = [f"{len(report.outcomes) + 1} databases, {changed} {would}"]
    parts += [f"{len(report.of('failed'))} failed"] if report.of("failed") else []
    parts += [f"{report.left_out} left out"] if report.left_out else []
    out.print(line(f"{', '.join(parts)}; platform {_platform_of(report)}, instances at {report.target}"))
    if report.newer:
        names = ", ".join(f"{each.candidate.name} at {each.after}" for each in report.newer)
        out.print(line(f"newer than this wops knows: {names}. Left as they are."))
    if report.of("migrated"):
        out.print(f"{report.seconds:.1f} s, {report.rate:.1f} instances a second")
    _print_failed([each.candidate.name for each in report.of("failed")])
    if report.is_stopped:
        out.print("Stopped. The next run goes on where this one ended.")


def _platform_of(report: MigrationReport) -> str:
    newest = head("platform")
    found = report.platform_revision
    if found is not None and found > newest:
        return f"at {found}, newer than this wops knows ({newest})"
    return f"at {newest}"


def _print_failed(names: Sequence[str]) -> None:
    if names:
        out.print(line(f"failed: {', '.join(names)}. The next run tries them again."))

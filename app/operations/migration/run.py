"""One run over all instances: the platform's own database, then the instances, a few at a time.

    lease ─► platform tree ─► which instances? ─► ┌ instance: its tree ─► chain of old events ─► noted ┐ × jobs
                                                  └ … a failing one is noted by name, the others go on ┘

Threads, for Alembic works in several of them here (`app.core.migrate_script`), and what takes time is the database.
A run that is killed is simply run again: `alembic_version` in each database says what is left to do. Only the run's
lease is waited for, `LEASE_TTL` at most.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from ssl import SSLContext
from typing import Final, Protocol

from app.core.clock import Clock
from app.core.db import Database, Tx
from app.core.errors import DomainError, InputInvalid
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from app.core.migrate import Upgraded, current, head, migrate, sole_run
from app.core.migrate_error import MigrationInterrupted, NoSchema
from app.core.origin import Origin, system_origin
from app.operations.guard import carry_on
from app.operations.migration import repository
from app.operations.migration.record import Candidate, MigrationReport, Outcome
from tenancy.errors import InstanceDatabaseMissing

JOBS: Final = 4
"""Instances at a time. More gain little on two processors, and take more from those who work meanwhile.
**Source:** measured, `migrations/README.md`."""

_log = logging.getLogger(__name__)


class MigratedDatabases(Protocol):
    """What a run needs of the instances' databases."""

    def migration_url(self, instance_id: InstanceId) -> str:
        """The database's URL with its password."""
        ...

    def migration_tls(self, instance_id: InstanceId) -> SSLContext | None:
        """How the database's server proves who it is."""
        ...

    def open(self, instance_id: InstanceId) -> Database:
        """The instance's database."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is; told after each instance, by the thread that runs it."""

    done: int
    candidates: int
    outcome: Outcome


def nobody_listens(_progress: Progress) -> None:
    """For runs without an audience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """What a run is to do.

    Attributes:
        names: of the instances, or their ids; None: all.
        jobs: instances at a time.
        is_dry: look only, change nothing.
        origin: who asked, for the audit chain.
    """

    names: Collection[str] | None = None
    jobs: int = JOBS
    is_dry: bool = False
    origin: Origin = field(default_factory=lambda: system_origin("migrateInstances.migrate"))


class MigrationRun:
    """Brings the platform and its instances to the newest schema. One run; its thread blocks.

    Args:
        platform_url: of the platform database, with its password.
        platform_db: the same, for what is noted there.
        databases: where the instances' databases are.
        clock: measures, and decides when leases end.
        on_progress: told of every instance that is done.
    """

    def __init__(
        self,
        platform_url: str,
        *,
        platform_db: Database,
        databases: MigratedDatabases,
        clock: Clock,
        on_progress: Callable[[Progress], None] = nobody_listens,
    ) -> None:
        self._platform_url = platform_url
        self._platform = platform_db
        self._databases = databases
        self._clock = clock
        self._on_progress = on_progress
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ask the run to end between two revisions; it answers with what it has done. Safe from any thread."""
        self._stopped.set()

    def run(self, order: RunOrder) -> MigrationReport:
        """Do it.

        Raises:
            InputInvalid: one of the names is no instance with a database.
            MigrationRunning: another run is under way.
            MigrationError, DatabaseUnavailable: of the platform's own database; nothing else was touched then.
        """
        if order.is_dry:
            now = current(self._platform_url)
            is_behind = now is None or now < head("platform")
            look = self._assume_behind if is_behind else self._look
            after = head("platform") if now is None or is_behind else now
            return self._over_instances(order, look, platform=Upgraded(now, after))
        with sole_run(self._platform_url, clock=self._clock) as lost:
            platform = self._migrate_platform(order.origin)

            def work(candidate: Candidate) -> Outcome:
                if lost.is_set():
                    self.stop()
                self._stop_here()
                return self._migrate_instance(candidate, order.origin)

            return self._over_instances(order, work, platform=platform)

    def _stop_here(self) -> None:
        if self._stopped.is_set():
            raise MigrationInterrupted("The migration was stopped; run it again to go on.")

    def _migrate_platform(self, origin: Origin) -> Upgraded:
        done = migrate(self._platform_url, "platform", clock=self._clock, between=self._stop_here)
        if done.changed:
            self._platform.chain_up()
            told: JsonObject = {"from": done.before, "to": done.after}
            self._write(lambda tx: tx.emit("platform.migrated", subject="platform", data=told), origin)
        return done

    def _over_instances(
        self, order: RunOrder, work: Callable[[Candidate], Outcome], *, platform: Upgraded
    ) -> MigrationReport:
        candidates = self._candidates(order.names)
        started = self._clock.monotonic()
        outcomes: list[Outcome] = []
        left = 0
        for outcome in self._side_by_side(candidates, work, jobs=order.jobs):
            if outcome is None:
                left += 1
                continue
            outcomes.append(outcome)
            self._on_progress(Progress(done=len(outcomes), candidates=len(candidates), outcome=outcome))
        return MigrationReport(
            platform_changed=platform.changed,
            platform_revision=platform.before if order.is_dry else platform.after,
            target=head("instance"),
            candidates=len(candidates),
            left_out=left,
            outcomes=outcomes,
            is_stopped=self._stopped.is_set() and left > 0,
            seconds=self._clock.monotonic() - started,
            is_dry=order.is_dry,
        )

    def _candidates(self, names: Collection[str] | None) -> list[Candidate]:
        found = self._platform.read(repository.list_candidates)
        if names is None:
            return found
        unknown = sorted(set(names) - {each.name for each in found} - {each.instance_id for each in found})
        if unknown:
            raise InputInvalid(f"No instance with a database: {', '.join(unknown)}.", field="instance")
        return [each for each in found if each.name in names or each.instance_id in names]

    def _side_by_side(
        self, candidates: Collection[Candidate], work: Callable[[Candidate], Outcome], *, jobs: int
    ) -> Iterator[Outcome | None]:
        """Outcomes as they come; None for one that was left out: the run was stopped, or the instance has gone."""
        with ThreadPoolExecutor(jobs, thread_name_prefix="migrate") as threads:
            pending = {threads.submit(self._one, work, each) for each in candidates}
            try:
                while pending:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for each in done:
                        yield each.result()
            finally:
                # Whoever listens may have been interrupted: then what is left comes to a stop as well.
                if pending:
                    self.stop()

    def _one(self, work: Callable[[Candidate], Outcome], candidate: Candidate) -> Outcome | None:
        started = self._clock.monotonic()
        try:
            outcome = work(candidate)
        except MigrationInterrupted:
            return None
        except DomainError as error:
            if self._is_gone(candidate):
                return None
            outcome = Outcome(candidate=candidate, state="failed", code=error.code, message=error.message)
        except Exception:
            _log.exception("migration_failed", extra={"instance": candidate.name})
            message = "Something unexpected went wrong; the log has it."
            outcome = Outcome(candidate=candidate, state="failed", code="internal_error", message=message)
        return replace(outcome, seconds=self._clock.monotonic() - started)

    def _is_gone(self, candidate: Candidate) -> bool:
        """Whether it was erased meanwhile. A platform that does not answer takes no report from the others."""
        try:
            return not self._platform.read(
                lambda reader: repository.is_candidate(reader, candidate.instance_id)
            )
        except Exception:
            _log.exception("platform_not_asked", extra={"instance": candidate.name})
            return False

    @staticmethod
    def _assume_behind(candidate: Candidate) -> Outcome:
        """Where an instance's database lies can be read in a migrated platform database only."""
        return Outcome(candidate=candidate, state="behind")

    def _look(self, candidate: Candidate) -> Outcome:
        self._stop_here()
        instance_id = candidate.instance_id
        before = current(
            self._databases.migration_url(instance_id), tls=self._databases.migration_tls(instance_id)
        )
        if before is None:
            raise _lost()
        is_behind = before < head("instance")
        return Outcome(
            candidate=candidate, state="behind" if is_behind else "current", before=before, after=before
        )

    def _migrate_instance(self, candidate: Candidate, origin: Origin) -> Outcome:
        try:
            done = self._migrate_database(candidate.instance_id)
        except DomainError as error:
            if not isinstance(error, MigrationInterrupted):
                failed = Outcome(candidate=candidate, state="failed", code=error.code, message=error.message)
                self._note(failed, origin)
            raise
        outcome = Outcome(
            candidate=candidate,
            state="migrated" if done.changed else "current",
            before=done.before,
            after=done.after,
        )
        with carry_on("chain_not_finished", instance=candidate.name):
            # Whoever writes the next event would have to do it, and wait for it. A run killed here did not finish it.
            self._databases.open(candidate.instance_id).chain_up()
        self._note(outcome, origin)
        return outcome

    def _migrate_database(self, instance_id: InstanceId) -> Upgraded:
        try:
            return migrate(
                self._databases.migration_url(instance_id),
                "instance",
                tls=self._databases.migration_tls(instance_id),
                clock=self._clock,
                between=self._stop_here,
                may_create=False,
            )
        except NoSchema:
            raise _lost() from None

    def _note(self, outcome: Outcome, origin: Origin) -> None:
        """Write down what came of it. The truth stands in the instance's database, so the run does without."""
        instance_id, target = outcome.candidate.instance_id, head("instance")

        def body(tx: Tx) -> None:
            repository.note_outcome(tx, outcome, target=target)
            if outcome.state == "migrated":
                told: JsonObject = {"from": outcome.before, "to": outcome.after}
                tx.emit("instance.migrated", subject=instance_id, data=told)
            elif outcome.state == "failed":
                tx.emit("instance.migration_failed", subject=instance_id, data={"error_code": outcome.code})

        with carry_on("migration_not_noted", instance=outcome.candidate.name):
            if outcome.state == "current" and self._is_noted(instance_id, target):
                return
            self._write(body, origin)

    def _is_noted(self, instance_id: InstanceId, target: str) -> bool:
        return self._platform.read(lambda reader: repository.is_noted(reader, instance_id, target=target))

    def _write(self, body: Callable[[Tx], None], origin: Origin) -> None:
        def answer(tx: Tx) -> JsonObject:
            body(tx)
            return {}

        self._platform.run_tx(new_id("op"), answer, origin=origin)


def _lost() -> InstanceDatabaseMissing:
    """An instance that is kept had a schema: an empty one in its place would hide what is gone."""
    return InstanceDatabaseMissing("The instance's database is empty: what it held is lost; restore it.")

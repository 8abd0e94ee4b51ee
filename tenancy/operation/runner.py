"""Carries operations out, step by step, whatever dies meanwhile.

    due, nobody's ──claim──► step ──► done: the next step is due
                 committed:    └────► failed: again later, or given up
                 owner, lease, attempt               both by compare-and-set on the claimed version

A step is carried out at least once and must be repeatable. Whoever lost his lease loses the compare-and-set:
his result is dropped, and the new owner's repetition of the step finds the work done.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from app.core.db import Database, Tx
from app.core.errors import DomainError
from app.core.ids import new_id
from app.core.json import JsonObject
from tenancy.errors import OperationDeadlinePassed, OperationStepLost
from tenancy.operation import plan, repository
from tenancy.operation.plan import Operation, OperationPlan

_log = logging.getLogger(__name__)

T = TypeVar("T")
StepAction = Callable[[Operation], Awaitable[None]]

_AT_ONCE: Final = 20
"""Operations worked on in one call. Our own decision."""
_LONGEST_MESSAGE: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationKind:
    """How operations of a kind are carried out.

    Attributes:
        actions: by step name; each repeatable.
        on_failed: changes the object in the transaction that gives the operation up.
    """

    plan: OperationPlan
    actions: Mapping[str, StepAction]
    on_failed: Callable[[Tx, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the runner keeps trying.

    Attributes:
        attempts: of one step, before the operation is given up.
        first_pause: after the first failure; doubles with each further one.
        longest_pause: and no longer than this.
        lease: how long one attempt may take; afterwards it is cancelled, and others may take the operation.
    """

    attempts: int = 8
    first_pause: timedelta = timedelta(milliseconds=500)
    longest_pause: timedelta = timedelta(minutes=1)
    lease: timedelta = timedelta(minutes=1)


class OperationRunner:
    """Works on what is due. Several may run at once, in one process or many.

    Args:
        db: the platform database.
        kinds: what it can carry out; other operations are left to others.
        owner: names this runner; unique among those alive. A process that always uses the same name may
            `take_over` after a restart.
        patience: see `Patience`.
    """

    def __init__(
        self, db: Database, kinds: Sequence[OperationKind], *, owner: str, patience: Patience | None = None
    ) -> None:
        self._db = db
        self._kinds = {kind.plan.kind: kind for kind in kinds}
        self._owner = owner
        self._patience = patience or Patience()

    async def take_over(self) -> int:
        """Release what a dead process of the same name was working on; call it once at start, before `run_due`.

        Returns:
            how many operations were released. The attempt under way counts as one.
        """
        return await self._in_thread(self._release_own)

    async def run_due(self) -> int:
        """Carry out the next step of every operation that is due, side by side.

        Returns:
            how many steps were attempted; 0 when there is nothing to do now.
        """
        due = await self._in_thread(
            lambda: self._db.read(lambda reader: repository.list_due(reader, limit=_AT_ONCE))
        )
        known = [operation for operation in due if operation.kind in self._kinds]
        async with anyio.create_task_group() as tasks:
            for operation in known:
                tasks.start_soon(self._work_on, operation)
        return len(known)

    async def _work_on(self, operation: Operation) -> None:
        claimed = await self._in_thread(lambda: self._claim(operation))
        if claimed is None:
            return
        try:
            with anyio.fail_after(self._patience.lease.total_seconds()):
                await self._kinds[claimed.kind].actions[claimed.step.name](claimed)
        except TimeoutError:
            failure: DomainError = OperationStepLost(
                "The attempt took longer than its lease.", step=claimed.step.name
            )
        except DomainError as error:
            failure = error
        except Exception as error:
            # The text of an unforeseen error may hold anything, so only the log gets it.
            _log.exception("operation %s, step %s", claimed.operation_id, claimed.step.name)
            failure = DomainError(f"Unforeseen: {type(error).__name__}; the log has more.")
        else:
            await self._in_thread(lambda: self._advance(claimed))
            return
        await self._in_thread(lambda: self._fail_attempt(claimed, failure))

    def _claim(self, operation: Operation) -> Operation | None:
        """Take the operation for one attempt; None if it is somebody else's, or has just been given up."""
        now = self._db.clock.now()
        hopeless = self._find_hopeless(operation, now)
        if hopeless is not None:
            self._give_up(operation, hopeless, now)
            return None
        lease_until = now + self._patience.lease
        changed = plan.claimed(operation, owner=self._owner, lease_until=lease_until)
        return self._store(changed)

    def _find_hopeless(self, operation: Operation, now: datetime) -> DomainError | None:
        if now >= operation.deadline_at:
            return OperationDeadlinePassed(
                "The operation was not finished in time.", step=operation.step.name
            )
        if operation.attempts >= self._patience.attempts:
            return OperationStepLost("The last attempt ended without a word.", step=operation.step.name)
        return None

    def _advance(self, claimed: Operation) -> None:
        done = plan.advanced(claimed, now=self._db.clock.now())
        stored = self._store(done)
        if stored is None:
            _log.warning("operation %s was lost to another runner", claimed.operation_id)

    def _fail_attempt(self, claimed: Operation, error: DomainError) -> None:
        now = self._db.clock.now()
        if claimed.attempts >= self._patience.attempts:
            self._give_up(claimed, error, now)
            return
        pause = plan.pause_before(
            claimed.attempts, first=self._patience.first_pause, longest=self._patience.longest_pause
        )
        message = error.message[:_LONGEST_MESSAGE]
        self._store(plan.postponed(claimed, due_at=now + pause, code=error.code, message=message))

    def _give_up(self, operation: Operation, error: DomainError, now: datetime) -> None:
        message = error.message[:_LONGEST_MESSAGE]
        self._store(plan.failed(operation, now=now, code=error.code, message=message))

    def _store(self, changed: Operation) -> Operation | None:
        """Store a change with what follows from it; None if somebody else has changed the operation meanwhile."""

        def body(tx: Tx) -> JsonObject:
            if not repository.put_operation(tx, changed):
                return {"stored": False}
            if changed.state == "failed":
                self._kinds[changed.kind].on_failed(tx, changed.object_id)
            if changed.finished:
                data: JsonObject = {
                    "kind": changed.kind,
                    "object_id": changed.object_id,
                    "error": changed.error_code,
                }
                tx.emit(f"operation.{changed.state}", subject=changed.operation_id, data=data)
            return {"stored": True}

        # A fresh id: after an unknown commit the same body runs under it again and answers what it answered then.
        if not self._db.run_tx(new_id("op"), body).value["stored"]:
            return None
        return plan.stored(changed)

    def _release_own(self) -> int:
        owned = self._db.read(lambda reader: repository.list_owned(reader, self._owner))
        now = self._db.clock.now()
        return sum(self._store(plan.released(operation, now=now)) is not None for operation in owned)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run database work in a worker thread; once begun it is carried to its end, even if cancelled."""
        return await anyio.to_thread.run_sync(work)

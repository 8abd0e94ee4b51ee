"""Carries operations out, step by step, and back, whatever dies meanwhile.

    due, nobody's ──claim──► step or undo ──► done: the next one is due
                 committed:    │    └───────► failed: again later, or given up
                 owner, lease, └─ heartbeat: the lease grows while the step runs; whoever has lost it is stopped
                 attempt

Every outcome is a compare-and-set on the version that the claim gave, the fencing token: whoever lost his lease loses
that too, his result is dropped, and the next owner's repetition of the step finds the work done. A step is carried
out at least once and must be repeatable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import anyio
from anyio import to_thread

from app.core.db import Database, Tx
from app.core.errors import DomainError
from app.core.ids import OperationId, new_id
from app.core.json import JsonObject
from app.core.origin import Origin
from tenancy.errors import OperationOwnerLost, OperationStepLost
from tenancy.operation import repository, transition
from tenancy.operation.change import own_origin, step_origin, store_change
from tenancy.operation.kind import NotYet, OperationKind, StepContext
from tenancy.operation.plan import Operation, first_try_time, pause_before, stored
from tenancy.operation.sweep import give_up, overdue
from tenancy.operation.transition import Change

_log = logging.getLogger(__name__)

T = TypeVar("T")

_AT_ONCE: Final = 20
"""Operations worked on at the same time. Our own decision."""
_LOOKED_AT: Final = 200
"""Due operations read at once: some of them may be of kinds that only another runner knows. Our own decision."""
_ASK_EVERY_SECONDS: Final = 0.2
"""How long a new operation waits at most. Our own decision."""
_BEATS: Final = 3
"""Heartbeats in the length of a lease: one may get lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the runner keeps trying.

    Attributes:
        attempts: of one step, before the operation is given up.
        first_pause: after the first failure; doubles with each further one.
        longest_pause: and no longer than this.
        lease: for how long a dead runner keeps others out; a living one renews it.
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
        # What a task of this process may still be doing, even if it has lost its lease: not begun again before it ends.
        self._working: set[OperationId] = set()

    async def take_over(self) -> int:
        """Release what a dead process of the same name was working on; call it once at start, before `run`.

        Returns:
            how many operations were released. The attempt under way counts as one.
        """
        return await to_thread.run_sync(self._release_own)

    async def run_due(self) -> int:
        """Carry out the next step of every operation that is due, side by side, and wait for all of them.

        Returns:
            how many steps were attempted; 0 when there is nothing to do now.
        """
        chosen = await self._choose_due()
        async with anyio.create_task_group() as tasks:
            for operation in chosen:
                tasks.start_soon(self._work_on, operation, 1)
        return len(chosen)

    async def run(self, stop: asyncio.Event) -> None:
        """Carry out what becomes due, until told to stop. No operation waits for another one's step.

        At the end, steps under way are cancelled and given back: another runner, or the next start, goes on with them.
        """
        async with anyio.create_task_group() as tasks:
            while not stop.is_set():
                try:
                    for operation in await self._choose_due():
                        tasks.start_soon(self._work_on, operation, None)
                except DomainError as error:
                    _log.warning("operations_not_read", extra={"code": error.code})
                with anyio.move_on_after(_ASK_EVERY_SECONDS):
                    await stop.wait()
            tasks.cancel_scope.cancel()

    async def _choose_due(self) -> list[Operation]:
        """What can be begun now; from here on it is this process's work."""
        due = await to_thread.run_sync(
            lambda: self._db.read(lambda reader: repository.list_due(reader, limit=_LOOKED_AT))
        )
        known = [each for each in due if each.kind in self._kinds and each.operation_id not in self._working]
        chosen = known[: _AT_ONCE - len(self._working)]
        self._working.update(each.operation_id for each in chosen)
        return chosen

    async def _work_on(self, operation: Operation, steps: int | None) -> None:
        """Carry out steps of one operation until it has to wait for something."""
        current: Operation | None = operation
        try:
            while current is not None and steps != 0:
                current = await self._attempt(current)
                steps = None if steps is None else steps - 1
        except DomainError as error:
            # The platform database is away: the lease ends by itself, and somebody does it again.
            _log.warning(
                "operation_not_stored", extra={"operation": operation.operation_id, "code": error.code}
            )
        except Exception:
            # A defect in what follows from a change: the attempt counts, and the other operations go on.
            _log.exception("operation_not_stored", extra={"operation": operation.operation_id})
        finally:
            self._working.discard(operation.operation_id)

    async def _attempt(self, operation: Operation) -> Operation | None:
        """One attempt at the next step. Returns the operation if its next step is due at once."""
        held = await to_thread.run_sync(lambda: self._claim(operation))
        if held is None:
            return None
        try:
            outcome = await self._carry_out(held)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(lambda: self._give_back(held))
            raise
        return await to_thread.run_sync(lambda: self._settle(held, outcome))

    async def _carry_out(self, held: Operation) -> NotYet | DomainError | None:
        """Run the action, renewing the lease meanwhile; an error is an outcome."""
        outcome: NotYet | DomainError | None = OperationOwnerLost("Somebody else has the operation now.")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_lease, held, tasks.cancel_scope)
            outcome = await self._call(held)
            tasks.cancel_scope.cancel()
        return outcome

    async def _call(self, held: Operation) -> NotYet | DomainError | None:
        kind, step = self._kinds[held.kind], held.step.name
        action = (kind.undo if held.state == "recovering" else kind.actions).get(step)
        if action is None:
            return OperationStepLost("This wops does not know the step.", step=step)
        limit = kind.plan.step(step).timeout
        try:
            with anyio.move_on_after(limit.total_seconds()) as scope:
                answer = await action(self._context(held))
        except DomainError as error:
            return error
        except Exception as error:
            # The text of an unforeseen error may hold anything, so only the log gets it.
            _log.exception("operation %s, step %s", held.operation_id, step)
            return DomainError(f"Unforeseen: {type(error).__name__}; the log has more.")
        if scope.cancelled_caught:
            return OperationStepLost("The attempt took longer than its time limit.", step=step)
        return answer

    def _context(self, held: Operation) -> StepContext:
        async def check() -> None:
            if not await to_thread.run_sync(lambda: self._renew(held)):
                raise OperationOwnerLost("Somebody else has the operation now.")

        async def write(message: str) -> None:
            if not await to_thread.run_sync(lambda: self._note(held, message)):
                raise OperationOwnerLost("Somebody else has the operation now.")

        return StepContext(held, origin=step_origin(held), check=check, write=write)

    async def _keep_lease(self, held: Operation, scope: anyio.CancelScope) -> None:
        """Renew the lease again and again; stop the step when it is lost, or may be."""
        clock, lease = self._db.clock, self._patience.lease.total_seconds()
        until = clock.monotonic() + lease
        while True:
            await anyio.sleep(lease / _BEATS)
            began = clock.monotonic()
            try:
                is_mine = await to_thread.run_sync(lambda: self._renew(held))
                until = began + lease
            except DomainError:
                is_mine = clock.monotonic() < until
            if not is_mine:
                _log.warning("operation_lost", extra={"operation": held.operation_id})
                scope.cancel()
                return

    def _claim(self, operation: Operation) -> Operation | None:
        """Take the operation for one attempt; None if it is somebody else's, or has just come to an end of its own."""
        kind, now = self._kinds[operation.kind], self._db.clock.now()
        ended = (
            overdue(operation, kind.plan, now=now)
            or self._worn_out(operation)
            or transition.finish(operation, now=now)
        )
        if ended is not None:
            self._store(ended.freed(), own_origin(operation, ended.event))
            return None
        change = transition.claim(
            operation,
            owner=self._owner,
            lease_until=now + self._patience.lease,
            first_try_until=now + first_try_time(operation, kind.plan),
        )
        return self._store(change, step_origin(operation))

    def _worn_out(self, operation: Operation) -> Change | None:
        if operation.attempts < self._patience.attempts:
            return None
        lost = OperationStepLost("The last attempt ended without a word.", step=operation.step.name)
        return self._give_up(operation, lost)

    def _settle(self, held: Operation, outcome: NotYet | DomainError | None) -> Operation | None:
        """Store what came of an attempt. Returns the operation if its next step is due at once."""
        if isinstance(outcome, OperationOwnerLost):
            self._let_go(held)
            return None
        change = self._outcome(held, outcome)
        is_own = change.event in ("failed", "fatal", "recovered")
        origin = own_origin(held, change.event) if is_own else step_origin(held)
        after = self._store(change.freed(), origin)
        if after is None:
            _log.warning("operation_lost", extra={"operation": held.operation_id})
            self._let_go(held)
            return None
        return after if not after.finished and after.due_at <= self._db.clock.now() else None

    def _outcome(self, held: Operation, outcome: NotYet | DomainError | None) -> Change:
        now, plan = self._db.clock.now(), self._kinds[held.kind].plan
        if isinstance(outcome, NotYet):
            return transition.wait(held, plan, until=outcome.until, reason=outcome.reason, now=now)
        if outcome is None:
            back = held.state == "recovering"
            return transition.undone(held, plan, now=now) if back else transition.advance(held, now=now)
        if held.attempts >= self._patience.attempts:
            return self._give_up(held, outcome)
        pause = pause_before(
            held.attempts, first=self._patience.first_pause, longest=self._patience.longest_pause
        )
        return transition.postpone(held, due_at=now + pause, code=outcome.code, message=outcome.message)

    def _give_up(self, operation: Operation, error: DomainError) -> Change:
        plan, now = self._kinds[operation.kind].plan, self._db.clock.now()
        return give_up(operation, plan, now=now, code=error.code, message=error.message)

    def _store(self, change: Change, origin: Origin) -> Operation | None:
        """Store a change with what follows from it; None if somebody else has changed the operation meanwhile."""
        kind = self._kinds[change.operation.kind]

        def body(tx: Tx) -> JsonObject:
            return {"stored": store_change(tx, kind, change)}

        # A fresh id: after an unknown commit the same body runs under it again and answers what it answered then.
        if not self._db.run_tx(new_id("op"), body, origin=origin).value["stored"]:
            return None
        return stored(change.operation)

    def _renew(self, held: Operation) -> bool:
        def body(tx: Tx) -> JsonObject:
            return {"held": repository.renew_lease(tx, held, until=tx.now + self._patience.lease)}

        return bool(self._db.run_tx(new_id("op"), body).value["held"])

    def _note(self, held: Operation, message: str) -> bool:
        def body(tx: Tx) -> JsonObject:
            if not repository.touch_owned(tx, held):
                return {"held": False}
            repository.add_log(tx, held.operation_id, event="note", step=held.step.name, message=message)
            return {"held": True}

        return bool(self._db.run_tx(new_id("op"), body).value["held"])

    def _give_back(self, held: Operation) -> None:
        change = transition.release(held, now=self._db.clock.now(), counted=False)
        if self._store(change, own_origin(held, "release")) is None:
            self._let_go(held)

    def _let_go(self, held: Operation) -> None:
        """Our work on it has ended: who has taken it away from us need not wait for the end of our lease."""
        now = self._db.read(lambda reader: repository.get_operation(reader, held.operation_id))
        if now.owner == self._owner:
            self._release(now)

    def _release_own(self) -> int:
        owned = self._db.read(lambda reader: repository.list_owned(reader, self._owner))
        return sum(self._release(operation) for operation in owned if operation.kind in self._kinds)

    def _release(self, operation: Operation) -> bool:
        change = transition.release(operation, now=self._db.clock.now(), counted=True)
        return self._store(change, own_origin(operation, "release")) is not None

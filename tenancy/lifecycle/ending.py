"""The end of a contract: the steps of `end_instance`.

freeze ──► settle ──► export ──► retain ──► state ended, kept until `retained_until`
   │ lines are told      everything, consistent         a reinstatement brings it back
   └ transfers that were under way come to their end first, so that the export holds them
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final, Protocol, cast

from anyio import to_thread

from app.core.db import Database, Tx
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from app.core.origin import Origin
from tenancy import repository
from tenancy.contract.service import ContractService
from tenancy.lifecycle.export import InstanceExporter
from tenancy.lifecycle.plan import END_INSTANCE
from tenancy.lifecycle.service import retention_days_of, store
from tenancy.lifecycle.state import check_retention, move
from tenancy.operation.kind import NotYet, OperationKind, StepContext
from tenancy.record import Instance

_LINES_KNOW_AFTER: Final = timedelta(seconds=2)
"""A line's copy of its profile is a second old at most; twice that for clocks that differ. Our own decision."""
_ASK_AGAIN: Final = timedelta(seconds=1)


class InstanceLines(Protocol):
    """The lines that serve an instance, as its end sees them."""

    async def settle(self, instance_id: InstanceId) -> bool:
        """Write down what lines hold in memory and drive open transfers; whether nothing is under way any more."""
        ...

    async def forget(self, instance_id: InstanceId) -> None:
        """Stop serving the instance and let go of its database."""
        ...


class InstanceEnder:
    """The steps of `end_instance`. Each may be repeated, by itself or after being killed half-way.

    Args:
        db: the platform database.
        contracts: tells the instance's database that it is frozen.
        exporter: makes the final export.
        lines: what serves the instance.
    """

    def __init__(
        self, db: Database, *, contracts: ContractService, exporter: InstanceExporter, lines: InstanceLines
    ) -> None:
        self._db = db
        self._contracts = contracts
        self._exporter = exporter
        self._lines = lines

    def operation_kind(self) -> OperationKind:
        """What the runner needs."""
        return OperationKind(
            plan=END_INSTANCE,
            actions={
                "freeze": self._freeze,
                "settle": self._settle,
                "export": self._export,
                "retain": self._retain,
            },
            undo={
                "freeze": self._unfreeze,
                "export": self._exporter.undo,
                "retain": self._reinstate,
            },
        )

    async def _freeze(self, context: StepContext) -> NotYet | None:
        def change(instance: Instance) -> Instance:
            return move(instance, "freeze", to="frozen") if instance.state == "ready" else instance

        await to_thread.run_sync(lambda: self._change(context, "instance.frozen", change))
        await context.check_owner()
        # Not left to the loop: what follows relies on lines that let nobody in.
        await to_thread.run_sync(lambda: self._contracts.push_config(InstanceId(context.object_id)))
        return None

    async def _settle(self, context: StepContext) -> NotYet | None:
        frozen_at = context.operation.steps[0].finished_at
        now = self._db.clock.now()
        if frozen_at is not None and now < frozen_at + _LINES_KNOW_AFTER:
            return NotYet(
                until=frozen_at + _LINES_KNOW_AFTER, reason="every line has to know of the freezing"
            )
        await context.check_owner()
        if not await self._lines.settle(InstanceId(context.object_id)):
            return NotYet(until=now + _ASK_AGAIN, reason="transfers are still under way")
        return None

    async def _export(self, context: StepContext) -> NotYet | None:
        await self._exporter.make(context, final=True)
        return None

    async def _retain(self, context: StepContext) -> NotYet | None:
        days = check_retention(retention_days_of(context.parameters))

        def change(instance: Instance) -> Instance:
            if instance.state == "ended":
                return instance
            return move(instance, "end", to="ended", retained_until=self._db.clock.now() + days)

        await to_thread.run_sync(lambda: self._change(context, "instance.ended", change))
        return None

    async def _reinstate(self, context: StepContext) -> NotYet | None:
        def change(instance: Instance) -> Instance:
            return move(instance, "reinstate", to="frozen") if instance.state == "ended" else instance

        await to_thread.run_sync(lambda: self._change(context, "instance.reinstated", change))
        return None

    async def _unfreeze(self, context: StepContext) -> NotYet | None:
        """Back to what it was when somebody asked for the end."""
        before = cast(str, context.parameters["state_before"])

        def change(instance: Instance) -> Instance:
            if before != "ready" or instance.state != "frozen":
                return instance
            return move(instance, "unfreeze", to="ready")

        await to_thread.run_sync(lambda: self._change(context, "instance.unfrozen", change))
        self_id = InstanceId(context.object_id)
        await to_thread.run_sync(lambda: self._contracts.push_soon(self_id))
        return None

    def _change(self, context: StepContext, event: str, change: _Change) -> None:
        change_instance(self._db, InstanceId(context.object_id), change, event=event, origin=context.origin)


class _Change(Protocol):
    def __call__(self, instance: Instance, /) -> Instance: ...


def change_instance(
    db: Database, instance_id: InstanceId, change: _Change, *, event: str, origin: Origin
) -> None:
    """Move an instance from one state to another in a transaction of its own; nothing if it is there already.

    Raises:
        InstanceVersionConflict: somebody was faster; the step is tried again.
    """

    def body(tx: Tx) -> JsonObject:
        old = repository.get_instance(tx, instance_id)
        new = change(old)
        if replace(new, retained_until=None) != replace(old, retained_until=None):
            store(tx, old, new, event=event)
        return {}

    db.run_tx(new_id("op"), body, origin=origin)

"""An instance's firm key: into the boxes of its pool and out of them, each told once for an operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from anyio import to_thread

from app.core.db import Database, Tx
from app.core.json import JsonObject
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.client import BoxReport
from tenancy import repository
from tenancy.operation.kind import StepContext
from tenancy.placement import SHARED_POOL
from tenancy.record import Instance


class FirmKeyInstaller(Protocol):
    """What operations ask of the Firm Security Boxes; `fsb_gateway.client.FsbClient` is one."""

    async def ensure_box(self, spec: BoxSpec) -> object:
        """Set up a box, or change its pace."""
        ...

    async def remove_box(self, name: str) -> object:
        """Take a box out of service; nothing happens if there is none."""
        ...

    async def ensure_firm_key(self, instance_id: str, firm_code: int, *, pool: str) -> object:
        """Make a firm key unless it is there, and install it in every box of the pool."""
        ...

    async def remove_firm_key(self, instance_id: str, firm_code: int) -> object:
        """Destroy a firm key and take it out of every box; nothing happens if there is none."""
        ...

    async def boxes(self) -> tuple[BoxReport, ...]:
        """Every box, with the firm codes it can sign for."""
        ...


class FirmKeys:
    """Steps of operations that install or remove a firm key. They may be repeated.

    Args:
        db: the platform database.
        boxes: hold the keys.
    """

    def __init__(self, db: Database, boxes: FirmKeyInstaller) -> None:
        self._db = db
        self._boxes = boxes

    async def install(self, context: StepContext, instance: Instance) -> None:
        """Put the instance's firm key into every box of its pool."""
        await context.check_owner()
        await self._boxes.ensure_firm_key(instance.instance_id, instance.firm_code, pool=instance.pool)

        def body(tx: Tx) -> JsonObject:
            _emit(tx, "firm_key.installed", instance)
            return {}

        await self._once("firm_key.installed", context, body)

    async def remove(self, context: StepContext, instance: Instance) -> None:
        """Destroy the instance's firm key, and take the boxes out of service that were its own."""
        await context.check_owner()
        await self._boxes.remove_firm_key(instance.instance_id, instance.firm_code)
        known = await to_thread.run_sync(lambda: self._db.read(repository.list_boxes))
        own = [box.name for box in known if box.pool == instance.pool != SHARED_POOL]
        for name in own:
            await self._boxes.remove_box(name)

        def body(tx: Tx) -> JsonObject:
            # The next start of a gateway does not set up what nobody uses any more.
            removed = [name for name in own if repository.remove_box(tx, name)]
            if removed:
                data: JsonObject = {"boxes": []}
                tx.emit("pool.boxes_removed", subject=instance.pool, data=data, before={"boxes": [*removed]})
            _emit(tx, "firm_key.removed", instance)
            return {}

        await self._once("firm_key.removed", context, body)

    async def _once(self, event: str, context: StepContext, body: Callable[[Tx], JsonObject]) -> None:
        """The same id whenever the step is repeated: one event, however often its process dies."""
        op_id = f"{event}:{context.operation.operation_id}"
        await to_thread.run_sync(lambda: self._db.run_tx(op_id, body, origin=context.origin))


def _emit(tx: Tx, event: str, instance: Instance) -> None:
    data: JsonObject = {"firm_code": instance.firm_code, "pool": instance.pool}
    tx.emit(event, subject=instance.instance_id, data=data)

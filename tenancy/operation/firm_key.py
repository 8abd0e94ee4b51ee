"""An instance's firm key: into the boxes of its pool and out of them, each told once for an operation."""

from __future__ import annotations

from collections.abc import Callable

from anyio import to_thread

from app.core.db import Database, Tx
from app.core.json import JsonObject
from fsb_gateway.report import FirmKeyReport
from tenancy.box import repository
from tenancy.box.fact import describe_key
from tenancy.box.port import FirmKeyInstaller
from tenancy.operation.kind import StepContext
from tenancy.record import Instance


class FirmKeys:
    """Steps of operations that install or remove a firm key. They may be repeated.

    Args:
        db: the platform database.
        boxes: hold the keys.
    """

    def __init__(self, db: Database, boxes: FirmKeyInstaller) -> None:
        self._db = db
        self._boxes = boxes

    async def install(self, context: StepContext, instance: Instance) -> FirmKeyReport:
        """Put the instance's firm key into every box of its pool; the key as it is then."""
        await context.check_owner()
        key = await self._boxes.ensure_firm_key(instance.instance_id, instance.firm_code, pool=instance.pool)

        def body(tx: Tx) -> JsonObject:
            more: JsonObject = {**describe_key(key), "boxes": [*key.boxes]}
            _emit(tx, context, "firm_key.installed", instance, more)
            return {}

        await self._once("firm_key.installed", context, body)
        return key

    async def remove(self, context: StepContext, instance: Instance) -> None:
        """Destroy the instance's firm key, and take the boxes out of service that were its own."""
        await context.check_owner()
        await self._boxes.remove_firm_key(instance.instance_id, instance.firm_code)
        await self._once("pool.boxes_removed", context, lambda tx: _remove_boxes(tx, instance))
        # By what the gateway says: the rows are gone, so that whoever keeps boxes does not tell it of them again.
        for box in await self._boxes.boxes():
            if box.owner == instance.instance_id:
                await self._boxes.remove_box(box.name)

        def body(tx: Tx) -> JsonObject:
            _emit(tx, context, "firm_key.removed", instance, {})
            return {}

        await self._once("firm_key.removed", context, body)

    async def _once(self, event: str, context: StepContext, body: Callable[[Tx], JsonObject]) -> None:
        """The same id whenever the step is repeated: one event, however often its process dies."""
        op_id = f"{event}:{context.operation.operation_id}"
        await to_thread.run_sync(lambda: self._db.run_tx(op_id, body, origin=context.origin))


def _remove_boxes(tx: Tx, instance: Instance) -> JsonObject:
    own = [box.name for box in repository.list_boxes(tx) if box.spec.owner == instance.instance_id]
    removed = [name for name in own if repository.remove_box(tx, name)]
    if removed:
        data: JsonObject = {"boxes": []}
        tx.emit("pool.boxes_removed", subject=instance.pool, data=data, before={"boxes": [*removed]})
    return {}


def _emit(tx: Tx, context: StepContext, event: str, instance: Instance, more: JsonObject) -> None:
    data: JsonObject = {
        "firm_code": instance.firm_code,
        "pool": instance.pool,
        "operation_id": context.operation.operation_id,
        **more,
    }
    tx.emit(event, subject=instance.instance_id, data=data)

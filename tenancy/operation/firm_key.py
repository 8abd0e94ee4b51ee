"""An instance's firm key: into the boxes of its pool and out of them, each told once for an operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from anyio import to_thread

from app.core.db import Database, Reader, Tx, TxAnswer
from app.core.json import JsonObject
from fsb_gateway.report import FirmKeyReport
from tenancy.box import repository
from tenancy.box.fact import describe_key
from tenancy.box.key_teller import KeyTeller, note_for_customer
from tenancy.box.own_box import check_own_boxes, check_undisturbed, list_own_boxes
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
        self._teller = KeyTeller(db)

    async def install(self, context: StepContext, instance: Instance) -> FirmKeyReport:
        """Put the instance's firm key into the boxes of its pool, one at least; the key as it is then."""
        await context.check_owner()
        key = await self._boxes.ensure_firm_key(instance.instance_id, instance.firm_code, pool=instance.pool)

        def body(tx: Tx) -> JsonObject:
            more: JsonObject = {**describe_key(key), "boxes": [*key.boxes]}
            _emit(tx, context, "firm_key.installed", instance, more)
            note_for_customer(tx, context, "firm_key.installed", key)
            return {}

        await self._once("firm_key.installed", context, body)
        return key

    async def remove(self, context: StepContext, instance: Instance) -> None:
        """Destroy the instance's firm key, and take the boxes out of service that were its own.

        Raises:
            BoxStateUnfit, OperationRunning: a box of its own is lent, or has an unfinished operation.
            BoxLast: a box of its own is the last one to hold a key of somebody else.
        """
        own = await to_thread.run_sync(lambda: self._db.read(lambda reader: _give_up(reader, instance)))
        await self._drop_foreign(context, instance, own)
        await context.check_owner()
        await self._boxes.remove_firm_key(instance.instance_id, instance.firm_code)
        answer = await self._once("pool.boxes_removed", context, lambda tx: _remove_boxes(tx, instance))
        removed = cast(list[str], answer.value.get("boxes", []))
        # Nothing begins any more with a box that has no row; what began a moment before comes to its end first.
        await to_thread.run_sync(lambda: self._db.read(lambda reader: check_undisturbed(reader, removed)))
        await self._drop_foreign(context, instance, removed)
        # By what the gateway says: the rows are gone, so that whoever keeps boxes does not tell it of them again.
        for box in await self._boxes.boxes():
            if box.owner == instance.instance_id:
                await self._boxes.remove_box(box.name)

        def body(tx: Tx) -> JsonObject:
            _emit(tx, context, "firm_key.removed", instance, {})
            return {}

        await self._once("firm_key.removed", context, body)

    async def _drop_foreign(self, context: StepContext, instance: Instance, boxes: Sequence[str]) -> None:
        """Keys of others that a loan has left behind: their customers are told that they have gone."""
        if not boxes:
            return
        for key in await self._boxes.firm_keys():
            for box in set(boxes) & set(key.boxes) if key.instance_id != instance.instance_id else ():
                await context.check_owner()
                await self._boxes.drop_firm_key(key.firm_code, box=box)
                left = [name for name in key.boxes if name != box]
                await self._teller.tell(
                    context, "firm_key.dropped", key, more={"from": box, "boxes": [*left]}
                )

    async def _once(self, event: str, context: StepContext, body: Callable[[Tx], JsonObject]) -> TxAnswer:
        """The same id whenever the step is repeated: one event, however often its process dies."""
        op_id = f"{event}:{context.operation.operation_id}"
        return await to_thread.run_sync(lambda: self._db.run_tx(op_id, body, origin=context.origin))


def _give_up(reader: Reader, instance: Instance) -> list[str]:
    """The names of its own boxes, which nobody else needs now."""
    check_own_boxes(reader, instance.instance_id)
    return [box.name for box in list_own_boxes(reader, instance.instance_id)]


def _remove_boxes(tx: Tx, instance: Instance) -> JsonObject:
    removed = [name for name in _give_up(tx, instance) if repository.remove_box(tx, name)]
    if removed:
        data: JsonObject = {"boxes": []}
        tx.emit("pool.boxes_removed", subject=instance.pool, data=data, before={"boxes": [*removed]})
    return {"boxes": [*removed]}


def _emit(tx: Tx, context: StepContext, event: str, instance: Instance, more: JsonObject) -> None:
    data: JsonObject = {
        "firm_code": instance.firm_code,
        "pool": instance.pool,
        "operation_id": context.operation.operation_id,
        **more,
    }
    tx.emit(event, subject=instance.instance_id, data=data)

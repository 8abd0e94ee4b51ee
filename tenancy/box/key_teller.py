"""Telling what was done to a firm key: in the platform's audit chain, and in its instance's for the customer."""

from __future__ import annotations

from anyio import to_thread

from app.core.db import Database, Tx
from app.core.ids import InstanceId
from app.core.json import JsonObject
from fsb_gateway.report import FirmKeyReport
from tenancy import repository
from tenancy.box.fact import describe_key
from tenancy.database.port import InstanceDatabases
from tenancy.operation.kind import StepContext


class KeyTeller:
    """Tells each thing once for an operation, however often its step is repeated.

    Args:
        db: the platform database.
        databases: of the instances.
    """

    def __init__(self, db: Database, databases: InstanceDatabases) -> None:
        self._db = db
        self._databases = databases

    async def tell(
        self,
        context: StepContext,
        event: str,
        key: FirmKeyReport,
        *,
        more: JsonObject | None = None,
        before: JsonObject | None = None,
    ) -> None:
        """Write it down.

        Args:
            context: of the step that did it.
            event: e.g. `firm_key.rotated`.
            key: as it is now.
            more: for staff alone: a box lent by another customer bears that customer's name.
            before: what was otherwise.
        """
        data: JsonObject = {**_shared(context, key), **(more or {})}
        about = str(data.get("to") or data.get("from") or "")

        def body(tx: Tx) -> JsonObject:
            tx.emit(event, subject=key.instance_id, data=data, before=before)
            return {}

        op_id = f"{_op_id(context, event, key)}:{about}"
        await to_thread.run_sync(lambda: self._db.run_tx(op_id, body, origin=context.origin))
        await self.tell_customer(context, event, key, before=before, about=about)

    async def tell_customer(
        self,
        context: StepContext,
        event: str,
        key: FirmKeyReport,
        *,
        before: JsonObject | None = None,
        about: str = "",
    ) -> None:
        """Write it down where the customer reads it: in the chain of the instance, while it is kept."""

        def body(tx: Tx) -> JsonObject:
            tx.emit(event, subject=str(key.firm_code), data=_shared(context, key), before=before)
            return {}

        def work() -> None:
            instance_id = InstanceId(key.instance_id)
            instance = self._db.read(lambda reader: repository.find_instance(reader, instance_id))
            if instance is not None and instance.is_kept:
                op_id = f"{_op_id(context, event, key)}:{about}"
                self._databases.open(instance_id).run_tx(op_id, body, origin=context.origin)

        await to_thread.run_sync(work)


def _shared(context: StepContext, key: FirmKeyReport) -> JsonObject:
    return {**describe_key(key), "operation_id": context.operation.operation_id}


def _op_id(context: StepContext, event: str, key: FirmKeyReport) -> str:
    """The same whenever the step is repeated."""
    return f"{event}:{context.operation.operation_id}:{key.firm_code}"

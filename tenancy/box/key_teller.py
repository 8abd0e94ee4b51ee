"""Telling what was done to a firm key: in the platform's audit chain, and to its customer (`customer_note`)."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from anyio import to_thread

from app.core.db import Database, Tx
from app.core.ids import InstanceId
from app.core.json import JsonObject
from fsb_gateway.report import FirmKeyReport
from tenancy.box.fact import describe_key
from tenancy.box.note.repository import add_note
from tenancy.operation.kind import StepContext


class KeyTeller:
    """Tells each thing once for an operation, however often its step is repeated.

    Args:
        db: the platform database.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

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
        data: JsonObject = {**_describe(context, key), **(more or {})}
        about = str(data.get("to") or data.get("from") or "")

        def body(tx: Tx) -> JsonObject:
            tx.emit(event, subject=key.instance_id, data=data, before=before)
            note_for_customer(tx, context, event, key, before=before)
            return {}

        # A box's name stays out of ids: it may be another customer's.
        which = sha256(about.encode()).hexdigest()[:16]
        op_id = f"{event}:{context.operation.operation_id}:{key.firm_code}:{which}"
        await to_thread.run_sync(lambda: self._db.run_tx(op_id, body, origin=context.origin))


def note_for_customer(
    tx: Tx, context: StepContext, event: str, key: FirmKeyReport, *, before: JsonObject | None = None
) -> None:
    """Have the customer told, in the transaction that tells staff."""
    origin = context.origin
    if context.object_id != key.instance_id:
        # Why a box is lent or taken away may say something of another customer.
        origin = replace(origin, reason="")
    add_note(
        tx,
        InstanceId(key.instance_id),
        event,
        subject=str(key.firm_code),
        data=_describe(context, key),
        before=before,
        origin=origin,
    )


def _describe(context: StepContext, key: FirmKeyReport) -> JsonObject:
    return {**describe_key(key), "operation_id": context.operation.operation_id}

"""Changes of boxes: in the platform database with their event, and at the gateway."""

from __future__ import annotations

from collections.abc import Callable

from anyio import to_thread

from app.core.db import Database, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from fsb_gateway.report import BoxReport
from tenancy.box import repository
from tenancy.box.errors import BoxVersionConflict
from tenancy.box.port import BoxGateway
from tenancy.box.record import BoxRecord, check_not_last
from tenancy.box.spec_json import changed_fields
from tenancy.operation.kind import StepContext

Change = Callable[[Tx, BoxRecord], BoxRecord]
Check = Callable[[Tx, BoxRecord], None]


class BoxChanges:
    """What steps of operations change about boxes, and look at.

    Args:
        db: the platform database.
        gateway: is told what boxes there are.
    """

    def __init__(self, db: Database, gateway: BoxGateway) -> None:
        self._db = db
        self._gateway = gateway

    async def make(
        self, context: StepContext, event: str, change: Change, *, check: Check | None = None
    ) -> None:
        """Change the operation's box and tell the gateway, even if a killed step has changed it before.

        Args:
            check: refuses it, in the same transaction.
        """

        def body(tx: Tx) -> JsonObject:
            if check is not None:
                check(tx, repository.get_box(tx, context.object_id))
            store_change(tx, context.object_id, lambda box: change(tx, box), event=event)
            return {}

        await self.write(context, body)
        await context.check_owner()
        await self._gateway.ensure_box((await self.get(context.object_id)).told)

    async def write(
        self, context: StepContext, body: Callable[[Tx], JsonObject], *, op_id: str | None = None
    ) -> JsonObject:
        """Carry out a transaction of a step; under an id, once for all its attempts: what it answered then."""
        answer = await to_thread.run_sync(
            lambda: self._db.run_tx(op_id or new_id("op"), body, origin=context.origin)
        )
        return answer.value

    async def find_report(self, name: str) -> BoxReport | None:
        """What the gateway says of a box."""
        return next((each for each in await self._gateway.boxes() if each.name == name), None)

    async def find(self, name: str) -> BoxRecord | None:
        """A box as staff want it."""
        return await to_thread.run_sync(
            lambda: self._db.read(lambda reader: repository.find_box(reader, name))
        )

    async def get(self, name: str) -> BoxRecord:
        """A box as staff want it.

        Raises:
            BoxUnknown: there is none of that name.
        """
        return await to_thread.run_sync(
            lambda: self._db.read(lambda reader: repository.get_box(reader, name))
        )


def check_others_work(tx: Tx, box: BoxRecord) -> None:
    """Refuse to take the only working box of a pool away from it; two at the same time see each other.

    Raises:
        BoxLast: no other box of its pool takes work.
    """
    repository.touch_pool(tx, box.spec.pool)
    check_not_last(box, repository.list_boxes(tx), now=tx.now)


def store_change(
    tx: Tx,
    name: str,
    change: Callable[[BoxRecord], BoxRecord],
    *,
    event: str,
    expected_version: int | None = None,
) -> BoxRecord:
    """Change a box and emit what is otherwise; nothing happens if nothing is. Returns it as it was before.

    Raises:
        BoxUnknown: there is none of that name.
        BoxVersionConflict: it has been changed since it was read.
    """
    old = repository.get_box(tx, name)
    if expected_version is not None and old.version != expected_version:
        raise BoxVersionConflict("The box has been changed meanwhile; read it again.", version=old.version)
    new = change(old)
    if new == old:
        return old
    if not repository.put_box(tx, new):
        raise BoxVersionConflict("The box has been changed meanwhile; read it again.")
    data, before = changed_fields(old.spec, new.spec)
    if new.state != old.state:
        data, before = {**data, "state": new.state}, {**before, "state": old.state}
    if new.drained_by != old.drained_by:
        data, before = {**data, "drained_by": new.drained_by}, {**before, "drained_by": old.drained_by}
    tx.emit(event, subject=name, data=data, before=before)
    return old

"""What is done about boxes in steps: joining a pool, leaving it, loans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final, cast

from anyio import to_thread

from app.core.db import Database, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from fsb_gateway.report import BoxReport
from tenancy.box import plan, repository
from tenancy.box.errors import BoxNameTaken, BoxStateUnfit, BoxVersionConflict
from tenancy.box.key_mover import KeyMover
from tenancy.box.key_plan import check_held_elsewhere, keys_foreign, keys_held
from tenancy.box.port import BoxGateway
from tenancy.box.record import BoxRecord
from tenancy.box.spec_json import changed_fields, describe_spec, read_spec
from tenancy.operation.kind import NotYet, OperationKind, StepContext

_ASK_AGAIN: Final = timedelta(seconds=1)
_FIT: Final = ("ready", "drained")
_COMING: Final = ("starting", "disconnected")

_Change = Callable[[Tx, BoxRecord], BoxRecord]


class BoxOperations:
    """The steps of these operations. Each may be repeated, by itself or after being killed half-way.

    Args:
        db: the platform database.
        gateway: is told what boxes there are.
        keys: brings firm keys into boxes and out of them.
    """

    def __init__(self, db: Database, gateway: BoxGateway, keys: KeyMover) -> None:
        self._db = db
        self._gateway = gateway
        self._keys = keys

    def kinds(self) -> tuple[OperationKind, ...]:
        """What the runner needs."""
        return (
            OperationKind(
                plan=plan.ADD_BOX,
                actions={"set_up": self._set_up, "copy_keys": self._copy_own_keys, "open": self._open},
                undo={"set_up": self._remove, "copy_keys": self._drop_keys},
            ),
            OperationKind(
                plan=plan.REMOVE_BOX,
                actions={
                    "leave": self._leave,
                    "wait_empty": self._wait_empty,
                    "drop_keys": self._drop_keys,
                    "remove": self._remove,
                },
                undo={"leave": self._stay, "drop_keys": self._copy_own_keys},
            ),
            OperationKind(
                plan=plan.LEND_BOX,
                actions={"copy_keys": self._copy_lent_keys, "hand_over": self._hand_over},
                undo={"copy_keys": self._drop_foreign, "hand_over": self._close},
            ),
            OperationKind(
                plan=plan.END_LOAN,
                actions={
                    "take_back": self._take_back,
                    "drop_keys": self._drop_foreign,
                    "close": self._close,
                },
            ),
        )

    async def _set_up(self, context: StepContext) -> NotYet | None:
        spec = read_spec(context.object_id, cast(JsonObject, context.parameters["box"]))

        def body(tx: Tx) -> JsonObject:
            if repository.add_box(tx, spec, state="joining"):
                tx.emit("box.added", subject=spec.name, data=describe_spec(spec))
            elif repository.get_box(tx, spec.name).state != "joining":
                raise BoxNameTaken("A box has that name already.", box=spec.name)
            return {}

        await self._write(context, body)
        report = await self._find_report(spec.name)
        if report is None:
            # Not put again while it is there: each put has a token try its PIN.
            await context.check_owner()
            record = await self._get(spec.name)
            await self._gateway.ensure_box(record.told)
            report = await self._find_report(spec.name)
        return self._check_fit(spec.name, report)

    def _check_fit(self, name: str, report: BoxReport | None) -> NotYet | None:
        """Whether a box could work; a mistake in its description shows here, before it has any key."""
        condition = "disconnected" if report is None else report.condition
        if condition in _FIT:
            return None
        if condition in _COMING:
            return NotYet(until=self._db.clock.now() + _ASK_AGAIN, reason=f"the box is {condition}")
        raise BoxStateUnfit(f"The box cannot work: {condition}.", box=name, condition=condition)

    async def _copy_own_keys(self, context: StepContext) -> NotYet | None:
        record = await self._get(context.object_id)
        await self._keys.copy_lacking(context, pool=record.spec.pool, to=record.name)
        return None

    async def _open(self, context: StepContext) -> NotYet | None:
        await self._change(context, "box.opened", lambda _tx, box: replace(box, state="active"))
        return None

    async def _leave(self, context: StepContext) -> NotYet | None:
        name = context.object_id
        keys = await self._gateway.firm_keys()
        boxes = await to_thread.run_sync(lambda: self._db.read(repository.list_boxes))
        held = keys_held(name, keys)
        check_held_elsewhere(name, held, keys=keys, homes=await self._keys.homes(), boxes=boxes)
        await self._change(context, "box.leaving", lambda _tx, box: replace(box, state="leaving"))
        return None

    async def _stay(self, context: StepContext) -> NotYet | None:
        await self._change(context, "box.stays", lambda _tx, box: replace(box, state="active"))
        return None

    async def _wait_empty(self, context: StepContext) -> NotYet | None:
        report = await self._find_report(context.object_id)
        if report is None or report.running == 0:
            return None
        return NotYet(
            until=self._db.clock.now() + _ASK_AGAIN, reason=f"{report.running} jobs are still under way"
        )

    async def _drop_keys(self, context: StepContext) -> NotYet | None:
        held = keys_held(context.object_id, await self._gateway.firm_keys())
        await self._keys.drop_all(context, held, box=context.object_id)
        return None

    async def _remove(self, context: StepContext) -> NotYet | None:
        def body(tx: Tx) -> JsonObject:
            record = repository.find_box(tx, context.object_id)
            if record is not None and repository.remove_box(tx, record.name):
                tx.emit("box.removed", subject=record.name, data={}, before=describe_spec(record.spec))
            return {}

        # The row first: whoever keeps boxes would tell the gateway again of one that is wanted and not there.
        await self._write(context, body)
        await context.check_owner()
        await self._gateway.remove_box(context.object_id)
        return None

    async def _copy_lent_keys(self, context: StepContext) -> NotYet | None:
        await self._keys.copy_lacking(context, pool=str(context.parameters["to"]), to=context.object_id)
        return None

    async def _hand_over(self, context: StepContext) -> NotYet | None:
        pool, lasts = str(context.parameters["to"]), timedelta(hours=cast(int, context.parameters["hours"]))

        def lend(tx: Tx, box: BoxRecord) -> BoxRecord:
            if box.spec.lent_to is not None:
                return box
            return replace(box, spec=replace(box.spec, lent_to=pool, lent_until=tx.now + lasts))

        await self._change(context, "box.lent", lend)
        return None

    async def _take_back(self, context: StepContext) -> NotYet | None:
        def end(tx: Tx, box: BoxRecord) -> BoxRecord:
            until = box.spec.lent_until
            if until is None or until <= tx.now:
                return box
            return replace(box, spec=replace(box.spec, lent_until=tx.now))

        await self._change(context, "box.taken_back", end)
        return None

    async def _drop_foreign(self, context: StepContext) -> NotYet | None:
        record = await self._get(context.object_id)
        foreign = keys_foreign(record, await self._gateway.firm_keys(), await self._keys.homes())
        await self._keys.drop_all(context, foreign, box=record.name)
        return None

    async def _close(self, context: StepContext) -> NotYet | None:
        def close(_tx: Tx, box: BoxRecord) -> BoxRecord:
            return replace(box, spec=replace(box.spec, lent_to=None, lent_until=None))

        await self._change(context, "box.returned", close)
        return None

    async def _change(self, context: StepContext, event: str, change: _Change) -> None:
        """Change a box and tell the gateway, even if a killed step has changed it before."""

        def body(tx: Tx) -> JsonObject:
            store_change(tx, context.object_id, lambda box: change(tx, box), event=event)
            return {}

        await self._write(context, body)
        await context.check_owner()
        await self._gateway.ensure_box((await self._get(context.object_id)).told)

    async def _find_report(self, name: str) -> BoxReport | None:
        return next((each for each in await self._gateway.boxes() if each.name == name), None)

    async def _get(self, name: str) -> BoxRecord:
        return await to_thread.run_sync(
            lambda: self._db.read(lambda reader: repository.get_box(reader, name))
        )

    async def _write(self, context: StepContext, body: Callable[[Tx], JsonObject]) -> None:
        await to_thread.run_sync(lambda: self._db.run_tx(new_id("op"), body, origin=context.origin))


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
    tx.emit(event, subject=name, data=data, before=before)
    return old

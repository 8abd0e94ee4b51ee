"""What is done about boxes in steps: joining a pool, and leaving it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final, cast

from app.core.clock import Clock
from app.core.db import Tx
from app.core.json import JsonObject
from fsb_gateway.report import BoxReport
from tenancy.box import plan, repository
from tenancy.box.box_change import BoxChanges, check_others_work
from tenancy.box.errors import BoxNameTaken, BoxStateUnfit
from tenancy.box.key_mover import KeyMover
from tenancy.box.key_plan import keys_held
from tenancy.box.port import BoxGateway
from tenancy.box.record import BoxRecord, check_no_stray, check_token_free
from tenancy.box.spec_json import describe_spec, read_spec
from tenancy.operation.kind import NotYet, OperationKind, StepContext

_ASK_AGAIN: Final = timedelta(seconds=1)
_FIT: Final = ("ready", "drained")
_COMING: Final = ("starting", "disconnected")


class BoxOperations:
    """The steps of these operations. Each may be repeated, by itself or after being killed half-way.

    Args:
        boxes: changes them.
        gateway: is told what boxes there are.
        keys: brings firm keys into boxes and out of them.
        clock: for steps that wait.
    """

    def __init__(self, boxes: BoxChanges, gateway: BoxGateway, keys: KeyMover, clock: Clock) -> None:
        self._boxes = boxes
        self._gateway = gateway
        self._keys = keys
        self._clock = clock

    def kinds(self) -> tuple[OperationKind, ...]:
        """What the runner needs."""
        return (
            OperationKind(
                plan=plan.ADD_BOX,
                actions={"set_up": self._set_up, "copy_keys": self._copy_keys, "open": self._open},
                undo={"set_up": self._undo_set_up, "copy_keys": self._drop_keys, "open": self._close},
            ),
            OperationKind(
                plan=plan.REMOVE_BOX,
                actions={
                    "leave": self._leave,
                    "wait_empty": self._wait_empty,
                    "drop_keys": self._drop_spare_keys,
                    "remove": self._remove,
                },
                undo={"leave": self._stay, "drop_keys": self._copy_keys},
            ),
        )

    async def _set_up(self, context: StepContext) -> NotYet | None:
        spec = read_spec(context.object_id, cast(JsonObject, context.parameters["box"]))
        if await self._boxes.find(spec.name) is None:
            check_no_stray(spec.name, await self._gateway.boxes())

        def body(tx: Tx) -> JsonObject:
            check_token_free(spec, repository.list_boxes(tx))
            if not repository.add_box(tx, spec, state="joining"):
                raise BoxNameTaken("A box has that name already.", box=spec.name)
            tx.emit("box.added", subject=spec.name, data=describe_spec(spec))
            return {"added": True}

        await self._boxes.write(context, body, op_id=_added(context))
        report = await self._boxes.find_report(spec.name)
        if report is None:
            # Not put again while it is there: each put has a token try its PIN.
            await context.check_owner()
            record = await self._boxes.get(spec.name)
            await self._gateway.ensure_box(record.told)
            report = await self._boxes.find_report(spec.name)
        return self._check_fit(spec.name, report)

    async def _undo_set_up(self, context: StepContext) -> NotYet | None:
        """A box that this operation has not added is none of its doing, whatever its name."""
        answer = await self._boxes.write(context, lambda _tx: {"added": False}, op_id=_added(context))
        record = await self._boxes.find(context.object_id)
        if answer["added"] and (record is None or record.state == "joining"):
            await self._remove(context)
        return None

    def _check_fit(self, name: str, report: BoxReport | None) -> NotYet | None:
        """Whether a box could work; a mistake in its description shows here, before it has any key."""
        condition = "disconnected" if report is None else report.condition
        if condition in _FIT:
            return None
        if condition in _COMING:
            return NotYet(until=self._clock.now() + _ASK_AGAIN, reason=f"the box is {condition}")
        raise BoxStateUnfit(f"The box cannot work: {condition}.", box=name, condition=condition)

    async def _copy_keys(self, context: StepContext) -> NotYet | None:
        record = await self._boxes.get(context.object_id)
        await self._keys.copy_lacking(context, pool=record.spec.pool, to=record.name)
        return None

    async def _open(self, context: StepContext) -> NotYet | None:
        await self._boxes.make(context, "box.opened", lambda _tx, box: replace(box, state="active"))
        return None

    async def _close(self, context: StepContext) -> NotYet | None:
        await self._boxes.make(context, "box.closed", lambda _tx, box: replace(box, state="joining"))
        return await self._wait_empty(context)

    async def _leave(self, context: StepContext) -> NotYet | None:
        name = context.object_id
        await self._keys.check_may_leave(keys_held(name, await self._gateway.firm_keys()), box=name)
        await self._boxes.make(
            context, "box.leaving", lambda _tx, box: replace(box, state="leaving"), check=_check_leaving
        )
        return None

    async def _stay(self, context: StepContext) -> NotYet | None:
        await self._boxes.make(context, "box.stays", lambda _tx, box: replace(box, state="active"))
        return None

    async def _wait_empty(self, context: StepContext) -> NotYet | None:
        report = await self._boxes.find_report(context.object_id)
        if report is None or report.running == 0:
            return None
        return NotYet(
            until=self._clock.now() + _ASK_AGAIN, reason=f"{report.running} jobs are still under way"
        )

    async def _drop_spare_keys(self, context: StepContext) -> NotYet | None:
        """As `_drop_keys`; what was so when the box began to leave may be otherwise now."""
        name = context.object_id
        await self._keys.check_may_leave(keys_held(name, await self._gateway.firm_keys()), box=name)
        return await self._drop_keys(context)

    async def _drop_keys(self, context: StepContext) -> NotYet | None:
        held = keys_held(context.object_id, await self._gateway.firm_keys())
        await self._keys.drop_all(context, held, box=context.object_id)
        return None

    async def _remove(self, context: StepContext) -> NotYet | None:
        name = context.object_id
        await self._keys.tell_left(context, keys_held(name, await self._gateway.firm_keys()), box=name)

        def body(tx: Tx) -> JsonObject:
            record = repository.find_box(tx, name)
            if record is not None and repository.remove_box(tx, name):
                tx.emit("box.removed", subject=name, data={}, before=describe_spec(record.spec))
            return {}

        # The row first: whoever keeps boxes would tell the gateway again of one that is wanted and not there.
        await self._boxes.write(context, body)
        await context.check_owner()
        await self._gateway.remove_box(name)
        return None


def _check_leaving(tx: Tx, box: BoxRecord) -> None:
    """Refuse that the last box leaves a pool that somebody uses; one that is leaving already has been looked at."""
    is_used = any(home.pool == box.spec.pool for home in repository.list_key_homes(tx))
    if is_used and box.state != "leaving":
        check_others_work(tx, box)


def _added(context: StepContext) -> str:
    """Names the transaction in which the operation adds its box."""
    return f"box.added:{context.operation.operation_id}"

"""What two people have done to an instance's firm key: copied, moved, rotated, retired."""

from __future__ import annotations

from typing import cast

from app.core.errors import DomainError
from app.core.json import JsonObject
from fsb_gateway.report import FirmKeyReport
from tenancy.box import plan
from tenancy.box.errors import FirmKeyChanged, PlanOutdated
from tenancy.box.key_mover import KeyMover
from tenancy.box.key_plan import check_same_boxes, check_source
from tenancy.box.key_teller import KeyTeller
from tenancy.box.port import BoxGateway
from tenancy.operation.kind import NotYet, OperationKind, StepContext
from tenancy.operation.plan import Operation


class KeyOperations:
    """The steps of these operations. Each may be repeated, by itself or after being killed half-way.

    Args:
        gateway: of the boxes that hold the keys.
        keys: brings keys into boxes and out of them.
        teller: writes down what was done.
    """

    def __init__(self, gateway: BoxGateway, keys: KeyMover, teller: KeyTeller) -> None:
        self._gateway = gateway
        self._keys = keys
        self._teller = teller

    def kinds(self) -> tuple[OperationKind, ...]:
        """What the runner needs."""
        return (
            OperationKind(
                plan=plan.COPY_FIRM_KEY, actions={"copy": self._copy}, undo={"copy": self._undo_copy}
            ),
            OperationKind(
                plan=plan.MOVE_FIRM_KEY,
                actions={"copy": self._copy, "drop": self._drop},
                undo={"copy": self._undo_copy, "drop": self._undo_drop},
            ),
            OperationKind(
                plan=plan.ROTATE_FIRM_KEY,
                actions={"rotate": self._rotate},
                undo={"rotate": self._undo_rotate},
            ),
            OperationKind(plan=plan.RETIRE_FIRM_KEY, actions={"look": self._look, "retire": self._retire}),
        )

    async def _copy(self, context: StepContext) -> NotYet | None:
        to, source = str(context.parameters["to"]), context.parameters.get("from")
        key = await self._find_approved(context)
        if source is not None:
            check_source(str(source), key)
        held = (await self._keys.remember(context, "held", {"held": to in key.boxes}))["held"]
        if held != (to in boxes_of(context)):
            raise PlanOutdated(
                f"The key is {'already' if held else 'no longer'} in box {to}; nothing was done. Ask for it anew.",
                firm_code=key.firm_code,
                box=to,
            )
        await self._keys.check_wanted(key.firm_code, box=to)
        if held:
            await context.note(f"Box {to} holds the key already: nothing was copied.")
        else:
            await self._keys.copy(context, key.firm_code, to=to)
        try:
            await self._keys.check_wanted(key.firm_code, box=to)
        except DomainError:
            # The loan has ended meanwhile: whoever took the keys out of the box did not see this one.
            await self._undo_copy(context)
            raise
        return None

    async def _undo_copy(self, context: StepContext) -> NotYet | None:
        to = str(context.parameters["to"])
        # What was there before is none of this operation's doing; if it never looked, it has done nothing.
        if not (await self._keys.remember(context, "held", {"held": True}))["held"]:
            key = await self._keys.find(firm_code_of(context))
            if to in key.boxes:
                await self._keys.drop(context, key.firm_code, box=to)
        return None

    async def _drop(self, context: StepContext) -> NotYet | None:
        source = str(context.parameters["from"])
        key = await self._keys.find(firm_code_of(context))
        if not (await self._keys.remember(context, "there", {"there": source in key.boxes}))["there"]:
            await context.note(f"Box {source} holds the key no more: nothing was dropped.")
            return None
        if source in key.boxes:
            await self._keys.check_may_leave([key.firm_code], box=source)
        await self._keys.drop(context, key.firm_code, box=source)
        return None

    async def _undo_drop(self, context: StepContext) -> NotYet | None:
        """What has not left the box is not copied back."""
        source = str(context.parameters["from"])
        key = await self._keys.find(firm_code_of(context))
        if (await self._keys.remember(context, "gone", {"gone": source not in key.boxes}))["gone"]:
            await self._keys.copy(context, key.firm_code, to=source)
        return None

    async def _rotate(self, context: StepContext) -> NotYet | None:
        key_id = rotated_key_id(context.operation)
        before = await self._find_approved(context)
        if before.key_id != key_id:
            check_same_boxes(before, boxes_of(context))
        await context.check_owner()
        key = await self._gateway.rotate_firm_key(firm_code_of(context), key_id=key_id)
        await self._tell_rotated(context, key)
        return None

    async def _undo_rotate(self, context: StepContext) -> NotYet | None:
        """Either no box signs with the new key, or all of them shall: an old key that is gone does not come back."""
        key = await self._keys.find(firm_code_of(context))
        if key.key_id == rotated_key_id(context.operation):
            await context.note("The new key signs already: the rotation is carried to its end.")
            await self._rotate(context)
        return None

    async def _tell_rotated(self, context: StepContext, key: FirmKeyReport) -> None:
        before: JsonObject = {}
        if key.former:
            before = {"key_id": key.former[0].key_id, "fingerprint": key.former[0].fingerprint}
        await self._teller.tell(
            context, "firm_key.rotated", key, more={"boxes": list(key.boxes)}, before=before
        )

    async def _look(self, context: StepContext) -> NotYet | None:
        """While it can still be given up: nothing of a retirement is taken back."""
        key = await self._find_approved(context)
        check_same_boxes(key, boxes_of(context))
        return None

    async def _retire(self, context: StepContext) -> NotYet | None:
        firm_code = firm_code_of(context)
        held = (await self._find_approved(context)).boxes
        await context.check_owner()
        key = await self._gateway.retire_firm_key(firm_code)
        before: JsonObject = {"state": "active"}
        await self._teller.tell(context, "firm_key.retired", key, more={"boxes": list(held)}, before=before)
        return None

    async def _find_approved(self, context: StepContext) -> FirmKeyReport:
        """The key, which must be the one that two people meant.

        Raises:
            FirmKeyMissing, FirmKeyChanged: it is gone, or another one.
        """
        key = await self._keys.find(firm_code_of(context))
        if key.key_id not in (context.parameters["key_id"], rotated_key_id(context.operation)):
            raise FirmKeyChanged(
                "The key is another one than was approved.", firm_code=key.firm_code, key_id=key.key_id
            )
        return key


def firm_code_of(context: StepContext) -> int:
    """Which key it is about."""
    return cast(int, context.parameters["firm_code"])


def boxes_of(context: StepContext) -> list[str]:
    """The boxes that held the key when two people agreed on what is done to it."""
    return cast(list[str], context.parameters["boxes"])


def rotated_key_id(operation: Operation) -> str:
    """Always the same for an operation, so that a repeated step makes no second key. Pure."""
    return f"key_{operation.operation_id}"

"""What two people have done to an instance's firm key: copied, moved, rotated, retired."""

from __future__ import annotations

from typing import cast

from app.core.json import JsonObject
from fsb_gateway.report import FirmKeyReport
from tenancy.box import plan
from tenancy.box.key_mover import KeyMover
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
            OperationKind(plan=plan.RETIRE_FIRM_KEY, actions={"retire": self._retire}),
        )

    async def _copy(self, context: StepContext) -> NotYet | None:
        await self._keys.copy(context, firm_code_of(context), to=str(context.parameters["to"]))
        return None

    async def _undo_copy(self, context: StepContext) -> NotYet | None:
        to = str(context.parameters["to"])
        # What was there when it was asked for is none of this operation's doing.
        if to not in cast(list[str], context.parameters["boxes"]):
            key = await self._keys.find(firm_code_of(context))
            if to in key.boxes:
                await self._keys.drop(context, key.firm_code, box=to)
        return None

    async def _drop(self, context: StepContext) -> NotYet | None:
        await self._keys.drop(context, firm_code_of(context), box=str(context.parameters["from"]))
        return None

    async def _undo_drop(self, context: StepContext) -> NotYet | None:
        await self._keys.copy(context, firm_code_of(context), to=str(context.parameters["from"]))
        return None

    async def _rotate(self, context: StepContext) -> NotYet | None:
        await context.check_owner()
        key_id = rotated_key_id(context.operation)
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

    async def _retire(self, context: StepContext) -> NotYet | None:
        firm_code = firm_code_of(context)
        held = (await self._keys.find(firm_code)).boxes
        await context.check_owner()
        key = await self._gateway.retire_firm_key(firm_code)
        before: JsonObject = {"state": "active"}
        await self._teller.tell(context, "firm_key.retired", key, more={"boxes": list(held)}, before=before)
        return None


def firm_code_of(context: StepContext) -> int:
    """Which key it is about."""
    return cast(int, context.parameters["firm_code"])


def rotated_key_id(operation: Operation) -> str:
    """Always the same for an operation, so that a repeated step makes no second key. Pure."""
    return f"key_{operation.operation_id}"

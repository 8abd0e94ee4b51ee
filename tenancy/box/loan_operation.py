"""What is done about loans of boxes in steps: how they begin, and how they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import cast

from app.core.db import Tx
from tenancy.box import plan
from tenancy.box.box_change import BoxChanges, check_others_work
from tenancy.box.key_mover import KeyMover
from tenancy.box.key_plan import keys_foreign
from tenancy.box.port import BoxGateway
from tenancy.box.record import BoxRecord
from tenancy.operation.kind import NotYet, OperationKind, StepContext


class LoanOperations:
    """The steps of these operations. Each may be repeated, by itself or after being killed half-way.

    Args:
        boxes: changes them.
        gateway: says which keys they hold.
        keys: brings firm keys into boxes and out of them.
    """

    def __init__(self, boxes: BoxChanges, gateway: BoxGateway, keys: KeyMover) -> None:
        self._boxes = boxes
        self._gateway = gateway
        self._keys = keys

    def kinds(self) -> tuple[OperationKind, ...]:
        """What the runner needs."""
        return (
            OperationKind(
                plan=plan.LEND_BOX,
                actions={"copy_keys": self._copy_keys, "hand_over": self._hand_over},
                undo={"copy_keys": self._drop_foreign, "hand_over": self._close},
            ),
            OperationKind(
                plan=plan.END_LOAN,
                actions={
                    "take_back": self._take_back,
                    "drop_keys": self._drop_foreign,
                    "close": self._end,
                },
            ),
        )

    async def _copy_keys(self, context: StepContext) -> NotYet | None:
        await self._keys.copy_lacking(context, pool=str(context.parameters["to"]), to=context.object_id)
        return None

    async def _hand_over(self, context: StepContext) -> NotYet | None:
        pool, lasts = str(context.parameters["to"]), timedelta(hours=cast(int, context.parameters["hours"]))

        def check(tx: Tx, box: BoxRecord) -> None:
            if box.spec.lent_to is None and not context.parameters.get("force"):
                check_others_work(tx, box)

        def lend(tx: Tx, box: BoxRecord) -> BoxRecord:
            if box.spec.lent_to is not None:
                return box
            return replace(box, spec=replace(box.spec, lent_to=pool, lent_until=tx.now + lasts))

        await self._boxes.make(context, "box.lent", lend, check=check)
        return None

    async def _take_back(self, context: StepContext) -> NotYet | None:
        def end(tx: Tx, box: BoxRecord) -> BoxRecord:
            until = box.spec.lent_until
            if until is None or until <= tx.now:
                return box
            return replace(box, spec=replace(box.spec, lent_until=tx.now))

        await self._boxes.make(context, "box.taken_back", end)
        return None

    async def _drop_foreign(self, context: StepContext) -> NotYet | None:
        await self._keys.drop_all(context, await self._foreign(context), box=context.object_id)
        return None

    async def _end(self, context: StepContext) -> NotYet | None:
        """What staff have skipped, or came meanwhile, is still in the box: that is told."""
        await self._keys.tell_left(context, await self._foreign(context), box=context.object_id)
        return await self._close(context)

    async def _close(self, context: StepContext) -> NotYet | None:
        def close(_tx: Tx, box: BoxRecord) -> BoxRecord:
            return replace(box, spec=replace(box.spec, lent_to=None, lent_until=None))

        await self._boxes.make(context, "box.returned", close)
        return None

    async def _foreign(self, context: StepContext) -> Sequence[int]:
        record = await self._boxes.get(context.object_id)
        return keys_foreign(record, await self._gateway.firm_keys(), await self._keys.homes())

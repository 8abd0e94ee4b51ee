"""Firm keys on their way between boxes: what steps of operations do, each safe to repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from anyio import to_thread

from app.core.db import Database
from app.core.json import JsonObject
from fsb_gateway.error import FirmKeyMissing
from fsb_gateway.report import FirmKeyReport
from tenancy.box import repository
from tenancy.box.fact import find_report
from tenancy.box.key_plan import check_destination, check_held_elsewhere, keys_lacking
from tenancy.box.key_teller import KeyTeller
from tenancy.box.port import BoxGateway
from tenancy.box.record import KeyHome, check_state
from tenancy.operation.kind import StepContext


class KeyMover:
    """Copies keys into boxes and drops them there; they leave a box only wrapped to the other one.

    Args:
        db: the platform database.
        gateway: whose boxes they are.
        teller: writes each of them down.
    """

    def __init__(self, db: Database, gateway: BoxGateway, teller: KeyTeller) -> None:
        self._db = db
        self._gateway = gateway
        self._teller = teller

    async def homes(self) -> list[KeyHome]:
        """Where each instance's key belongs."""
        return await to_thread.run_sync(lambda: self._db.read(repository.list_key_homes))

    async def find(self, firm_code: int) -> FirmKeyReport:
        """A key as it is now.

        Raises:
            FirmKeyMissing: the gateway knows none of that firm code.
        """
        found = find_report(await self._gateway.firm_keys(), firm_code)
        if found is None:
            raise FirmKeyMissing("there is no key of this firm code", firm_code=firm_code)
        return found

    async def check_may_leave(self, codes: Sequence[int], *, box: str) -> None:
        """Refuse that keys leave a box, by what the gateway says now.

        Raises:
            BoxLast: one of them is in no other box of its own pool.
        """
        keys, homes = await self._gateway.firm_keys(), await self.homes()
        boxes = await to_thread.run_sync(lambda: self._db.read(repository.list_boxes))
        found = await self._gateway.boxes()
        check_held_elsewhere(box, codes, keys=keys, homes=homes, boxes=boxes, found=found)

    async def check_wanted(self, firm_code: int, *, box: str) -> None:
        """Refuse that a key is in a box, by what staff want at this moment.

        Raises:
            BoxUnknown, BoxStateUnfit, PoolForeign: jobs for it come there no more.
        """
        record = await to_thread.run_sync(lambda: self._db.read(lambda tx: repository.get_box(tx, box)))
        check_state(record, "active")
        for home in await self.homes():
            if home.firm_code == firm_code:
                check_destination(record, home, now=self._db.clock.now())

    async def copy(self, context: StepContext, firm_code: int, *, to: str) -> None:
        """Bring a key into a box."""
        await context.check_owner()
        key = await self._gateway.copy_firm_key(firm_code, to=to)
        await self._teller.tell(context, "firm_key.copied", key, more={"to": to, "boxes": list(key.boxes)})

    async def drop(self, context: StepContext, firm_code: int, *, box: str) -> None:
        """Destroy a key in a box; it stays in the others."""
        key = await self.find(firm_code)
        await context.check_owner()
        await self._gateway.drop_firm_key(firm_code, box=box)
        left = [name for name in key.boxes if name != box]
        await self._teller.tell(context, "firm_key.dropped", key, more={"from": box, "boxes": [*left]})

    async def copy_lacking(self, context: StepContext, *, pool: str, to: str) -> None:
        """Bring every key of a pool into a box, and note each in the operation's log."""
        keys = await self._gateway.firm_keys()
        lacking = keys_lacking(to, pool=pool, keys=keys, homes=await self.homes())
        active = {key.firm_code for key in keys if key.state == "active"}
        codes = [code for code in await self._settle(context, "copied", lacking) if code in active]
        for number, firm_code in enumerate(codes, start=1):
            await self.copy(context, firm_code, to=to)
            await context.note(f"Key of firm code {firm_code} copied, {number} of {len(codes)}.")

    async def drop_all(self, context: StepContext, codes: Sequence[int], *, box: str) -> None:
        """Destroy keys in a box, and note each in the operation's log."""
        known = {key.firm_code for key in await self._gateway.firm_keys()}
        chosen = [code for code in await self._settle(context, "dropped", codes) if code in known]
        for number, firm_code in enumerate(chosen, start=1):
            await self.drop(context, firm_code, box=box)
            await context.note(f"Key of firm code {firm_code} dropped, {number} of {len(chosen)}.")

    async def tell_left(self, context: StepContext, codes: Sequence[int], *, box: str) -> None:
        """Tell which keys stay in a box that nobody will look after any more, or that is not to have them."""
        for key in await self._gateway.firm_keys():
            if key.firm_code in codes:
                others = [name for name in key.boxes if name != box]
                await self._teller.tell(context, "firm_key.left", key, more={"from": box, "boxes": [*others]})
                await context.note(f"Key of firm code {key.firm_code} left in the box.")

    async def remember(self, context: StepContext, what: str, found: JsonObject) -> JsonObject:
        """What was found when an operation looked first; this, if it has not looked before."""
        op_id = f"firm_keys.{what}:{context.operation.operation_id}"
        answer = await to_thread.run_sync(
            lambda: self._db.run_tx(op_id, lambda _tx: found, origin=context.origin)
        )
        return answer.value

    async def _settle(self, context: StepContext, what: str, codes: Sequence[int]) -> list[int]:
        """Which keys a step is about: what it found at its first attempt, and what has come since.

        A repeat does those of the first attempt again, so that the one is told too that was done when it was killed.
        """
        operation = context.operation
        which = f"{what}.{operation.step.name}.{operation.state}"
        first = await self.remember(context, which, {"codes": [*codes]})
        return sorted({*cast(list[int], first["codes"]), *codes})

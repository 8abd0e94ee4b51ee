"""A vendor with a real gateway and a software box, for containers that need updates."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path

from app import cmcontainer
from app.core.clock import SystemClock
from app.core.ids import new_id
from fsb_gateway import (
    BoxSpec,
    Gateway,
    Keystore,
    ProgrammingJob,
    ProgrammingOperation,
    ProgrammingResult,
    ProgrammingStep,
    read_context,
)
from fsb_gateway.engine.embedded import embedded_boxes

FIRM_CODE = 6_000_010
INSTANCE = "ins_0199f0c2000070008000000000000001"


class Signer:
    """Programs one licence into any container."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clock = SystemClock()
        self.license_id = new_id("lic")
        self.template = asyncio.run(self._make_template())

    def _gateway(self) -> Gateway:
        keystore = Keystore(self._folder / "keys", clock=self._clock)
        make_box = embedded_boxes(self._folder, keystore, clock=self._clock)
        return Gateway(keystore, self._folder, clock=self._clock, make_box=make_box)

    async def _make_template(self) -> str:
        gateway = self._gateway()
        await gateway.ensure_box(BoxSpec(name="box-1", pool="pool"))
        await gateway.ensure_firm_key(INSTANCE, FIRM_CODE, pool="pool", algorithm="ES256")
        root = await gateway.root_certificate()
        await gateway.close()
        return cmcontainer.write_template(
            cmcontainer.Template(firm_code=FIRM_CODE, instance=INSTANCE, root_certificate=root)
        )

    def program(self, context_text: str) -> str:
        """The update that writes the licence into the context's container."""
        return asyncio.run(self._program(context_text))

    def fuc_of(self, receipt: str) -> int:
        """The counter in a context or receipt."""
        return read_context(receipt).fuc

    async def _program(self, context_text: str) -> str:
        context = read_context(context_text)
        gateway = self._gateway()
        await gateway.ensure_box(BoxSpec(name="box-1", pool="pool"))
        operation = ProgrammingOperation(
            op="add_product_item", license_id=self.license_id, generation=1, product={"product_code": 7}
        )
        job = ProgrammingJob(
            job_id="job_" + hashlib.sha256(context_text.encode()).hexdigest()[:32],
            instance_id=INSTANCE,
            pool="pool",
            firm_code=FIRM_CODE,
            container_serial=context.serial,
            container_key=context.encryption_key,
            base_fuc=context.fuc,
            context_digest=context.digest,
            steps=(ProgrammingStep(fuc=context.fuc + 1, operations=(operation,)),),
            deadline_at=self._clock.now() + timedelta(minutes=1),
        )
        result = await gateway.program(job, wait=timedelta(seconds=10))
        await gateway.close()
        assert isinstance(result, ProgrammingResult)
        return result.update

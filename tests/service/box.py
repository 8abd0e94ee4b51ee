"""Boxes in processes of their own, in a directory of the test's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509

from app.core.clock import SystemClock
from app.core.file import replace_file
from app.core.process import Supervised
from fsb_gateway.box import PROGRAM, BoxProcesses
from fsb_gateway.box_driver import BoxSpec, KeyBinding
from fsb_gateway.key.store import Keystore
from fsb_gateway.process.box_link import BoxLink
from fsb_gateway.process.frame import socket_path
from fsb_gateway.wire import encode_spec
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE

SECONDS = 30
LETHAL_PROGRAM = (sys.executable, "-P", str(Path(__file__).with_name("lethal_box.py")))
"""A box that dies at the point that stands in the file `die-at`; see there."""


class BoxHouse:
    """A data directory with keys, and what is needed to have boxes in it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.directory = data_dir / "boxes"
        (self.directory / "box").mkdir(parents=True, mode=0o700)
        self.clock = SystemClock()
        self.keystore = Keystore(self.directory / "keys", clock=self.clock)
        self.root: x509.Certificate = self.keystore.ensure_root()

    def write_spec(self, spec: BoxSpec) -> None:
        replace_file(self.directory / "box" / f"{spec.name}.json", encode_spec(spec))

    def journal(self, box: str = "box-1") -> Path:
        return self.directory / "journals" / f"{box}.journal"

    def processes(self, program: Sequence[str] = PROGRAM) -> BoxProcesses:
        return BoxProcesses(self.data_dir, clock=self.clock, log_level="warning", program=program)

    @asynccontextmanager
    async def at_work(
        self, spec: BoxSpec, *, program: Sequence[str] = PROGRAM, with_key: bool = True
    ) -> AsyncIterator[tuple[BoxLink, Supervised]]:
        """A box that works in a process of its own, and what looks after it."""
        self.write_spec(spec)
        processes = self.processes(program)
        box = processes.make_box(spec)
        try:
            await becomes_ready(box)
            if with_key:
                await self.give_key(box)
            yield box, processes.ensure(spec)
        finally:
            async with asyncio.timeout(SECONDS):
                await box.close()
                await processes.close()

    async def give_key(self, box: BoxLink, firm_code: int = FIRM_CODE) -> None:
        binding = key_binding(firm_code=firm_code)
        public_key = await box.generate_key(binding)
        await box.use_key(binding, self.keystore.issue(binding, public_key))

    def second_link(self, spec: BoxSpec) -> BoxLink:
        """Another gateway's connection to the box."""
        return BoxLink(spec, socket_path(self.directory, spec.name))


def key_binding(key_id: str = "key-1", *, firm_code: int = FIRM_CODE) -> KeyBinding:
    return KeyBinding(key_id=key_id, firm_code=firm_code, instance_id=INSTANCE, algorithm="ES256")


async def becomes_ready(box: BoxLink) -> None:
    await becomes(box, "ready")


async def becomes(box: BoxLink, state: str) -> None:
    """Wait until the box says so."""
    changed = asyncio.Event()
    box.on_change(changed.set)
    async with asyncio.timeout(SECONDS):
        while box.status().state != state:
            changed.clear()
            await changed.wait()


async def let_go(box: BoxLink) -> None:
    """What a gateway that is killed does to its connection."""
    box._task.cancel()
    await asyncio.wait([box._task])

"""A gateway with boxes that do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.core.clock import Clock
from fsb_gateway import BoxSpec, Gateway, JobPending, Keystore, ProgrammingResult
from tests.fake.box import FakeBox
from tests.service.wait import wait_until_async
from tests.unit.fsb_gateway.factory import make_job

LONG = timedelta(seconds=20)
NOW = timedelta(0)


class Stage:
    """A gateway in a folder, and its boxes by name.

    Attributes:
        options: how boxes are made, by name: what `FakeBox` takes.
    """

    def __init__(self, folder: Path, clock: Clock, *, queue_limit: int = 256) -> None:
        self.folder = folder
        self.clock = clock
        self.boxes: dict[str, FakeBox] = {}
        self.options: dict[str, dict[str, Any]] = {}
        self.gateway = Gateway(
            Keystore(folder / "keys", clock=clock),
            folder,
            clock=clock,
            make_box=self._make_box,
            queue_limit=queue_limit,
        )

    def _make_box(self, spec: BoxSpec) -> FakeBox:
        box = FakeBox(spec, **self.options.get(spec.name, {}))
        self.boxes[spec.name] = box
        return box

    async def add(self, name: str = "box-1", pool: str = "shared", **options: Any) -> FakeBox:
        """Set up a box; its options are those of `FakeBox` and `BoxSpec`."""
        own: dict[str, Any] = {key: options.pop(key) for key in ("keys", "state", "answer") if key in options}
        self.options[name] = own
        await self.gateway.ensure_box(BoxSpec(name=name, pool=pool, **options))
        return self.boxes[name]

    async def send(self, job_id: str, **changes: Any) -> ProgrammingResult | JobPending:
        """Send a job without waiting for it."""
        return await self.gateway.program(make_job(job_id, **changes), wait=NOW)

    async def result(self, job_id: str) -> ProgrammingResult:
        """Wait for a job's result."""
        outcome = await self.gateway.find(job_id, wait=LONG)
        assert isinstance(outcome, ProgrammingResult)
        return outcome

    async def pending(self, job_id: str) -> JobPending:
        """Where a job stands that is not finished."""
        outcome = await self.gateway.find(job_id)
        assert isinstance(outcome, JobPending)
        return outcome

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Let the gateway work until something is so."""
        await wait_until_async(condition, what)

    async def at_work(self, box: FakeBox, *job_ids: str) -> None:
        """Wait until a box has exactly these jobs."""
        await self.until(lambda: tuple(box.at_work) == job_ids, f"{box.spec.name} to have {job_ids}")


def play(stage: Stage, body: Callable[[], Awaitable[None]]) -> None:
    """Run a test's body and close the gateway."""

    async def main() -> None:
        try:
            await body()
        finally:
            await stage.gateway.close()

    asyncio.run(main())

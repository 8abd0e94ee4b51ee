"""Where the contract of runners is tried: processes of this machine, or values."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar

from app.core.clock import Clock, SystemClock
from app.core.ids import LineId
from tenancy.runner.kept_line import Patience
from tenancy.runner.local import LocalRunner
from tenancy.runner.port import LineSeen, LineSpec, LineState, Runner
from tests.fake.runner import FakeRunner, Machine
from tests.service.wait import until

STAND_IN = (sys.executable, "-P", "-m", "tests.service.stand_in_line")
QUICK = Patience(
    ask_every=timedelta(seconds=0.02),
    answer=timedelta(seconds=1),
    starting=timedelta(seconds=20),
    silent=timedelta(seconds=0.5),
    look_again=timedelta(seconds=0.1),
)
SOON = timedelta(seconds=20)
Site = TypeVar("Site", bound="RunnerSite")
Behaviour = Literal["crash", "hold", "deaf"]


@asynccontextmanager
async def cleared(site: Site) -> AsyncIterator[Site]:
    """A site that leaves nothing behind."""
    try:
        yield site
    finally:
        await site.clear()


class RunnerSite(ABC):
    """A runner and what its lines do."""

    runner: Runner

    def __init__(self, root: Path) -> None:
        self.root = root

    def spec(self, line_id: str = "acme-1") -> LineSpec:
        return LineSpec(line_id=LineId(line_id), directory=self.root / line_id)

    async def seen(self, line_id: str = "acme-1") -> LineSeen | None:
        return (await self.runner.observe()).get(LineId(line_id))

    async def begin(self) -> LineSeen:
        """The line wanted, and ready."""
        await self.runner.ensure(self.spec())
        return await self.becomes("ready")

    async def becomes(self, state: LineState, line_id: str = "acme-1") -> LineSeen:
        async def has_become() -> bool:
            found = await self.seen(line_id)
            return found is not None and found.state == state

        await until(has_become, f"{line_id} to be {state}", deadline=SOON)
        found = await self.seen(line_id)
        assert found is not None
        return found

    async def becomes_another(self, process_id: int | None) -> LineSeen:
        """The line, ready under another process than that one."""

        async def is_another() -> bool:
            found = await self.seen()
            return found is not None and found.state == "ready" and found.process_id != process_id

        await until(is_another, "another process", deadline=SOON)
        return await self.becomes("ready")

    @abstractmethod
    def say(self, what: Behaviour, *, on: bool = True, line_id: str = "acme-1") -> None:
        """What the line does from now on, or from its next start on."""

    @abstractmethod
    async def end_process(self, line_id: str = "acme-1") -> None:
        """Its process ends by itself."""

    @abstractmethod
    async def freeze(self, line_id: str = "acme-1") -> None:
        """Its process lives and does nothing."""

    @abstractmethod
    async def renew_runner(self) -> None:
        """The runner is closed, and another one begins."""

    @abstractmethod
    async def clear(self) -> None:
        """Leave nothing behind."""


class LocalSite(RunnerSite):
    """Processes.

    Args:
        root: the lines' directories are below it.
        program: what runs a line.
    """

    def __init__(
        self,
        root: Path,
        *,
        program: Sequence[str] = STAND_IN,
        patience: Patience = QUICK,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(root)
        self._made_of = program, patience, clock or SystemClock()
        self.runner = self._make()

    def _make(self) -> LocalRunner:
        program, patience, clock = self._made_of
        return LocalRunner(self.root, clock=clock, patience=patience, program=program)

    def say(self, what: Behaviour, *, on: bool = True, line_id: str = "acme-1") -> None:
        path = self.root / line_id / what
        if on:
            path.parent.mkdir(exist_ok=True, parents=True, mode=0o700)
            path.touch()
        else:
            path.unlink()

    async def end_process(self, line_id: str = "acme-1") -> None:
        os.kill(await self._pid(line_id), signal.SIGKILL)

    async def freeze(self, line_id: str = "acme-1") -> None:
        os.kill(await self._pid(line_id), signal.SIGSTOP)

    async def renew_runner(self) -> None:
        await self.runner.close()
        self.runner = self._make()

    async def clear(self) -> None:
        for line_id in await self.runner.observe():
            await self.runner.stop(line_id)
        await self.runner.close()

    async def _pid(self, line_id: str) -> int:
        found = await self.seen(line_id)
        assert found is not None
        assert found.process_id is not None
        return found.process_id


class FakeSite(RunnerSite):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.machine = Machine()
        self.fake = FakeRunner(self.machine)
        self.runner = self.fake

    def say(self, what: Behaviour, *, on: bool = True, line_id: str = "acme-1") -> None:
        name = LineId(line_id)
        if what == "crash":
            (self.fake.crashing.add if on else self.fake.crashing.discard)(name)
            return
        process = self.machine.processes[name]
        if what == "hold":
            process.has_request = on
        else:
            process.hears = not on
        self.fake.tell()

    async def end_process(self, line_id: str = "acme-1") -> None:
        self.fake.crash(LineId(line_id))

    async def freeze(self, line_id: str = "acme-1") -> None:
        self.machine.processes[LineId(line_id)].is_frozen = True

    async def renew_runner(self) -> None:
        await self.runner.close()
        self.runner = self.fake = FakeRunner(self.machine)

    async def clear(self) -> None:
        with suppress(asyncio.CancelledError):
            await self.runner.close()

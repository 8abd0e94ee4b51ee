"""A runner whose lines are values: what they do is said by the test."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from app.core.clock import Clock, SystemClock
from app.core.ids import LineId
from tenancy.runner.port import LineSeen, LineSpec

_FIRST_PAUSE = timedelta(seconds=0.1)
_LONGEST_PAUSE = timedelta(seconds=30)


@dataclass(slots=True)
class _Process:
    process_id: int
    has_request: bool = False
    hears: bool = True
    is_frozen: bool = False


class Machine:
    """What runs, whoever looks after it: a runner that is closed leaves it there."""

    def __init__(self) -> None:
        self.processes: dict[LineId, _Process] = {}
        self._last = 0

    def start(self, line_id: LineId) -> _Process:
        self._last += 1
        process = self.processes[line_id] = _Process(self._last)
        return process


class FakeRunner:
    """A `Runner`. Lines are ready at once; they fail when the test says so, and start again when it lets them.

    Args:
        crashing: lines that end as soon as they are started.
    """

    def __init__(self, machine: Machine | None = None, *, clock: Clock | None = None) -> None:
        self.machine = machine or Machine()
        self.crashing: set[LineId] = set()
        self.calls: list[tuple[str, LineId]] = []
        self._clock = clock or SystemClock()
        self._wanted: dict[LineId, LineSeen] = {}
        self._draining: set[LineId] = set()
        self._changed = asyncio.Event()

    async def ensure(self, spec: LineSpec) -> None:
        line_id = spec.line_id
        self.calls.append(("ensure", line_id))
        while line_id in self._draining:
            await self._wait()
        if line_id not in self._wanted:
            self._wanted[line_id] = LineSeen(line_id=line_id, state="starting")
            self._start(line_id)

    async def drain(self, line_id: LineId, *, within: timedelta) -> None:
        self.calls.append(("drain", line_id))
        process = self.machine.processes.get(line_id)
        self._wanted.pop(line_id, None)
        if process is None:
            return
        self._draining.add(line_id)
        try:
            async with asyncio.timeout(within.total_seconds()):
                while process.has_request or not process.hears or process.is_frozen:
                    await self._wait()
        except TimeoutError:
            pass
        finally:
            self._draining.discard(line_id)
            self.machine.processes.pop(line_id, None)
            self.tell()

    async def stop(self, line_id: LineId) -> None:
        self.calls.append(("stop", line_id))
        self._wanted.pop(line_id, None)
        self.machine.processes.pop(line_id, None)

    async def restart(self, line_id: LineId) -> None:
        self.calls.append(("restart", line_id))
        if line_id in self._wanted:
            self.machine.processes.pop(line_id, None)
            self._start(line_id)

    async def observe(self) -> Mapping[LineId, LineSeen]:
        for line_id, seen in list(self._wanted.items()):
            if seen.next_start_at is not None and seen.next_start_at <= self._clock.now():
                self._start(line_id)
        return {line_id: self._see(line_id) for line_id in sorted({*self._wanted, *self.machine.processes})}

    async def close(self) -> None:
        self._wanted.clear()

    def crash(self, line_id: LineId) -> None:
        """Its process ends by itself."""
        self.machine.processes.pop(line_id)
        before = self._wanted[line_id]
        pause = min(_FIRST_PAUSE * 2**before.restarts, _LONGEST_PAUSE)
        self._wanted[line_id] = replace(
            before,
            restarts=before.restarts + 1,
            next_start_at=self._clock.now() + pause,
            problem="exit status 3",
        )

    def complain(self, line_id: LineId, problem: str) -> None:
        """It goes on, and says what is wrong."""
        self._wanted[line_id] = replace(self._wanted[line_id], problem=problem)

    def tell(self) -> None:
        """What a line does has changed: whoever waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _start(self, line_id: LineId) -> None:
        self._wanted[line_id] = replace(self._wanted[line_id], next_start_at=None)
        if line_id not in self.machine.processes:
            self.machine.start(line_id)
            if line_id in self.crashing:
                self.crash(line_id)

    def _see(self, line_id: LineId) -> LineSeen:
        known = self._wanted.get(line_id, LineSeen(line_id=line_id, state="absent"))
        process = self.machine.processes.get(line_id)
        if process is None:
            return replace(known, state="waiting", process_id=None)
        if process.is_frozen:
            return replace(known, state="frozen", process_id=process.process_id)
        return replace(
            known,
            state="draining" if line_id in self._draining else "ready",
            process_id=process.process_id,
            running=int(process.has_request),
            applied=1,
        )

    async def _wait(self) -> None:
        await self._changed.wait()

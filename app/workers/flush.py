"""Writes counted web-service calls down within half a second of their answer, and fills the lines' stock up.

    wake(runtime) ──► busy ──due──► a task of its own (at most eight at once, one per runtime) ──► idle, or busy again

A database that is locked or damaged holds up its own instance only.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from anyio import CapacityLimiter, to_thread

from app.core.logging import bind
from app.operations.guard import carry_on
from app.operations.line import InstanceRuntime

_AT_ONCE: Final = 8
"""Runtimes flushed at the same time, in threads that are not those of requests. Our own decision."""
_AFTER_FAILURE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 1.0
"""Pause after a flush that failed, doubled up to this. Our own decision; callers who come in the meantime try it
themselves, see `CallMeter.begin`."""


class FlushWorker:
    """Knows which call meters have something to write, so that a thousand idle instances cost nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: set[InstanceRuntime] = set()
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        # Of the event loop alone.
        self._flushing: dict[InstanceRuntime, asyncio.Task[None]] = {}
        self._failures: dict[InstanceRuntime, int] = {}
        self._not_before: dict[InstanceRuntime, float] = {}

    def wake(self, runtime: InstanceRuntime) -> None:
        """Note that a runtime's meter has work; from any thread, returns at once."""
        with self._lock:
            self._busy.add(runtime)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self, stop: asyncio.Event) -> None:
        """Flush what is due, until told to stop. What is left then is written by `CallMeter.close`."""
        self._loop = asyncio.get_running_loop()
        threads = CapacityLimiter(_AT_ONCE)
        while not stop.is_set():
            self._woken.clear()
            pause: float | None = _AFTER_FAILURE_SECONDS
            with carry_on("flush_round_failed"):
                pause = self._start_due(threads)
            waiting = [asyncio.ensure_future(self._woken.wait()), asyncio.ensure_future(stop.wait())]
            await asyncio.wait(waiting, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
        await asyncio.gather(*self._flushing.values(), return_exceptions=True)

    def _start_due(self, threads: CapacityLimiter) -> float | None:
        """Start a flush of every meter that is due; returns the seconds until the next one is."""
        with self._lock:
            busy = [each for each in self._busy if each not in self._flushing]
        pauses: list[float] = []
        for runtime in busy:
            due_in = self._due_in(runtime)
            if due_in is None:
                self._drop_if_idle(runtime)
            elif due_in > 0:
                pauses.append(due_in)
            else:
                self._flushing[runtime] = asyncio.create_task(self._flush(runtime, threads))
        return min(pauses) if pauses else None

    def _due_in(self, runtime: InstanceRuntime) -> float | None:
        due_in = runtime.calls.due_in()
        if due_in is None:
            return None
        return max(due_in, self._not_before.get(runtime, 0.0) - runtime.clock.monotonic())

    def _drop_if_idle(self, runtime: InstanceRuntime) -> None:
        with self._lock:
            if runtime.calls.due_in() is None:
                self._busy.discard(runtime)
                self._note_success(runtime)

    async def _flush(self, runtime: InstanceRuntime, threads: CapacityLimiter) -> None:
        bind(instance=runtime.name, line=runtime.line_id)
        failed = True
        try:
            with carry_on("calls_not_flushed"):
                await to_thread.run_sync(runtime.calls.flush, limiter=threads)
                failed = False
        finally:
            (self._note_failure if failed else self._note_success)(runtime)
            del self._flushing[runtime]
            self._woken.set()

    def _note_success(self, runtime: InstanceRuntime) -> None:
        self._failures.pop(runtime, None)
        self._not_before.pop(runtime, None)

    def _note_failure(self, runtime: InstanceRuntime) -> None:
        failures = self._failures[runtime] = self._failures.get(runtime, 0) + 1
        pause = min(_LONGEST_PAUSE_SECONDS, _AFTER_FAILURE_SECONDS * 2.0 ** min(failures - 1, 10))
        self._not_before[runtime] = runtime.clock.monotonic() + pause

"""Writes counted web-service calls down within half a second of their answer, and fills the lines' stock up."""

from __future__ import annotations

import asyncio
import logging
import threading

from anyio import to_thread

from app.core.errors import DomainError
from app.operations.line import InstanceRuntime

_log = logging.getLogger(__name__)
_AFTER_FAILURE_SECONDS = 0.25


class FlushWorker:
    """Knows which call meters have something to write, so that a thousand idle instances cost nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: set[InstanceRuntime] = set()
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def wake(self, runtime: InstanceRuntime) -> None:
        """Note that a runtime's meter has work; from any thread, returns at once."""
        with self._lock:
            self._busy.add(runtime)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self, stop: asyncio.Event) -> None:
        """Flush what is due, until told to stop. What is left then is written by `CallMeter.close`."""
        self._loop = asyncio.get_running_loop()
        while not stop.is_set():
            self._woken.clear()
            pause = await self._flush_due()
            waiting = [asyncio.ensure_future(self._woken.wait()), asyncio.ensure_future(stop.wait())]
            await asyncio.wait(waiting, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()

    async def _flush_due(self) -> float | None:
        """Flush every meter that is due; returns the seconds until the next one is."""
        with self._lock:
            busy = list(self._busy)
        pauses: list[float] = []
        for runtime in busy:
            due_in = runtime.calls.due_in()
            if due_in is not None and due_in <= 0:
                due_in = await self._flush(runtime)
            if due_in is None:
                self._drop_if_idle(runtime)
            else:
                pauses.append(due_in)
        return min(pauses) if pauses else None

    def _drop_if_idle(self, runtime: InstanceRuntime) -> None:
        with self._lock:
            if runtime.calls.due_in() is None:
                self._busy.discard(runtime)

    async def _flush(self, runtime: InstanceRuntime) -> float | None:
        try:
            await to_thread.run_sync(runtime.calls.flush)
        except DomainError as error:
            _log.warning("calls_not_flushed", extra={"instance": runtime.instance_id, "code": error.code})
            return _AFTER_FAILURE_SECONDS
        return runtime.calls.due_in()

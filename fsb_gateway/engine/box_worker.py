"""A box at work in this process: the engine's threads behind the event loop's port."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from app.core.clock import Clock
from fsb_gateway.box_driver import BoxDriver, BoxSpec, KeyBinding, KeySlot
from fsb_gateway.box_port import ABLE, BoxStatus
from fsb_gateway.engine.box_engine import BoxEngine
from fsb_gateway.engine.box_job import Answer
from fsb_gateway.engine.box_keys import OpenDriver
from fsb_gateway.error import FsbError
from fsb_gateway.job import ProgrammingJob, ProgrammingResult

T = TypeVar("T")
_Waiting = asyncio.Future[Answer | None]


class BoxWorker:
    """A box in this process. Made, used and closed on one event loop."""

    def __init__(self, spec: BoxSpec, open_driver: OpenDriver, *, journal_path: Path, clock: Clock) -> None:
        """Begin to open keys and journal; `ready` follows when that is done, told by `on_change`."""
        self._loop = asyncio.get_running_loop()
        self._listeners: list[Callable[[], None]] = []
        # What the engine's threads have for the event loop: one wake-up for all that has come together.
        self._answers: list[tuple[_Waiting, Answer | None] | None] = []
        self._lock = threading.Lock()
        self._is_opened = asyncio.Event()
        self._engine = BoxEngine(
            spec, open_driver, journal_path=journal_path, clock=clock, changed=lambda: self._bring(None)
        )
        self._engine.start()

    @property
    def spec(self) -> BoxSpec:
        """What the box is."""
        return self._engine.spec

    def status(self) -> BoxStatus:
        """What the box has done."""
        return self._engine.status()

    @property
    def ready(self) -> bool:
        """Whether it can work: journal open, logged in."""
        return self._engine.state in ABLE

    async def opened(self) -> None:
        """Wait until the keys and the journal are open, or found not to be usable."""
        await self._is_opened.wait()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call this on the event loop whenever `ready`, the slots or the state may have changed."""
        self._listeners.append(listener)

    def slot(self, firm_code: int) -> KeySlot | None:
        """The key in use for a firm code."""
        return self._engine.slot(firm_code)

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes without a slot because their key cannot be opened."""
        return self._engine.unreadable

    def has_recorded(self, job_id: str) -> bool:
        """Whether its journal has a job."""
        return self._engine.has_recorded(job_id)

    async def recall(self, job_id: str, request: str | None = None) -> ProgrammingResult | None:
        """The recorded result of a job, byte for byte, or nothing. Waits for a job that the box is doing.

        Raises:
            JobIdReused: the id is recorded with another request digest.
            FsbUnavailable: the box cannot know, as its journal is damaged.
        """
        future: _Waiting = self._loop.create_future()
        self._engine.recall(job_id, request, lambda answer: self._bring((future, answer)))
        return _result(await future)

    async def program(self, job: ProgrammingJob, request: str) -> ProgrammingResult:
        """Carry out a job and record it; see `Box.program`.

        Raises:
            FirmKeyMissing, FirmCodeNotOwned, JobIdReused: refused.
            BoxDisconnected: the box lost its power over it; `recall` says the outcome when it is back.
            FsbUnavailable: nothing was handed out.
        """
        future: _Waiting = self._loop.create_future()
        self._engine.submit(job, request, lambda answer: self._bring((future, answer)))
        result = _result(await future)
        if result is None:
            raise RuntimeError("a box answers every job")
        return result

    async def reload(self) -> None:
        """Look for keys that were mended, log in again, open the journal again if the box stopped because of it."""
        await asyncio.wrap_future(self._engine.reload())

    async def configure(self, spec: BoxSpec) -> None:
        """Take over a changed specification, from the next job on."""
        await asyncio.wrap_future(self._engine.configure(spec))

    async def generate_key(self, binding: KeyBinding) -> bytes:
        """See `BoxDriver.generate`."""
        return await self._call(lambda driver: driver.generate(binding))

    async def use_key(self, binding: KeyBinding, chain: tuple[bytes, bytes]) -> None:
        """See `BoxDriver.use`; in effect from the next job on."""
        await self._call(lambda driver: driver.use(binding, chain))

    async def forget_key(self, firm_code: int, *, key_id: str | None = None, but: str | None = None) -> None:
        """See `BoxDriver.forget`, after the jobs at hand."""
        await self._call(lambda driver: driver.forget(firm_code, key_id=key_id, but=but))

    async def transport_key(self) -> bytes:
        """See `BoxDriver.transport_key`."""
        return await self._call(lambda driver: driver.transport_key())

    async def export_key(self, firm_code: int, key_id: str, *, to: bytes) -> bytes:
        """See `BoxDriver.export`."""
        return await self._call(lambda driver: driver.export(firm_code, key_id, to=to))

    async def import_key(self, binding: KeyBinding, wrapped: bytes, public_key: bytes) -> None:
        """See `BoxDriver.import_key`."""
        await self._call(lambda driver: driver.import_key(binding, wrapped, public_key))

    async def close(self) -> None:
        """Finish what it has, without the rest of the waiting time, and stop."""
        await asyncio.to_thread(self._engine.close)

    async def _call(self, action: Callable[[BoxDriver], T]) -> T:
        return await asyncio.wrap_future(self._engine.call(action))

    def _bring(self, answer: tuple[_Waiting, Answer | None] | None) -> None:
        """Hand an answer, or word of a change, to the event loop; from any thread."""
        with self._lock:
            self._answers.append(answer)
            if len(self._answers) > 1:
                return
        # A loop that is closed has nobody any more who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._lock:
            answers, self._answers = self._answers, []
        for answer in answers:
            if answer is not None:
                _settle(*answer)
        if None in answers:
            self._tell_change()

    def _tell_change(self) -> None:
        if self._engine.state != "starting":
            self._is_opened.set()
        for listener in self._listeners:
            listener()


def _settle(future: _Waiting, answer: Answer | None) -> None:
    """Answer whoever waits, unless he has gone away."""
    if future.done():
        return
    if isinstance(answer, FsbError):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _result(answer: Answer | None) -> ProgrammingResult | None:
    if isinstance(answer, FsbError):
        raise answer
    return answer

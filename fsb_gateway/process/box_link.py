"""A box in a process of its own, as the gateway sees it: a connection that comes back whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from fsb_gateway.box_driver import BoxSpec, KeyBinding, KeySlot
from fsb_gateway.box_port import ABLE, BoxState, BoxStatus
from fsb_gateway.carrier.socket_path import short_path
from fsb_gateway.engine.refusal import refusal
from fsb_gateway.error import BoxDisconnected, FsbError, FsbProtocolError
from fsb_gateway.job import ProgrammingJob, ProgrammingResult
from fsb_gateway.process.box_wire import Outstanding, Wire
from fsb_gateway.process.frame import (
    KNOWN_JOBS_MAX,
    PROTOCOL,
    Attach,
    Configure,
    ExportKey,
    ForgetKey,
    FromBox,
    GenerateKey,
    Identity,
    ImportKey,
    KeyCall,
    KnownJobs,
    Ping,
    Pong,
    Program,
    Programmed,
    Progress,
    Recall,
    Refused,
    Reload,
    SlotChange,
    TransportKey,
    UseKey,
    Value,
    read_refusal,
)
from fsb_gateway.process.pulse import Pulse
from fsb_gateway.wire import decode_result, encode_job, encode_spec

_log = logging.getLogger(__name__)

_BACK_OFF_SECONDS: Final = (0.01, 1.0)
# What a call may take beyond the time of its operations: a sync of a busy disk, a token that logs in again.
_GRACE_SECONDS: Final = 30.0
# Of a job of unknown size: a file holds about as many licences (`file_format.armour`).
_OPERATIONS_MAX: Final = 1000
# Making or moving an RSA key takes seconds, in a token tens of them.
_KEY_CALL_SECONDS: Final = 120.0
# A box whose process never came up within this time is no longer starting.
_STARTING_SECONDS: Final = 10.0


async def _nothing() -> None:
    """Nobody looks after the process."""


class BoxLink:
    """A box behind a Unix socket. Made, used and closed on one event loop."""

    def __init__(
        self,
        spec: BoxSpec,
        socket: Path,
        *,
        restart: Callable[[], None] = lambda: None,
        stop: Callable[[], Awaitable[object]] = _nothing,
        retry_at: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """Begin to connect.

        Args:
            restart: called when the process takes far longer than it can, or gives no sign of life.
            stop: called by `close`: lets the process finish what it has, and ends it.
            retry_at: says when the process, if it has ended, is started again.
        """
        self._spec = spec
        self._socket = socket
        self._restart = restart
        self._stop_process = stop
        self._retry_at = retry_at
        self._loop = asyncio.get_running_loop()
        self._listeners: list[Callable[[], None]] = []
        self._calls = itertools.count(1)
        self._outstanding = Outstanding(late=self._give_up)
        self._wire: Wire | None = None
        self._pulse: Pulse | None = None
        self._is_greeted = False
        self._is_attached = False
        self._is_closed = False
        self._slots: dict[int, KeySlot] = {}
        self._known: dict[str, None] = {}
        self._progress: Progress | None = None
        self._spec_there = b""
        self._starting_until = self._loop.time() + _STARTING_SECONDS
        self._task = self._loop.create_task(self._stay_connected())

    @property
    def spec(self) -> BoxSpec:
        """What the box is; its process takes it over as soon as it can be reached."""
        return self._spec

    def status(self) -> BoxStatus:
        """What the box said last."""
        last = self._progress
        return BoxStatus(
            name=self._spec.name,
            state=self._state(),
            jobs_done=last.jobs_done if last else 0,
            operations_done=last.operations_done if last else 0,
            busy_seconds=last.busy_seconds if last else 0.0,
            firm_codes=tuple(sorted(self._slots)),
            transactions_left=last.transactions_left if last else None,
            error=last.error if last else None,
            retry_at=self._retry_at(),
        )

    @property
    def ready(self) -> bool:
        """Whether it can work: connected, journal open, logged in."""
        return self._is_attached and self._progress is not None and self._progress.state in ABLE

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call this on the event loop whenever `ready`, the slots or the state may have changed."""
        self._listeners.append(listener)

    def slot(self, firm_code: int) -> KeySlot | None:
        """The key in use for a firm code."""
        return self._slots.get(firm_code)

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes without a slot because their key cannot be opened."""
        return frozenset(self._progress.unreadable) if self._progress else frozenset()

    def has_recorded(self, job_id: str) -> bool:
        """Whether the box has a job in its journal or under way, as far as it has said."""
        return job_id in self._known

    async def recall(self, job_id: str, request: str | None = None) -> ProgrammingResult | None:
        """The recorded result of a job, byte for byte, or nothing. Waits for a job that the box is doing.

        Raises:
            JobIdReused: the id is recorded with another request digest.
            BoxDisconnected: the box does not answer.
            FsbUnavailable: it cannot know, as its journal is damaged.
        """
        call = next(self._calls)
        answer = await self._ask(Recall(call, job_id, request), self._patience(_OPERATIONS_MAX))
        return decode_result(answer) if answer is not None else None

    async def program(self, job: ProgrammingJob, request: str) -> ProgrammingResult:
        """Carry out a job and record it; see `Box.program`.

        Raises:
            FirmKeyMissing, FirmCodeNotOwned, JobIdReused: refused.
            BoxDisconnected: the outcome is not known; `recall` says it when the box is back. Also after it took far
                longer than it can, and its process was ended: it may have recorded the job before.
            FsbUnavailable: nothing was handed out.
        """
        call = next(self._calls)
        answer = await self._ask(Program(call, request, encode_job(job)), self._patience(job.cost))
        if answer is None:
            raise FsbProtocolError("the box answered a job with nothing", box=self._spec.name)
        self._know(job.job_id)
        return decode_result(answer)

    async def reload(self) -> None:
        """Look for keys that were mended, log in again, open the journal again if the box stopped because of it."""
        await self._ask(Reload(next(self._calls)), _KEY_CALL_SECONDS)

    async def configure(self, spec: BoxSpec) -> None:
        """Take over a changed specification, from the next job on; a box that is away does so when it is back."""
        self._spec = spec
        if self._is_attached:
            with contextlib.suppress(BoxDisconnected):
                await self._ask(Configure(next(self._calls), encode_spec(spec)), _KEY_CALL_SECONDS)

    async def generate_key(self, binding: KeyBinding) -> bytes:
        """See `BoxDriver.generate`."""
        return await self._ask_value(GenerateKey(next(self._calls), binding))

    async def use_key(self, binding: KeyBinding, chain: tuple[bytes, bytes]) -> None:
        """See `BoxDriver.use`; in effect from the next job on."""
        await self._ask(UseKey(next(self._calls), binding, chain), _KEY_CALL_SECONDS)

    async def forget_key(self, firm_code: int, *, key_id: str | None = None, but: str | None = None) -> None:
        """See `BoxDriver.forget`, after the jobs at hand."""
        await self._ask(ForgetKey(next(self._calls), firm_code, key_id, but), _KEY_CALL_SECONDS)

    async def transport_key(self) -> bytes:
        """See `BoxDriver.transport_key`."""
        return await self._ask_value(TransportKey(next(self._calls)))

    async def export_key(self, firm_code: int, key_id: str, *, to: bytes) -> bytes:
        """See `BoxDriver.export`."""
        return await self._ask_value(ExportKey(next(self._calls), firm_code, key_id, to))

    async def import_key(self, binding: KeyBinding, wrapped: bytes, public_key: bytes) -> None:
        """See `BoxDriver.import_key`."""
        call = ImportKey(next(self._calls), binding, wrapped, public_key)
        await self._ask(call, _KEY_CALL_SECONDS)

    async def close(self) -> None:
        """Let the box finish what it has, without the rest of the waiting time, and stop its process."""
        self._is_closed = True
        await self._stop_process()
        await self._outstanding.finished()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def _state(self) -> BoxState:
        if self._is_closed and not self._is_attached:
            return "closed"
        if self._is_attached and self._progress is not None:
            return self._progress.state
        never_seen = self._progress is None and self._loop.time() < self._starting_until
        return "starting" if never_seen else "disconnected"

    def _patience(self, cost: int) -> float:
        """The longest that a call with so many operations may take."""
        return self._pace(cost) + _GRACE_SECONDS

    def _pace(self, operations: int) -> float:
        return operations * self._spec.operation_time.total_seconds() * (1 + self._spec.jitter)

    async def _ask_value(self, message: KeyCall) -> bytes:
        value = await self._ask(message, _KEY_CALL_SECONDS)
        if value is None:
            raise FsbProtocolError("the box answered with nothing", box=self._spec.name)
        return value

    async def _ask(
        self, message: Program | Recall | Reload | Configure | KeyCall, seconds: float
    ) -> bytes | None:
        wire = self._wire
        if self._is_closed:
            raise refusal(self._spec.name, "closed")
        if wire is None or not self._is_attached:
            raise self._away()
        future = self._outstanding.add(message.call, seconds)
        try:
            wire.send(message)
        except FsbError:
            self._outstanding.drop(message.call)
            raise
        return await future

    def _away(self) -> BoxDisconnected:
        return BoxDisconnected(f"box {self._spec.name} does not answer", box=self._spec.name)

    def _give_up(self) -> None:
        """The call that is at the front takes too long: its process has stopped. What it has done, it says later."""
        _log.error("box %s takes far longer than it can; its process is started again", self._spec.name)
        self._restart()
        if self._wire is not None:
            self._wire.drop()
        self._lose()

    def _know(self, job_id: str) -> None:
        self._known[job_id] = None
        if len(self._known) > KNOWN_JOBS_MAX:
            del self._known[next(iter(self._known))]

    async def _stay_connected(self) -> None:
        pause, longest = _BACK_OFF_SECONDS
        while True:
            if await self._connect_once():
                pause = _BACK_OFF_SECONDS[0]
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _connect_once(self) -> bool:
        """Connect, and stay until the connection is lost; whether the box was reached."""
        lost = asyncio.Event()
        # Known before it is connected: a box says who it is at once, perhaps before this goes on.
        wire = self._wire = Wire(self._hear, lost.set)
        try:
            await self._loop.create_unix_connection(lambda: wire, short_path(self._socket))
        except OSError:
            self._wire = None
            return False
        hello = self._loop.call_later(_GRACE_SECONDS, self._check_attached)
        self._pulse = Pulse(self._ping, silent=self._find_silent)
        try:
            await lost.wait()
        finally:
            hello.cancel()
            self._pulse.stop()
            wire.drop()
            was_attached = self._is_attached
            self._lose()
        return was_attached

    def _check_attached(self) -> None:
        """A box says what it is as soon as it is attached to; one that does not is of no use."""
        if not self._is_attached and self._wire is not None:
            _log.error("box %s does not say that it is there; its process is started again", self._spec.name)
            self._restart()
            self._wire.drop()

    def _ping(self) -> None:
        """One that has not said who it is owes that; and one of another version would not understand."""
        if self._is_greeted and self._wire is not None:
            self._wire.send(Ping())

    def _find_silent(self) -> None:
        """The process stands still, whatever its device does; one that is being stopped is left to end."""
        if self._wire is None or self._is_closed:
            return
        _log.error("box %s gives no sign of life; its process is started again", self._spec.name)
        self._restart()
        self._wire.drop()
        self._lose()

    def _lose(self) -> None:
        self._wire, self._is_attached, self._is_greeted = None, False, False
        self._outstanding.fail_all(self._away())
        self._tell_change()

    def _hear(self, message: FromBox) -> None:
        if self._pulse is not None:
            self._pulse.heard()
        match message:
            case Pong():
                pass
            case Programmed():
                self._progress = message.progress
                self._outstanding.answer(message.call, message.result)
            case Value():
                self._outstanding.answer(message.call, message.value)
            case Refused():
                self._outstanding.fail(message.call, read_refusal(message))
            case Identity():
                self._attach(message)
            case _:
                self._learn(message)

    def _learn(self, news: KnownJobs | SlotChange | Progress) -> None:
        if isinstance(news, KnownJobs):
            for job_id in news.ids:
                self._know(job_id)
        elif isinstance(news, SlotChange):
            self._slots.update((slot.firm_code, slot) for slot in news.put)
            for firm_code in news.gone:
                self._slots.pop(firm_code, None)
        else:
            self._take_progress(news)

    def _attach(self, identity: Identity) -> None:
        if self._wire is None:
            return
        if (identity.protocol, identity.box) != (PROTOCOL, self._spec.name):
            _log.error("another box, or another version, listens at the socket of box %s", self._spec.name)
            self._wire.drop()
            return
        # What the box had said before counts until it speaks again, which it does at once.
        self._slots, self._known = {}, {}
        self._spec_there = identity.spec
        self._is_greeted = True
        self._wire.send(Attach())

    def _take_progress(self, progress: Progress) -> None:
        """The first one ends what a box says when its gateway attaches."""
        is_first, self._is_attached = not self._is_attached, True
        self._progress = progress
        if is_first:
            # What a former gateway gave the box comes first, and takes its time.
            self._outstanding.expect_later(self._pace(progress.under_way))
            self._catch_up()
        self._tell_change()

    def _catch_up(self) -> None:
        """Tell the box what it is by now, before it is given anything."""
        wanted = encode_spec(self._spec)
        if self._wire is not None and wanted != self._spec_there:
            call = next(self._calls)
            self._outstanding.add(call, _KEY_CALL_SECONDS)
            self._wire.send(Configure(call, wanted))

    def _tell_change(self) -> None:
        for listener in self._listeners:
            listener()

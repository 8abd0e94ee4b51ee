"""A line as a process of its own.

    starting ──files read, sockets open──► ready ──SIGTERM, POST /v1/drain──► draining ──► ended (0)
                                                                                 │ a second signal: at once
    draining: /readyz 503 ► requests are served until the front has noticed ► no new connection ► what runs ends
              ► counted calls written, rights given back

A kill at any point loses nothing: transfers are in their databases, rights in the line's lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from anyio import to_thread

from app.core.clock import Clock, SystemClock
from app.core.errors import DomainError
from app.core.ids import InstanceId
from app.core.lock import make_private, take_lock
from app.core.process_limit import limit_process
from app.core.quiet_server import QuietServer
from app.http.entrance import TrustedFrontDoor, make_server
from app.http.instance_app import make_instance_app
from app.http.line_api import create_line_api
from app.http.line_door import LineDoor
from app.http.request_gate import RequestGate
from app.http.trace import TraceLayer
from app.line_part import LinePart
from app.operations.guard import carry_on
from app.workers import FlushWorker, Loop, run_loop
from fsb_gateway.carrier.listener import private_socket
from tenancy.line_file import FRONT_SOCKET, PRIVATE_SOCKET, LineFile, read_line
from tenancy.line_status import LineStatus, ServingState

_FOLLOW_EVERY_SECONDS: Final = 0.5
"""What control changes is known here within a second."""
_SWEEP_EVERY_SECONDS: Final = 2.0
_FORGET_EVERY_SECONDS: Final = 3600.0
_ENDS_WITHIN: Final = timedelta(seconds=40)
"""A caller waits 25 s for a slow box at most; the rest is for the front to notice and for writing down."""
_NOTICED_AFTER: Final = 3
"""Check intervals without a request after which the front has noticed: one until the first check that fails, one until
the second, one for its time limit."""
_LONGEST_NOTICE: Final = 20
"""Check intervals; whoever sends requests all the same is no front that asks for health. Our own decision."""
_LAST_SECONDS: Final = 1.0
"""Without a request, after which nobody has one left to send on a connection that he made before the socket lost its
name. Our own decision: many times what a busy machine makes a front wait between the two."""
_STEP_SECONDS: Final = 0.02
_WRITES_WITHIN_SECONDS: Final = 5.0
"""For counted calls, once nothing runs any more. Our own decision."""
_AT_ONCE_SECONDS: Final = 1.0
"""What "at once" leaves for writing down; a kill would lose nothing that is older than that. Our own decision."""

_log = logging.getLogger(__name__)


class LineRunning(DomainError):
    """Another process serves this line."""

    code = "line_running"


class LineProcess:
    """One run of `wops line`. For one event loop.

    Args:
        directory: the line's own.
    """

    def __init__(self, directory: Path, *, clock: Clock | None = None) -> None:
        self._directory = directory.resolve()
        self._clock = clock or SystemClock()
        self._told, self._at_once = asyncio.Event(), asyncio.Event()
        self._is_listening = self._is_signalled = False
        self._deadline = float("inf")
        self._parts: _Parts | None = None

    def signal(self) -> None:
        """End in an orderly way; a second time: at once."""
        if self._is_signalled:
            self._at_once.set()
        self._is_signalled = True
        self.drain(_ENDS_WITHIN)

    def drain(self, within: timedelta) -> None:
        """Be unready, finish what runs and end, in this time at most; whoever wants it soonest decides."""
        self._deadline = min(self._deadline, self._clock.monotonic() + within.total_seconds())
        self._told.set()

    async def run(self, tell: Callable[[], None]) -> bool:
        """Serve until told to end; False: not everything could be written down in time.

        Args:
            tell: called once, when requests are answered.

        Raises:
            LineRunning: another process serves this line.
            LineFileError, InputInvalid: what control has written cannot be used.
            OSError: the directory or a socket cannot be used.
        """
        make_private(self._directory)
        try:
            lock = take_lock(self._directory)
        except BlockingIOError:
            raise LineRunning(f"Another process serves the line in {self._directory}.") from None
        try:
            line = read_line(self._directory)
            limit_process(memory_mb=line.limits.memory_mb, open_files=line.limits.open_files)
            to_thread.current_default_thread_limiter().total_tokens = line.limits.threads
            return await self._run(line, tell)
        finally:
            os.close(lock)

    @property
    def state(self) -> ServingState:
        """How the line is."""
        if self._told.is_set():
            return "draining"
        is_ready = self._is_listening and self._parts is not None and self._parts.line.table.applied
        return "ready" if is_ready else "starting"

    def status(self) -> LineStatus:
        """Everything that it says of itself."""
        line, gate = self._serving.line, self._serving.gate
        opened, transfers = line.open_instances()
        return LineStatus(
            line=line.line_id,
            process_id=os.getpid(),
            started_at=line.started_at,
            state=self.state,
            applied=line.table.applied,
            running=gate.running,
            instances=len(line.table),
            open_instances=opened,
            open_transfers=transfers,
            problem=line.table.problem,
        )

    async def settle(self, instance_id: InstanceId) -> bool:
        """See `LinePart.settle`."""
        return await self._serving.line.settle(instance_id)

    async def forget(self, instance_id: InstanceId) -> None:
        """See `LinePart.forget`."""
        await self._serving.line.forget(instance_id)

    @property
    def _serving(self) -> _Parts:
        if self._parts is None:
            raise RuntimeError("the line does not run")
        return self._parts

    async def _run(self, file: LineFile, tell: Callable[[], None]) -> bool:
        parts = self._parts = self._build(file)
        with carry_on("instances_not_applied"):
            await parts.line.follow()
        work = _Work(parts, self._directory)
        try:
            await work.listening()
            self._is_listening = True
            tell()
            ended = await work.until(self._told)
            if not ended:
                await self._drain(work, file.check_interval_seconds)
        finally:
            for name in (FRONT_SOCKET, PRIVATE_SOCKET):
                (self._directory / name).unlink(missing_ok=True)
        is_written = await self._write_down(work)
        if ended:
            raise RuntimeError(f"ended without being asked to: {', '.join(ended)}")
        return is_written

    def _build(self, file: LineFile) -> _Parts:
        clock, flusher = self._clock, FlushWorker()
        line = LinePart(self._directory, file, clock=clock, wake=flusher.wake)
        app = make_instance_app(
            clock, cursor_key=file.cursor_key, root_certificate=line.gateway.root_certificate
        )
        door = LineDoor(line.line_id, app, find=line.find, state=lambda: self.state, clock=clock)
        gate = RequestGate(TrustedFrontDoor(TraceLayer(door, clock=clock)), clock=clock)
        # None: how long what runs may go on when the line ends is decided here.
        front = make_server(gate, grace_seconds=None)
        private = make_server(create_line_api(self, clock=clock))
        return _Parts(line=line, gate=gate, flusher=flusher, front=front, private=private)

    async def _drain(self, work: _Work, interval: float) -> None:
        """Serve on until the front has noticed, then finish what runs."""
        gate, began = self._serving.gate, self._clock.monotonic()
        gate.closing = True
        latest = began + min(_LONGEST_NOTICE * interval, (self._deadline - began) / 2)
        _log.info("line_drains", extra={"running": gate.running})
        await self._until_quiet(began, _NOTICED_AFTER * interval, latest)
        # Without its name nobody finds the socket; who is in its queue already is still served.
        (self._directory / FRONT_SOCKET).unlink(missing_ok=True)
        latest = min(latest + 2 * _LAST_SECONDS, self._deadline)
        await self._until_quiet(self._clock.monotonic(), _LAST_SECONDS, latest)
        self._serving.front.should_exit = True
        last = self._deadline - min(_WRITES_WITHIN_SECONDS, (self._deadline - began) / 4)
        await self._in_time(work.front, last)
        gate.abandon()
        await asyncio.wait({work.front}, timeout=_AT_ONCE_SECONDS / 2)
        self._serving.front.force_exit = True

    async def _until_quiet(self, began: float, seconds: float, latest: float) -> None:
        """Until no request has come for so long, or it is late, or somebody wants the end at once."""
        gate = self._serving.gate
        while (now := self._clock.monotonic()) < latest and not self._at_once.is_set():
            if now - max(began, gate.last_at) >= seconds:
                return
            await asyncio.sleep(_STEP_SECONDS)

    async def _write_down(self, work: _Work) -> bool:
        """End everything else; False: not in time."""
        ending = asyncio.create_task(work.end())
        latest = max(self._deadline, self._clock.monotonic() + _WRITES_WITHIN_SECONDS)
        await self._in_time(ending, latest, _AT_ONCE_SECONDS)
        if ending.done():
            ending.result()
        else:
            _log.error("line_not_written_down")
        _log.info("line_ended", extra={"is_written": ending.done()})
        return ending.done()

    async def _in_time(self, task: asyncio.Task[None], latest: float, at_once: float = 0.0) -> None:
        """Wait for a task, not beyond a time; once somebody wants the end at once, so many seconds more."""
        asked = asyncio.create_task(self._at_once.wait())
        within = max(0.0, latest - self._clock.monotonic())
        await asyncio.wait({task, asked}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not task.done() and self._at_once.is_set():
            await asyncio.wait({task}, timeout=at_once)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What a running line is made of."""

    line: LinePart
    gate: RequestGate
    flusher: FlushWorker
    front: QuietServer
    private: QuietServer


class _Work:
    """What goes on in a line's process: two servers, loops, the flusher."""

    def __init__(self, parts: _Parts, directory: Path) -> None:
        self._parts = parts
        self._loops_end, self._flushing_ends = asyncio.Event(), asyncio.Event()
        line = parts.line
        self.front = _serve(parts.front, directory / FRONT_SOCKET)
        self._private = _serve(parts.private, directory / PRIVATE_SOCKET)
        loops = (
            Loop("follow", line.follow, _FOLLOW_EVERY_SECONDS, waits_first=True),
            Loop("sweep", line.sweep, _SWEEP_EVERY_SECONDS),
            Loop("forget", line.forget_operations, _FORGET_EVERY_SECONDS, waits_first=True),
        )
        self._loops = [asyncio.create_task(run_loop(loop, self._loops_end), name=loop.name) for loop in loops]
        self._flushing = asyncio.create_task(parts.flusher.run(self._flushing_ends), name="flush")

    async def listening(self) -> None:
        """Wait until both sockets are served, or one has failed."""
        opened = [
            asyncio.create_task(each.listening.wait()) for each in (self._parts.front, self._parts.private)
        ]
        for each, task in zip(opened, (self.front, self._private), strict=True):
            await asyncio.wait({each, task}, return_when=asyncio.FIRST_COMPLETED)
            each.cancel()

    async def until(self, told: asyncio.Event) -> list[str]:
        """Wait until told to end, or a part has ended by itself; returns the names of those."""
        asked = asyncio.create_task(told.wait())
        parts = (self.front, self._private, *self._loops, self._flushing)
        await asyncio.wait({asked, *parts}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        # Half a line would take calls that nobody writes down: rather none, which the runner starts again.
        return [] if told.is_set() else [part.get_name() for part in parts if part.done()]

    async def end(self) -> None:
        """End all of it and write down what is in memory; the flusher ends last."""
        self._parts.line.stopping.set()
        for server in (self._parts.front, self._parts.private):
            server.should_exit = True
        self._loops_end.set()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._flushing_ends.set()
        await asyncio.gather(self._flushing, return_exceptions=True)
        await self._parts.line.close()
        await asyncio.gather(self.front, self._private, return_exceptions=True)


def _serve(server: QuietServer, path: Path) -> asyncio.Task[None]:
    return asyncio.create_task(server.serve(sockets=[private_socket(path)]), name=path.name)

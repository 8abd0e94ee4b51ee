"""A line as a process of its own.

    starting ──files read, sockets open──► ready ──SIGTERM, POST /v1/drain──► draining ──► ended (0)
                                                                                 │ a second signal: at once
    draining: /readyz 503 ► what runs and what still comes is served ► out of the front (`line_drain`)
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
from app.line_drain import Ending, LineDrain, SocketName
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
        self._ending = Ending(self._clock)
        self._is_listening = False
        self._parts: _Parts | None = None

    def signal(self) -> None:
        """End in an orderly way; a second time: at once."""
        self._ending.signal()

    def drain(self, within: timedelta) -> None:
        """Be unready, finish what runs and end, in this time at most; whoever wants it soonest decides."""
        self._ending.tell(within)

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
        if self._ending.told.is_set():
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
        with carry_on("denied_not_applied"):
            await parts.line.follow_denied()
        names = [SocketName(self._directory / each) for each in (FRONT_SOCKET, PRIVATE_SOCKET)]
        for each in names:
            each.remove()
        work = _Work(parts, self._directory)
        try:
            await work.listening()
            self._is_listening = True
            tell()
            ended = await work.until(self._ending.told)
            if not ended:
                await self._drain(work, names[0], interval=file.check_interval_seconds)
        finally:
            for each in names:
                each.remove()
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
        door = LineDoor(
            line.line_id,
            app,
            find=line.find,
            state=lambda: self.state,
            refuse_denied=line.denied.refuse,
            clock=clock,
        )
        gate = RequestGate(TrustedFrontDoor(TraceLayer(door, clock=clock)), clock=clock)
        # None: how long what runs may go on when the line ends is decided here.
        front = make_server(gate, grace_seconds=None)
        private = make_server(create_line_api(self, clock=clock))
        return _Parts(line=line, gate=gate, flusher=flusher, front=front, private=private)

    async def _drain(self, work: _Work, name: SocketName, *, interval: float) -> None:
        """Leave the front, then finish what runs."""
        gate, front, ending = self._serving.gate, self._serving.front, self._ending
        _log.info("line_drains", extra={"running": gate.running})
        await LineDrain(gate, name, ending, interval=interval, clock=self._clock).leave()
        front.should_exit = True
        await ending.until(work.front.done, ending.requests)
        gate.abandon()
        await asyncio.wait({work.front}, timeout=_AT_ONCE_SECONDS / 2)
        front.force_exit = True

    async def _write_down(self, work: _Work) -> bool:
        """End everything else; False: not in time."""
        writing, latest = asyncio.create_task(work.end()), self._ending.writes()
        if not await self._ending.until(writing.done, lambda: latest):
            await asyncio.wait({writing}, timeout=_AT_ONCE_SECONDS)
        if writing.done():
            writing.result()
        else:
            _log.error("line_not_written_down")
        _log.info("line_ended", extra={"is_written": writing.done()})
        return writing.done()


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
            Loop("denied", line.follow_denied, _FOLLOW_EVERY_SECONDS, waits_first=True),
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

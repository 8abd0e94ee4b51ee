"""Processes that are kept running: those of boxes, and the gateway's own. The only place that starts and signals them.

    start ──► adopt one that is there already, or start one ──► ended ──► pause (0.1 s … 30 s) ──► again

A process is signalled through a descriptor of it (pidfd), never by a number that may be another's by now. Boxes'
processes outlive a gateway that is killed; the next gateway finds them at their sockets. Lines are kept running by the
same means (`tenancy.runner`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from app.core.clock import Clock
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.carrier.socket_path import short_path
from fsb_gateway.error import FsbProtocolError
from fsb_gateway.process.box_link import BoxLink
from fsb_gateway.process.frame import PROTOCOL, FrameBuffer, Identity, decode_from_box, socket_path
from fsb_gateway.process.process_identity import start_ticks

_log = logging.getLogger(__name__)

# -P: modules are not looked for in whatever directory this is.
PROGRAM: Final = (sys.executable, "-P", "-m", "app.cli", "fsb", "box")
_PAUSE_SECONDS: Final = (0.1, 30.0)
# A process that worked for so long did not end because of how it was started.
_LIVED_SECONDS: Final = 10.0
# A box finishes what it has, at most some seconds of programming; then it is killed: its journal has what was done.
_STOP_GRACE: Final = timedelta(seconds=10)
# A process accepts at once, unless it has stopped.
_ASK_SECONDS: Final = 5.0
# **Source:** unix(7): `struct ucred` is pid, uid, gid.
_CREDENTIALS = struct.Struct("3i")
# Children that were let go: as long as they are known here, nobody complains that they still run.
_RELEASED: Final[list[subprocess.Popen[bytes]]] = []


class Process:
    """A living process, one of ours or one that was adopted."""

    def __init__(self, descriptor: int, pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self._descriptor = descriptor
        self._child = child
        self._ended = asyncio.Event()
        self.pid = pid
        asyncio.get_running_loop().add_reader(descriptor, self._notice_end)

    @classmethod
    def start(cls, command: Sequence[str], *, log_file: Path | None = None) -> Process:
        """Start a program in a session of its own.

        Args:
            log_file: gets its standard error; without it, that goes where this process's own goes.

        Raises:
            OSError: it cannot be started.
        """
        nowhere = subprocess.DEVNULL
        with contextlib.ExitStack() as stack:
            log = None if log_file is None else stack.enter_context(log_file.open("ab"))
            child = subprocess.Popen(
                command, stdin=nowhere, stdout=nowhere, stderr=log, start_new_session=True
            )
        # Nobody has waited for it yet, so that the number is its own.
        return cls(os.pidfd_open(child.pid), child.pid, child)

    async def ended(self) -> int | None:
        """Wait until it has ended; its exit status if it was ours, negative for a signal."""
        await self._ended.wait()
        return None if self._child is None else self._child.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    async def stop(self, grace: timedelta) -> None:
        """Ask it to end; kill it if it has not after a while."""
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._ended.wait(), grace.total_seconds())
        except TimeoutError:
            _log.warning("process %d does not end; it is killed", self.pid)
            self.signal(signal.SIGKILL)
            await self._ended.wait()

    def release(self) -> None:
        """Look at it no longer: it goes on, and whoever adopts it next has it."""
        if not self._ended.is_set():
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._ended.set()
            if self._child is not None:
                _RELEASED.append(self._child)

    def _notice_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        if self._child is not None:
            self._child.wait()
        self._ended.set()


class Supervised:
    """One program that is kept running, from `start` to `stop`. Used on one event loop."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        clock: Clock,
        adopt: Callable[[], Awaitable[Process | None]] | None = None,
        log_file: Path | None = None,
    ) -> None:
        """Not running yet.

        Args:
            name: for the log.
            command: program and arguments; seen by everybody on this machine, so no secrets.
            adopt: gives a process that does this already, if there is one.
            log_file: gets its standard error; without it, that goes where this process's own goes.
        """
        self._name = name
        self._log_file = log_file
        self._command = command
        self._clock = clock
        self._adopt = adopt
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.restarts = 0
        self.retry_at: datetime | None = None
        self.ended_with: int | None = None

    @property
    def pid(self) -> int | None:
        """The number of the process that runs now."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Keep it running from now on; safe to repeat."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def kill(self) -> None:
        """End it without asking; it is started again."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    def restart(self) -> None:
        """End it without asking and start it anew at once, also while it waits for its next start."""
        self._at_once.set()
        self.kill()

    async def finish(self, within: timedelta) -> None:
        """Start it no more, and wait a while until it has ended by itself."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=within.total_seconds())

    async def release(self) -> None:
        """Look after it no longer: it goes on as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._process is not None:
            self._process.release()
            self._process = None

    async def stop(self, grace: timedelta = _STOP_GRACE) -> None:
        """End it, and start it no more; safe to repeat."""
        self._stopping.set()
        if self._process is not None:
            await self._process.stop(grace)
        if self._task is not None:
            await self._task

    async def _keep(self) -> None:
        pause = _PAUSE_SECONDS[0]
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            await self._run_once()
            if self._stopping.is_set():
                return
            if self._clock.monotonic() - began >= _LIVED_SECONDS:
                pause = _PAUSE_SECONDS[0]
            if not self._at_once.is_set():
                await self._pause(pause)
                pause = min(2 * pause, _PAUSE_SECONDS[1])
                self.restarts += 1
            self._at_once.clear()

    async def _run_once(self) -> None:
        adopted = await self._adopt() if self._adopt else None
        if adopted is None and self._stopping.is_set():
            return
        try:
            self._process = adopted or Process.start(self._command, log_file=self._log_file)
        except OSError:
            _log.exception("%s cannot be started", self._name)
            return
        if self._stopping.is_set():
            # `stop` came while there was no process to stop.
            await self._process.stop(_STOP_GRACE)
        self.ended_with = status = await self._process.ended()
        self._process = None
        if not self._stopping.is_set():
            extra = {"exit_status": status, "restarts": self.restarts}
            _log.error("%s has ended; it is started again", self._name, extra=extra)

    async def _pause(self, seconds: float) -> None:
        self.retry_at = self._clock.now() + timedelta(seconds=seconds)
        waits = [asyncio.ensure_future(each.wait()) for each in (self._stopping, self._at_once)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        self.retry_at = None


class BoxProcesses:
    """The processes of the boxes in one directory. Used on one event loop."""

    def __init__(
        self,
        data_dir: Path,
        *,
        clock: Clock,
        log_level: str | None = None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """None are looked after yet.

        Args:
            data_dir: the boxes are in `boxes` below it.
            program: what runs a box; it is given the box's name and the data directory.
        """
        self._data_dir = data_dir.resolve()
        self._directory = self._data_dir / "boxes"
        self._clock = clock
        self._log_level = log_level
        self._program = program
        self._kept: dict[str, Supervised] = {}

    def make_box(self, spec: BoxSpec) -> BoxLink:
        """A box in a process of its own. Its specification lies in `box/<name>.json` already, or soon."""
        kept = self.ensure(spec)
        return BoxLink(
            spec,
            socket_path(self._directory, spec.name),
            restart=kept.kill,
            stop=lambda: self.stop(spec.name),
            retry_at=lambda: kept.retry_at,
        )

    def ensure(self, spec: BoxSpec) -> Supervised:
        """Keep a box's process running: the one that is there already, or a new one. Safe to repeat."""
        kept = self._kept.get(spec.name)
        if kept is None:
            path = socket_path(self._directory, spec.name)
            kept = self._kept[spec.name] = Supervised(
                f"box {spec.name}",
                self._command(spec.name),
                clock=self._clock,
                adopt=lambda: find_process(path, spec.name),
            )
            kept.start()
        return kept

    async def stop(self, name: str) -> None:
        """End a box's process, and start it no more."""
        kept = self._kept.pop(name, None)
        if kept is not None:
            await kept.stop()

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*(self.stop(name) for name in list(self._kept)))

    def _command(self, name: str) -> tuple[str, ...]:
        level = () if self._log_level is None else ("--log-level", self._log_level)
        return (*self._program, name, "--data-dir", str(self._data_dir), *level)


async def find_process(path: Path, box: str) -> Process | None:
    """The living process of a box, if one listens at its socket.

    One of another version is ended, one that hangs is killed: it would not hear that it is to end.
    """
    listening = await asyncio.to_thread(_ask, path, box)
    if listening is None:
        return None
    descriptor, pid, state = listening
    process = Process(descriptor, pid)
    if state == "usable":
        return process
    _log.warning("the process of box %s is of another version, or hangs; it is ended", box)
    await process.stop(timedelta(0) if state == "silent" else _STOP_GRACE)
    return None


def _ask(path: Path, box: str) -> tuple[int, int, Literal["usable", "other", "silent"]] | None:
    """Who listens: a descriptor of the process, its number, and whether it can be adopted."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ASK_SECONDS)
        try:
            connection.connect(short_path(path))
            descriptor, pid = open_peer(connection)
        except (OSError, OverflowError):
            return None
        try:
            identity = _read_identity(connection)
            # It has answered after the descriptor was opened: the number was still its own.
            if (identity.pid, identity.started) == (pid, start_ticks(pid)):
                is_usable = (identity.protocol, identity.box) == (PROTOCOL, box)
                return descriptor, pid, "usable" if is_usable else "other"
        except TimeoutError:
            if is_connected(connection):
                return descriptor, pid, "silent"
        except (OSError, FsbProtocolError):
            pass
        os.close(descriptor)
        return None


def _read_identity(connection: socket.socket) -> Identity:
    """What the box says first.

    Raises:
        OSError, FsbProtocolError: it says something else, nothing, or goes away.
    """
    buffer = FrameBuffer()
    while received := connection.recv(65_536):
        for body in buffer.feed(received):
            message = decode_from_box(body)
            if isinstance(message, Identity):
                return message
            raise FsbProtocolError("the box does not say who it is")
    raise ConnectionResetError("the box hung up")


def open_peer(connection: socket.socket) -> tuple[int, int]:
    """Who listens at the other end of a Unix socket: a descriptor of that process, and its number.

    Unless it answers, or `is_connected`, after that, the number may have been another's by the time it was opened.

    Raises:
        OSError, OverflowError: it has ended.
    """
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid = _CREDENTIALS.unpack(found)[0]
    return os.pidfd_open(pid), pid


def is_connected(connection: socket.socket) -> bool:
    """Whether the process at the other end still lives, though it says nothing."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return not poll.poll(0)

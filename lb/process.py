"""HAProxy's processes: checked before they read a configuration, started, kept running, and ended.

    start ──► adopt the master of this directory, or start one ──► ended ──► pause (0.1 s … 30 s) ──► again

A master outlives whoever looks after it; the next one finds it by its socket. A process is signalled through a
descriptor of it (pidfd), never by a number that may be another's by now.
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
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Final

from app.core.clock import Clock
from lb.errors import excerpt
from lb.front.settings import FrontSettings

_log = logging.getLogger(__name__)

CHECK_WITHIN: Final = timedelta(seconds=20)
"""Ten times what 500 instances of two lines may take."""
_PAUSE_SECONDS: Final = (0.1, 30.0)
_LIVED_SECONDS: Final = 10.0
"""A process that worked for so long did not end because of how it was started."""
_STOP_WITHIN: Final = timedelta(seconds=10)
_ASK_SECONDS: Final = 2.0
_ASK_AGAIN_SECONDS: Final = 0.05
_OUTPUT_BYTES: Final = 64 * 1024
# **Source:** unix(7): `struct ucred` is pid, uid, gid.
_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What HAProxy says of a configuration; `output` is bounded."""

    ok: bool
    output: str


def check_configuration(program: str, path: Path, *, within: timedelta = CHECK_WITHIN) -> CheckResult:
    """Have HAProxy read a configuration without starting; blocking.

    It tells whether HAProxy would start, not whether the configuration is harmless.

    Raises:
        OSError: the program cannot be started.
    """
    try:
        done = subprocess.run(
            (program, "-c", "-f", str(path)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=within.total_seconds(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return CheckResult(ok=False, output=f"no outcome within {within.total_seconds():g} s")
    output = excerpt(done.stdout[-_OUTPUT_BYTES:].decode(errors="replace"))
    return CheckResult(ok=done.returncode == 0, output=output)


class HaproxyProcess:
    """HAProxy of one front, kept running from `start` to `stop`. Used on one event loop.

    The front has a release by then (`Front.prepare`).
    """

    def __init__(self, settings: FrontSettings, *, clock: Clock, log_file: Path | None = None) -> None:
        """Not running yet.

        Args:
            log_file: gets what HAProxy and its access log write to standard output and standard error; None: both
                go where this process's standard error goes.
        """
        self._settings = settings
        self._clock = clock
        self._log_file = log_file
        self._process: _Process | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The master that runs now."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Keep it running from now on; safe to repeat. It answers at its sockets some moments later."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self, *, within: timedelta = _STOP_WITHIN) -> None:
        """Let it finish what runs, end it, and start it no more; safe to repeat."""
        self._stopping.set()
        if self._process is not None:
            await self._process.stop(within)
        if self._task is not None:
            await self._task

    async def leave(self) -> None:
        """Look after it no longer; it goes on, and the next one adopts it."""
        self._stopping.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._process is not None:
            self._process.forget()
            self._process = None

    async def _keep(self) -> None:
        pause = _PAUSE_SECONDS[0]
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            await self._run_once()
            if self._stopping.is_set():
                return
            if self._clock.monotonic() - began >= _LIVED_SECONDS:
                pause = _PAUSE_SECONDS[0]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, _PAUSE_SECONDS[1])
            self.restarts += 1

    async def _run_once(self) -> None:
        try:
            self._process = await self._adopt() or self._start()
        except OSError:
            _log.exception("HAProxy cannot be started", extra={"front": self._settings.name})
            return
        if self._stopping.is_set():
            # `stop` came while there was no process to stop.
            await self._process.stop(_STOP_WITHIN)
        status = await self._process.ended()
        self._process = None
        if not self._stopping.is_set():
            extra = {"front": self._settings.name, "exit_status": status, "restarts": self.restarts}
            _log.error("HAProxy has ended; it is started again", extra=extra)

    async def _adopt(self) -> _Process | None:
        """The master that is there; one that starts anew, as with every reload, listens some moments later."""
        until = self._clock.monotonic() + _ASK_SECONDS
        while True:
            found = await asyncio.to_thread(_listening, self._settings)
            if found is not None:
                return _Process(*found)
            is_there = await asyncio.to_thread(_is_anywhere, self._settings)
            if not is_there or self._stopping.is_set() or self._clock.monotonic() >= until:
                return None
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    def _start(self) -> _Process:
        """Start a master with a worker, in a session of its own.

        Raises:
            OSError: it cannot be started.
        """
        with contextlib.ExitStack() as stack:
            output: IO[bytes] | None = None
            if self._log_file is not None:
                output = stack.enter_context(self._log_file.open("ab"))
            child = subprocess.Popen(
                start_command(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # Nobody has waited for it yet, so that the number is its own.
        return _Process(os.pidfd_open(child.pid), child.pid, child)


def start_command(settings: FrontSettings) -> Sequence[str]:
    """What HAProxy is started with: master and worker, the master's socket for its owner only."""
    return (
        settings.haproxy,
        *("-W", "-S", f"{settings.master_socket},mode,600"),
        *("-f", str(settings.configuration)),
    )


class _Process:
    """A living master, one of ours or one that was adopted."""

    def __init__(self, descriptor: int, pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self._descriptor = descriptor
        self._child = child
        self._ended = asyncio.Event()
        self.pid = pid
        asyncio.get_running_loop().add_reader(descriptor, self._notice_end)

    async def ended(self) -> int | None:
        """Wait until it has ended; its exit status if it was ours, negative for a signal."""
        await self._ended.wait()
        return None if self._child is None else self._child.returncode

    async def stop(self, within: timedelta) -> None:
        """Let it finish (SIGUSR1); end it, then kill it, if it takes too long. A master takes its workers along."""
        for number, seconds in ((signal.SIGUSR1, within.total_seconds()), (signal.SIGTERM, 2.0)):
            self._signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), seconds)
                return
        _log.warning("HAProxy (process %d) does not end; it is killed", self.pid)
        self._signal(signal.SIGKILL)
        await self._ended.wait()

    def forget(self) -> None:
        """Let go of it; it goes on."""
        if not self._ended.is_set():
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            if self._child is not None:
                # Not waited for here: it becomes the init process's when this one ends.
                self._child.returncode = 0

    def _signal(self, number: signal.Signals) -> None:
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def _notice_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        if self._child is not None:
            self._child.wait()
        self._ended.set()


def _listening(settings: FrontSettings) -> tuple[int, int] | None:
    """Who listens at a front's master socket, if it has this front's files: a descriptor of it, and its number."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ASK_SECONDS)
        try:
            connection.connect(str(settings.master_socket))
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid = _CREDENTIALS.unpack(raw)[0]
            descriptor = os.pidfd_open(pid)
        except (OSError, OverflowError):
            return None
    # It lives afterwards, so that the number was its own when its words were read.
    if _has_files_of(settings, pid) and not select.select([descriptor], [], [], 0)[0]:
        return descriptor, pid
    os.close(descriptor)
    return None


def _is_anywhere(settings: FrontSettings) -> bool:
    """Whether some process has this front's files."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return any(_has_files_of(settings, pid) for pid in pids)


def _has_files_of(settings: FrontSettings, pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"-W" in words and os.fsencode(settings.configuration) in words

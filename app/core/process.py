"""Programs as processes: started, found again, kept running, signalled and ended. Nobody else starts or signals one.

    start ──► adopt one that is there already, or start one ──► ended ──► pause (0.1 s … 30 s) ──► again

Each has a session of its own, so that no terminal's signal reaches it, and may outlive whoever looks after it: the next
one finds it (`adopt`). A process is signalled through a descriptor of it (pidfd), never by a number that may be
another's by now.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Final

from app.core.clock import Clock
from app.core.process_identity import has_members

_log = logging.getLogger(__name__)

WOPS: Final = (sys.executable, "-P", "-m", "app.cli")
"""Our own program. -P: modules are not looked for in whatever directory this is."""
_LIVED_SECONDS: Final = 10.0
"""A process that worked for so long did not end because of how it was started."""
_STOP_GRACE: Final = timedelta(seconds=10)
"""A box finishes what it has, at most some seconds of programming; then it is killed: its journal has what was done."""
_TERM_GRACE: Final = timedelta(seconds=2)
"""For one that has had its time to finish."""
_GROUP_ENDS_WITHIN: Final = timedelta(milliseconds=300)
"""Others of a group hear of the first one's death and say goodbye: keepalived's within 2 ms, measured."""
_LOOK_EVERY_SECONDS: Final = 0.005
_ERROR_OUTPUT: Final = 2
_RELEASED: Final[list[subprocess.Popen[bytes]]] = []
"""Children that were let go: as long as they are known here, nobody complains that they still run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a program is started and ended.

    Attributes:
        log_file: gets its standard error; None: that goes where this process's own goes.
        keeps_output: its standard output goes there, too; otherwise nowhere.
        finish: tells it to finish what it has; SIGTERM follows if that takes too long. None: SIGTERM is all.
        ends_group: what is left of its process group is ended with it.
        pauses: in seconds, before it is started again; the first one doubles up to the second.
    """

    log_file: Path | None = None
    keeps_output: bool = False
    finish: signal.Signals | None = None
    ends_group: bool = False
    pauses: tuple[float, float] = (0.1, 30.0)


_PLAIN: Final = Manner()


class Process:
    """A living process, one of ours or one that was adopted. For one event loop."""

    def __init__(
        self,
        descriptor: int,
        pid: int,
        child: subprocess.Popen[bytes] | None = None,
        *,
        manner: Manner = _PLAIN,
    ) -> None:
        """It is looked at from now on.

        Args:
            descriptor: of the process (pidfd); this object's from now on.
        """
        self._descriptor = descriptor
        self._child = child
        self._manner = manner
        self._ended = asyncio.Event()
        self._ending_group: asyncio.Task[None] | None = None
        self.pid = pid
        asyncio.get_running_loop().add_reader(descriptor, self._notice_end)

    @classmethod
    def start(cls, command: Sequence[str], manner: Manner = _PLAIN) -> Process:
        """Start a program in a session of its own.

        Raises:
            OSError: it cannot be started.
        """
        with contextlib.ExitStack() as stack:
            log: IO[bytes] | None = None
            if manner.log_file is not None:
                log = stack.enter_context(manner.log_file.open("ab"))
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=(log or _ERROR_OUTPUT) if manner.keeps_output else subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        try:
            # Nobody has waited for it yet, so that the number is its own.
            return cls(os.pidfd_open(child.pid), child.pid, child, manner=manner)
        except OSError:
            # No descriptor is left: nobody could look after it.
            child.kill()
            child.wait()
            raise

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
        finish = self._manner.finish
        asked = [] if finish is None else [(finish, grace)]
        for number, within in (*asked, (signal.SIGTERM, _TERM_GRACE if asked else grace)):
            self.signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), within.total_seconds())
                return
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
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._descriptor)
        if self._manner.ends_group:
            self._ending_group = loop.create_task(self._end_group())
        else:
            self._let_go()

    async def _end_group(self) -> None:
        """It is not waited for before: as long as it is a zombie, its number and that of its group are its own."""
        try:
            async with asyncio.timeout(_GROUP_ENDS_WITHIN.total_seconds()):
                # Nobody tells of the end of a process that is not a child of one's own.
                while has_members(self.pid):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_EVERY_SECONDS)
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._let_go()

    def _let_go(self) -> None:
        os.close(self._descriptor)
        if self._child is not None:
            self._child.wait()
        self._ended.set()


class Supervised:
    """One program that is kept running, from `start` to `stop`. For one event loop.

    Attributes:
        restarts: how often it has ended by itself, or could not be started.
        retry_at: when it is started again; None unless it waits.
        ended_with: exit status of the last one that ended, negative for a signal.
        problem: why the last one ended, or did not start, for people; None: none has.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        clock: Clock,
        manner: Manner = _PLAIN,
        adopt: Callable[[], Awaitable[Process | None]] | None = None,
        clean_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Not running yet.

        Args:
            name: for the log.
            command: program and arguments; seen by everybody on this machine, so no secrets.
            adopt: gives a process that does this already, if there is one.
            clean_up: done before each start and after each end.
        """
        self._name = name
        self._command = command
        self._clock = clock
        self._manner = manner
        self._adopt = adopt
        self._clean_up = clean_up
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._may_start = True
        self._grace = _STOP_GRACE
        self.restarts = 0
        self.retry_at: datetime | None = None
        self.ended_with: int | None = None
        self.problem: str | None = None

    @property
    def pid(self) -> int | None:
        """The number of the process that runs now."""
        return None if self._process is None else self._process.pid

    @property
    def was_not_found(self) -> bool:
        """Whether only one that is there already was to be kept, and there was none."""
        return self._task is not None and self._task.done() and not self._may_start

    def start(self, *, only_found: bool = False) -> None:
        """Keep it running from now on; safe to repeat.

        Args:
            only_found: one that is there already; if there is none, none is started, unless this is called again.
        """
        begins = self._task is None or self.was_not_found
        if begins or not only_found:
            self._may_start = not only_found
        if begins:
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
        self._grace = grace
        self._stopping.set()
        if self._process is not None:
            await self._process.stop(grace)
        if self._task is not None:
            await self._task

    async def _keep(self) -> None:
        shortest, longest = self._manner.pauses
        pause = shortest
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            await self._run_once()
            if self._stopping.is_set() or not self._may_start:
                return
            if self._clock.monotonic() - began >= _LIVED_SECONDS:
                pause = shortest
            if not self._at_once.is_set():
                await self._pause(pause)
                pause = min(2 * pause, longest)
                self.restarts += 1
            self._at_once.clear()

    async def _run_once(self) -> None:
        try:
            self._process = await self._find_or_start()
        except Exception as error:
            # Whatever it is, and be it in `adopt`: the next try comes, and somebody can read why.
            self.problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
            _log.exception("%s cannot be started", self._name)
            return
        if self._process is None:
            return
        self._may_start = True
        if self._at_once.is_set():
            # `restart` came while it was looked for: the one that was found is not meant.
            self.kill()
        if self._stopping.is_set():
            # `stop` came while there was no process to stop.
            await self._process.stop(self._grace)
        self.ended_with = status = await self._process.ended()
        self._process = None
        self.problem = _described(status)
        try:
            await self._cleaned_up()
        except Exception:
            _log.exception("what %s has left cannot be cleaned up", self._name)
        if not self._stopping.is_set():
            extra = {"exit_status": status, "restarts": self.restarts}
            _log.error("%s has ended; it is started again", self._name, extra=extra)

    async def _find_or_start(self) -> Process | None:
        """None: told to stop before there was one, or not to start one."""
        adopted = await self._adopt() if self._adopt else None
        if adopted is not None or self._stopping.is_set() or not self._may_start:
            return adopted
        await self._cleaned_up()
        process = Process.start(self._command, self._manner)
        # Whoever wanted a new one meanwhile has it; its own end is one by itself.
        self._at_once.clear()
        return process

    async def _cleaned_up(self) -> None:
        if self._clean_up is not None:
            await self._clean_up()

    async def _pause(self, seconds: float) -> None:
        self.retry_at = self._clock.now() + timedelta(seconds=seconds)
        waits = [asyncio.ensure_future(each.wait()) for each in (self._stopping, self._at_once)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        self.retry_at = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a program that ran to its end.

    Attributes:
        status: its exit status, negative for a signal; None: it took too long, and was killed.
        output: the end of what it wrote, to standard error, too.
    """

    status: int | None
    output: bytes


def run_program(command: Sequence[str], *, within: timedelta, output_bytes: int = 64 * 1024) -> Outcome:
    """Run a program to its end; blocking.

    Raises:
        OSError: it cannot be started.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=within.total_seconds(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return Outcome(status=None, output=(error.output or b"")[-output_bytes:])
    return Outcome(status=done.returncode, output=done.stdout[-output_bytes:])


def _described(status: int | None) -> str | None:
    if status is None:
        return None
    return f"signal {-status}" if status < 0 else f"exit status {status}"

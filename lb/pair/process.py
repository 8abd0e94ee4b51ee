"""Keeping keepalived running where systemd does not: as its unit says, so that its end leaves no address behind.

stopped ──start──► running ──ended, however──► rest of its group ended, addresses taken away ──pause──► running
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Final

from app.core.clock import Clock
from lb.pair.keepalived import forget_commands
from lb.pair.settings import PairSettings

_log = logging.getLogger(__name__)
_PAUSE_SECONDS: Final = (0.2, 5.0)
_LIVED_SECONDS: Final = 10.0
"""Who has worked for so long begins with the shortest pause again."""
_GROUP_ENDS_WITHIN: Final = timedelta(milliseconds=300)
"""Its processes hear of the first one's death and say goodbye to the other load balancer: 2 ms, measured."""
_STOP_WITHIN: Final = timedelta(seconds=5)
_POLL_SECONDS: Final = 0.005


class KeepalivedProcess:
    """Keeps keepalived of one of the two running from `start` to `stop`. Used on one event loop; needs root.

    Attributes:
        restarts: how often it has ended by itself.
    """

    def __init__(self, settings: PairSettings, name: str, *, clock: Clock, log_file: Path) -> None:
        """Not running yet; its files are there by the time it is started.

        Raises:
            PairNodeUnknown: `name` is neither of the two.
        """
        self._settings = settings
        self._node = settings.node(name)
        self._clock = clock
        self._log_file = log_file
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Its first process; None while it does not run."""
        return None if self._child is None else self._child.pid

    async def start(self) -> None:
        """Keep it running from now on; safe to repeat."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """Have it give the addresses to the other one and end, and start it no more; safe to repeat."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _keep(self) -> None:
        pause = _PAUSE_SECONDS[0]
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            await self._run_once()
            if self._stopping.is_set():
                return
            self.restarts += 1
            _log.error("keepalived has ended; it is started again", extra={"restarts": self.restarts})
            if self._clock.monotonic() - began >= _LIVED_SECONDS:
                pause = _PAUSE_SECONDS[0]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, _PAUSE_SECONDS[1])

    async def _run_once(self) -> None:
        await self._forget_addresses()
        try:
            self._child = child = self._start()
        except OSError:
            _log.exception("keepalived cannot be started")
            return
        ended = asyncio.Event()
        descriptor = os.pidfd_open(child.pid)
        loop = asyncio.get_running_loop()
        # Noticed, and not waited for: as long as it is a zombie, its number and that of its group are its own.
        loop.add_reader(descriptor, ended.set)
        try:
            await self._until(ended, descriptor)
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            await self._end_group(child.pid)
            child.wait()
            self._child = None
            await self._forget_addresses()

    async def _until(self, ended: asyncio.Event, descriptor: int) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (ended, self._stopping)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if ended.is_set():
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(descriptor, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _STOP_WITHIN.total_seconds())
                return

    def _start(self) -> subprocess.Popen[bytes]:
        settings, directory = self._settings, self._settings.directory
        command = (str(settings.keepalived), "--dont-fork", "--log-console", "--log-detail", "--vrrp")
        files = {
            "--use-file": settings.configuration,
            "--pid": directory / "keepalived.pid",
            "--vrrp_pid": directory / "vrrp.pid",
        }
        options = (text for option, path in files.items() for text in (option, str(path)))
        with self._log_file.open("ab") as log:
            return subprocess.Popen(
                (*command, *options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _end_group(self, group: int) -> None:
        end = self._clock.monotonic() + _GROUP_ENDS_WITHIN.total_seconds()
        # Nobody tells of the end of a process that is not a child of one's own.
        while _members(group) and self._clock.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        os.killpg(group, signal.SIGKILL)

    async def _forget_addresses(self) -> None:
        for command in forget_commands(self._settings, self._node):
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, timeout=10, check=False
            )
            if done.returncode == 0:
                _log.warning("a shared address was left behind; it is taken away", extra={"command": command})


def _members(group: int) -> list[int]:
    """Processes of a group that live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # **Source:** proc_pid_stat(5): number, name in brackets, state, parent, group.
            state, _parent, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found

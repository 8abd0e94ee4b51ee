"""The master of HAProxy's processes: who they are, and reloads."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

from app.core.clock import Clock, SystemClock
from lb.errors import HaproxyRejected, HaproxyReloadFailed, HaproxyUnavailable
from lb.stats.channel import DEFAULT_TIMEOUT, Channel, lines_of
from lb.stats.reading import read_processes, understood
from lb.stats.row import Processes

RELOAD_TIMEOUT: Final = timedelta(seconds=30)
_PAUSE_SECONDS: Final = 0.01


class MasterSocket:
    """The socket of `haproxy -W -S <path>`; a connection per command. Threads may share it."""

    def __init__(
        self, path: Path, *, timeout: timedelta = DEFAULT_TIMEOUT, clock: Clock | None = None
    ) -> None:
        self.path = path
        self._clock = clock or SystemClock()
        self._channel = Channel(path=path, timeout=timeout, clock=self._clock, ends_input=True)

    def show_version(self) -> str:
        """The version of the program."""
        answer = self._channel.ask("show", "version")
        lines = lines_of(answer, "show version")
        if len(lines) != 1 or not lines[0][:1].isdigit():
            raise HaproxyRejected("show version", answer)
        return lines[0]

    def show_proc(self) -> Processes:
        """The master, its workers, and old ones that finish what they have."""
        answer = self._channel.ask("show", "proc")
        if not answer.startswith("#<PID>"):
            raise HaproxyRejected("show proc", answer)
        return understood("show proc", answer, lambda: read_processes(lines_of(answer, "show proc")))

    def reload(self, *, timeout: timedelta = RELOAD_TIMEOUT) -> Processes:
        """Have the configuration read again and wait for the outcome; who runs then.

        Open connections are finished by the old workers. HAProxy 2.6 closes the connection without an answer and starts
        the master anew, whose socket is gone for a moment; the number of reloads tells that it is back. A master with
        another process number was started meanwhile, and has read the configuration, too.

        Raises:
            HaproxyReloadFailed: the configuration was refused; the workers there were go on.
            HaproxyUnavailable: no outcome was seen in time.
        """
        before = self.show_proc()
        self._send_reload()
        until = self._clock.monotonic() + timeout.total_seconds()
        while (now := self._reloaded(before)) is None:
            if self._clock.monotonic() >= until:
                raise HaproxyUnavailable(
                    "HAProxy did not come back from its reload in time", command="reload"
                )
            self._clock.sleep(_PAUSE_SECONDS)
        if now.failed_reloads > 0 or not _has_new_worker(before, now):
            raise HaproxyReloadFailed("reload", "the configuration was refused, the old workers go on")
        return now

    def _send_reload(self) -> None:
        answer = self._channel.ask("reload", may_be_empty=True)
        if answer.strip("\n"):
            raise HaproxyRejected("reload", answer)

    def _reloaded(self, before: Processes) -> Processes | None:
        try:
            now = self.show_proc()
        except HaproxyUnavailable:
            return None
        is_other = now.master.pid != before.master.pid or now.master.reloads > before.master.reloads
        return now if is_other and now.workers else None


def _has_new_worker(before: Processes, now: Processes) -> bool:
    known = {process.pid for process in (*before.workers, *before.old_workers)}
    return any(worker.pid not in known for worker in now.workers)

"""HAProxy's processes: checked before they read a configuration, started, kept running, found again.

A master outlives whoever looks after it; the next one finds it by its socket (`app.core.process`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from app.core.clock import Clock
from app.core.process import Manner, Process, Supervised, run_program
from app.core.process_identity import is_alive, open_peer, running, words_of
from lb.errors import HaproxyUnavailable, excerpt
from lb.front.settings import FrontSettings

CHECK_WITHIN: Final = timedelta(seconds=20)
"""Ten times what 500 instances of two lines may take."""
_ASK_SECONDS: Final = 2.0
_ASK_AGAIN_SECONDS: Final = 0.05


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
    outcome = run_program((program, "-c", "-f", str(path)), within=within)
    if outcome.status is None:
        return CheckResult(ok=False, output=f"no outcome within {within.total_seconds():g} s")
    return CheckResult(ok=outcome.status == 0, output=excerpt(outcome.output.decode(errors="replace")))


def supervised_haproxy(settings: FrontSettings, *, clock: Clock, log_file: Path | None = None) -> Supervised:
    """HAProxy of one front, to be kept running: the master that is there, or a new one; not started yet.

    The front has a release by then (`Front.prepare`); it answers at its sockets some moments after the start. Told to
    stop, it finishes what runs.

    Args:
        log_file: gets what HAProxy and its access log write to standard output and standard error; None: both
            go where this process's standard error goes.
    """
    return Supervised(
        f"HAProxy {settings.name}",
        start_command(settings),
        clock=clock,
        manner=_manner(log_file),
        adopt=lambda: find_haproxy(settings, clock=clock),
    )


async def find_haproxy(settings: FrontSettings, *, clock: Clock) -> Process | None:
    """The master that is there; one that has just begun, also anew as with every reload, is waited for.

    Raises:
        HaproxyUnavailable: there is one that does not listen in time; a second one would own the front, too.
    """
    until = clock.monotonic() + CHECK_WITHIN.total_seconds()
    while True:
        found = await asyncio.to_thread(_listening, settings)
        if found is not None:
            return Process(*found, manner=_manner())
        masters = await asyncio.to_thread(_masters, settings)
        if not masters:
            return None
        if clock.monotonic() >= until:
            raise HaproxyUnavailable(
                f"The master of {settings.name} (process {masters[0]}) does not listen at its socket."
            )
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


def haproxy_processes(settings: FrontSettings) -> list[int]:
    """The numbers of a front's processes, masters and workers, for people; never to be signalled. Blocking."""
    return running(lambda words: _is_haproxy(settings, words))


def start_command(settings: FrontSettings) -> Sequence[str]:
    """What HAProxy is started with: master and worker, the master's socket for its owner only."""
    return (
        settings.haproxy,
        *("-W", "-S", f"{settings.master_socket},mode,600"),
        *("-f", str(settings.configuration)),
    )


def _manner(log_file: Path | None = None) -> Manner:
    # A master takes its workers along.
    return Manner(log_file=log_file, keeps_output=True, finish=signal.SIGUSR1)


def _listening(settings: FrontSettings) -> tuple[int, int] | None:
    """Who listens at a front's master socket, if it has this front's files: a descriptor of it, and its number."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ASK_SECONDS)
        try:
            connection.connect(str(settings.master_socket))
            descriptor, pid = open_peer(connection)
        except (OSError, OverflowError):
            return None
    # It lives afterwards, so that the number was its own when its words were read.
    if _is_haproxy(settings, words_of(pid)) and is_alive(descriptor):
        return descriptor, pid
    os.close(descriptor)
    return None


def _masters(settings: FrontSettings) -> list[int]:
    """Those that lead a session: a worker has the words of its master, and may outlive it."""
    return [pid for pid in haproxy_processes(settings) if _leads_session(pid)]


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def _is_haproxy(settings: FrontSettings, words: Sequence[str]) -> bool:
    return "-W" in words and str(settings.configuration) in words

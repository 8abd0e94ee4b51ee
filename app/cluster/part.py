"""One process of the cluster: found if it runs already, started if not, kept running, ended in order.

Every part outlives the supervisor; the next one finds it by the socket at which it listens, or, as long as it has only
just been started, by its program and arguments.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from app.core.clock import Clock
from app.core.process import Manner, Process, Supervised
from app.core.process_identity import open_peer, open_running, running
from fsb_gateway.carrier.socket_path import short_path

_CONNECT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSign:
    """By what a part is known.

    Attributes:
        socket: where it listens as soon as it serves.
        is_meant: whether program and arguments of a process are this part's.
    """

    socket: Path
    is_meant: Callable[[Sequence[str]], bool]

    def processes(self) -> list[int]:
        """The numbers of its processes, for people; never to be signalled. Blocking."""
        listener = listener_of(self.socket)
        return sorted({*running(self.is_meant), *(() if listener is None else (listener,))})


def supervised_part(
    name: str, command: Sequence[str], sign: PartSign, *, clock: Clock, log_file: Path
) -> Supervised:
    """A part to be kept running: the process that is there, or a new one; not started yet."""
    manner = Manner(log_file=log_file)
    return Supervised(name, command, clock=clock, manner=manner, adopt=lambda: find_part(sign))


async def find_part(sign: PartSign) -> Process | None:
    """Its living process, e.g. what a supervisor that was killed has left."""
    found = await asyncio.to_thread(_open_listener, sign.socket)
    if found is not None:
        return Process(*found)
    started = await asyncio.to_thread(open_running, sign.is_meant)
    for descriptor, _ in started[1:]:
        os.close(descriptor)
    return Process(*started[0]) if started else None


async def end_running(is_meant: Callable[[Sequence[str]], bool], *, within: timedelta) -> int:
    """End all processes of certain words, in order; killed if they take longer. Returns how many there were."""
    found = [Process(*each) for each in await asyncio.to_thread(open_running, is_meant)]
    await asyncio.gather(*(each.stop(within) for each in found))
    return len(found)


def listener_of(path: Path) -> int | None:
    """The number of the process that listens at a Unix socket, for people; never to be signalled. Blocking."""
    found = _open_listener(path)
    if found is None:
        return None
    os.close(found[0])
    return found[1]


def _open_listener(path: Path) -> tuple[int, int] | None:
    """A descriptor of the process that listens at a Unix socket, and its number."""
    try:
        with _connected(path) as first:
            descriptor, pid = open_peer(first)
    except (OSError, OverflowError):
        return None
    # Somebody of that number still listens there, after the descriptor was opened: it is this process.
    try:
        with _connected(path) as second:
            again, number = open_peer(second)
            os.close(again)
            if number == pid:
                return descriptor, pid
    except (OSError, OverflowError):
        pass
    os.close(descriptor)
    return None


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_CONNECT_SECONDS)
        connection.connect(short_path(path))
    except BaseException:
        connection.close()
        raise
    return connection

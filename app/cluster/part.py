"""One process of the cluster: found if it runs already, started if not, kept running, ended in order.

Every part outlives the supervisor; the next one finds it by the socket at which it listens.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

from app.core.clock import Clock
from fsb_gateway.box import Process, Supervised, open_peer
from fsb_gateway.carrier.socket_path import short_path

_CONNECT_SECONDS: Final = 1.0


class Part(Protocol):
    """A process that is looked after; it goes on when whoever does that is killed."""

    @property
    def pid(self) -> int | None:
        """Its number; None while it does not run."""
        ...

    @property
    def restarts(self) -> int:
        """How often it has ended by itself."""
        ...

    async def start(self) -> None:
        """Keep it running from now on."""
        ...

    async def stop(self, *, within: timedelta) -> None:
        """Have it end, and start it no more; killed if it takes longer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPlan:
    """What a part is.

    Attributes:
        socket: where it listens as soon as it serves.
    """

    name: str
    command: Sequence[str]
    socket: Path
    log_file: Path


class SocketPart:
    """A part that is known by the Unix socket at which it listens. For one event loop."""

    def __init__(self, plan: PartPlan, *, clock: Clock) -> None:
        self.plan = plan
        self._supervised = Supervised(
            plan.name, plan.command, clock=clock, adopt=self._adopt, log_file=plan.log_file
        )

    @property
    def pid(self) -> int | None:
        """Its number; None while it does not run."""
        return self._supervised.pid

    @property
    def restarts(self) -> int:
        """How often it has ended by itself."""
        return self._supervised.restarts

    async def start(self) -> None:
        """Keep it running from now on; what listens there already is taken over."""
        self._supervised.start()

    async def stop(self, *, within: timedelta) -> None:
        """Have it end, and start it no more; killed if it takes longer."""
        await self._supervised.stop(within)

    async def _adopt(self) -> Process | None:
        return await find_listener(self.plan.socket)


async def find_listener(path: Path) -> Process | None:
    """The living process that listens at a Unix socket, e.g. what a supervisor that was killed has left."""
    found = await asyncio.to_thread(_open_listener, path)
    return None if found is None else Process(*found)


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

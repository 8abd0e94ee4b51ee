"""The processes of boxes, kept running (`app.core.process`).

They outlive a gateway that is killed; the next gateway finds them at their sockets.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from app.core.clock import Clock
from app.core.process import WOPS, Process, Supervised
from app.core.process_identity import is_connected, open_peer, start_ticks
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.carrier.socket_path import short_path
from fsb_gateway.error import FsbProtocolError
from fsb_gateway.process.box_link import BoxLink
from fsb_gateway.process.frame import PROTOCOL, FrameBuffer, Identity, decode_from_box, socket_path

_log = logging.getLogger(__name__)

PROGRAM: Final = (*WOPS, "fsb", "box")
# As long as one that is stopped may finish what it has (`app.core.process`).
_STOP_GRACE: Final = timedelta(seconds=10)
# A process accepts at once, unless it has stopped.
_ASK_SECONDS: Final = 5.0


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

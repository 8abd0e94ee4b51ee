"""What a line says of itself over its private socket, and who it is that says so."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from app.core.ids import LineId
from app.core.process import Process
from app.core.process_identity import is_connected, open_peer
from fsb_gateway.carrier.http_exchange import Bounds, HttpExchange
from fsb_gateway.carrier.socket_path import short_path
from fsb_gateway.error import FsbError
from tenancy.line_file import FRONT_SOCKET, PRIVATE_SOCKET
from tenancy.line_status import LineStatus

_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A living process that listens at a line's private socket.

    Attributes:
        status: None: it lives, and does not answer.
    """

    process: Process
    status: LineStatus | None


class LineLink:
    """Questions to one line. For one event loop.

    Args:
        directory: of the line.
        patience: how long an answer may take.
    """

    def __init__(self, directory: Path, *, patience: timedelta) -> None:
        self._socket = directory / PRIVATE_SOCKET
        self._patience = patience.total_seconds()
        bounds = Bounds(waiting=_AT_ONCE, answer_seconds=self._patience)
        self._exchange = HttpExchange.unix_socket(self._socket, bounds=bounds)

    async def status(self) -> LineStatus | None:
        """How it is by its own word; None if it does not say so in time."""
        try:
            async with asyncio.timeout(self._patience):
                answer = await self._exchange.send("GET", "/v1/status", b"", 0.0)
        except (FsbError, OSError, TimeoutError):
            return None
        if answer.status != 200:
            return None
        try:
            return msgspec.json.decode(answer.body, type=LineStatus)
        except msgspec.MsgspecError:
            return None

    async def close(self) -> None:
        """Give the connections back."""
        await self._exchange.close()

    async def find_listener(self, line_id: LineId) -> Listener | None:
        """The living process of this line, if one listens: checked before it is ever signalled."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.setblocking(False)
            try:
                # Of a Unix socket that is at once, or refused: the queue of one that has stopped may be full.
                connection.connect(short_path(self._socket))
                descriptor, pid = open_peer(connection)
            except (OSError, OverflowError):
                return None
            # Asked after the descriptor was opened: whoever says this number now is that process.
            status = await self.status()
            if status is None and is_connected(connection):
                return Listener(process=Process(descriptor, pid), status=None)
            if status is not None and (status.line, status.process_id) == (line_id, pid):
                return Listener(process=Process(descriptor, pid), status=status)
            os.close(descriptor)
            return None


def front_address(directory: Path) -> str:
    """Where the front reaches the line of a directory, as HAProxy writes it."""
    return f"unix@{directory / FRONT_SOCKET}"

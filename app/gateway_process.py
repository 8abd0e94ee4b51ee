"""A gateway in a process of its own that the platform starts and looks after."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final, Self

from app.core.clock import Clock
from app.core.lock import make_private
from app.core.open_file import raise_open_files
from app.core.process import WOPS, Supervised
from app.settings import Settings
from fsb_gateway.client import FsbClient
from fsb_gateway.error import FsbUnavailable

CONTROL_SOCKET: Final = "gateway.sock"
JOBS_SOCKET: Final = "jobs.sock"
_FIRST_ANSWER_SECONDS: Final = 10.0
"""Ten times what it takes on an idle machine."""
_ASK_AGAIN_SECONDS: Final = 0.05
_STOP_GRACE: Final = timedelta(seconds=40)
"""Answers at hand (25 s, `carrier.listener`), then boxes finish what they have (10 s, `fsb_gateway.box`)."""


class SupervisedGateway:
    """`wops fsb serve`, started again whenever it ends. It ends with this process, however that ends."""

    def __init__(self, settings: Settings, *, clock: Clock) -> None:
        self.control = FsbClient.unix_socket(settings.box_dir / CONTROL_SOCKET)
        self.jobs = FsbClient.unix_socket(settings.box_dir / JOBS_SOCKET)
        self._process = Supervised("the gateway", _command(settings), clock=clock)

    @classmethod
    async def start(cls, settings: Settings, *, clock: Clock) -> Self:
        """Start it, and wait a little for its first answer; the platform serves without it, too."""
        raise_open_files()
        make_private(settings.box_dir)
        gateway = cls(settings, clock=clock)
        gateway._process.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_ANSWER_SECONDS):
                await gateway._answer()
        return gateway

    async def _answer(self) -> None:
        while True:
            try:
                await self.jobs.root_certificate()
            except FsbUnavailable:
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
            else:
                return

    @property
    def pid(self) -> int | None:
        """The number of the process that runs now."""
        return self._process.pid

    async def close(self) -> None:
        """Let it finish what it has, and end it."""
        await self.control.close()
        await self.jobs.close()
        await self._process.stop(_STOP_GRACE)


def _command(settings: Settings) -> Sequence[str]:
    program = (*WOPS, "fsb", "serve")
    where = ("--data-dir", str(settings.data_dir.resolve()), "--log-level", settings.log_level)
    return (*program, *where, "--supervisor", str(os.getpid()))

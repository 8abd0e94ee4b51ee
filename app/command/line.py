"""`wops line DIRECTORY`: one line process, from its lock to its last answer."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from app.command.output import show
from app.core.json import JsonObject
from app.core.lock import PRIVATE_UMASK
from app.line_process import LineProcess
from tenancy.line_file import FRONT_SOCKET, PRIVATE_SOCKET


def serve_line(directory: Path) -> None:
    """Serve until a signal comes, or control says so.

    Raises:
        DomainError: the line cannot start.
        OSError: its directory or a socket cannot be used.
    """
    os.umask(PRIVATE_UMASK)
    if not asyncio.run(_run(directory)):
        # A thread still waits for a database that does not answer: it holds nothing that is not safe elsewhere.
        logging.shutdown()
        os._exit(0)


async def _run(directory: Path) -> bool:
    process = LineProcess(directory)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, process.signal)
    return await process.run(lambda: _tell(directory.resolve()))


def _tell(directory: Path) -> None:
    # What was made at the start stays: it is looked through no more.
    gc.freeze()
    gc.enable()
    # Whoever started the line may not be there any more to hear it.
    with suppress(OSError):
        show(_where(directory), as_json=True)
        sys.stdout.flush()


def _where(directory: Path) -> JsonObject:
    sockets = {"front": FRONT_SOCKET, "private": PRIVATE_SOCKET}
    return {"line": directory.name, **{name: str(directory / path) for name, path in sockets.items()}}

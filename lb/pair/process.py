"""Keeping keepalived running where systemd does not: as its unit says, so that its end leaves no address behind.

stopped ──start──► running ──ended, however──► rest of its group ended, addresses taken away ──pause──► running
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from app.core.clock import Clock
from app.core.process import Manner, Supervised, run_program
from lb.pair.keepalived import forget_commands
from lb.pair.settings import PairSettings

_log = logging.getLogger(__name__)
_PAUSES: Final = (0.2, 5.0)
"""It is missed: the other one has to be there for it."""
_FORGET_WITHIN: Final = timedelta(seconds=10)


def supervised_keepalived(settings: PairSettings, name: str, *, clock: Clock, log_file: Path) -> Supervised:
    """One of the two's keepalived, to be kept running; needs root. Told to stop, it gives the addresses away first.

    Its files are there by the time it is started.

    Raises:
        PairNodeUnknown: `name` is neither of the two.
    """
    commands = forget_commands(settings, settings.node(name))

    async def forget_addresses() -> None:
        for command in commands:
            if (await asyncio.to_thread(run_program, command, within=_FORGET_WITHIN)).status == 0:
                _log.warning("a shared address was left behind; it is taken away", extra={"command": command})

    return Supervised(
        "keepalived",
        _start_command(settings),
        clock=clock,
        manner=Manner(log_file=log_file, keeps_output=True, ends_group=True, pauses=_PAUSES),
        clean_up=forget_addresses,
    )


def _start_command(settings: PairSettings) -> Sequence[str]:
    files = {
        "--use-file": settings.configuration,
        "--pid": settings.directory / "keepalived.pid",
        "--vrrp_pid": settings.directory / "vrrp.pid",
    }
    options = (text for option, path in files.items() for text in (option, str(path)))
    return (str(settings.keepalived), "--dont-fork", "--log-console", "--log-detail", "--vrrp", *options)

"""`wops fsb box`: the process of one box. Gateways start it; nobody needs to by hand."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from app.command.session import DataDirOption, settings_for


def run_box(
    name: Annotated[str, typer.Argument(help="The box, as its gateway set it up.")],
    data_dir: DataDirOption = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run one box of a data directory, until SIGTERM, or until its gateway has been away for a minute.

    Status 0: stopped. 66: there is no such box. 69: it lost its power. 75: it is at work in another process.
    78: its keys cannot be opened.
    """
    import os
    import sys

    from app.core.clock import SystemClock
    from app.core.lock import PRIVATE_UMASK
    from app.core.logging import configure_logging
    from fsb_gateway.box_driver import BoxDriver, BoxSpec
    from fsb_gateway.driver import open_driver
    from fsb_gateway.key.store import Keystore
    from fsb_gateway.process.box_process import BoxProcess

    settings = settings_for(data_dir, log_level=log_level)
    configure_logging(settings.log_level.upper(), stream=sys.stderr)
    os.umask(PRIVATE_UMASK)
    clock, directory = SystemClock(), settings.box_dir

    def open_keys(spec: BoxSpec, stopping: threading.Event) -> BoxDriver:
        keystore = Keystore(
            directory / "keys", clock=clock, key_encryption_key=settings.key_encryption_key_bytes
        )
        return open_driver(spec, slots=directory / "slots", keystore=keystore, stopping=stopping)

    process = BoxProcess(name, directory, open_driver=open_keys, clock=clock)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.stop())
    raise typer.Exit(process.run())

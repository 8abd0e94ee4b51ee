"""A gateway and its boxes as they run in production: `wops fsb serve` with a process for each box."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from fsb_gateway import BoxSpec, FsbClient
from fsb_gateway.report import BoxReport, PoolReport
from tests.service.wait import wait_until

T = TypeVar("T")

_READY = timedelta(seconds=30)
_STOP_SECONDS = 60


class GatewayProcess:
    """A running gateway, and control's client of it.

    Attributes:
        lines: the socket that lines use.
    """

    def __init__(self, lines: Path, control: Path) -> None:
        self.lines = lines
        self._runner = asyncio.Runner()
        self._client = FsbClient.unix_socket(control)

    def add_box(self, spec: BoxSpec) -> None:
        """Set up a box, or change it, and wait until it works."""
        self.run(self._client.ensure_box(spec))
        wait_until(lambda: self.box(spec.name).condition == "ready", f"box {spec.name}", deadline=_READY)

    def add_key(self, instance: str, firm_code: int, *, pool: str) -> None:
        """Make a firm key in every box of a pool."""
        self.run(self._client.ensure_firm_key(instance, firm_code, pool=pool))

    def box(self, name: str) -> BoxReport:
        """A box at this moment."""
        return next(each for each in self.run(self._client.boxes()) if each.name == name)

    def pool(self, name: str) -> PoolReport:
        """A pool at this moment."""
        return next(each for each in self.run(self._client.pools()) if each.name == name)

    def run(self, work: Coroutine[None, None, T]) -> T:
        """Run in the client's loop until done."""
        return self._runner.run(work)

    def close(self) -> None:
        """Give connections back."""
        self.run(self._client.close())
        self._runner.close()


@contextmanager
def running_gateway(folder: Path) -> Iterator[GatewayProcess]:
    """Serve from a data directory of its own, without any box; a box's process is started with `add_box`."""
    command = ["fsb", "serve", "--data-dir", str(folder), "--json", "--log-level", "warning"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from app.cli import main; main()", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        where = _where(process)
        with closing(GatewayProcess(Path(where["lines"]), Path(where["control"]))) as gateway:
            yield gateway
    finally:
        process.terminate()
        process.communicate(timeout=_STOP_SECONDS)


def _where(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"wops fsb serve ended with {process.wait()}")
    return dict(json.loads(line))

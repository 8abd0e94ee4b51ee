"""A gateway in a process of its own: the real command, on a directory of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from fsb_gateway import FsbClient

_ENDS_WITHIN_SECONDS = 60


class ServedGateway:
    """`wops fsb serve`, as a context: started, and ended in an orderly way.

    Attributes:
        listening: what it said when it was ready.
    """

    def __init__(self, data_dir: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.listening: dict[str, str] = {}
        self._options = options
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self._close()

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None, "not started"
        return self._process

    def start(self) -> None:
        """Start it; returns when it answers."""
        self._close()
        self._process = subprocess.Popen(
            [*COMMAND, "serve", "--data-dir", str(self.data_dir), "--json", *self._options],
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        assert ready, f"the gateway ended with status {self._process.wait(_ENDS_WITHIN_SECONDS)}"
        self.listening = json.loads(ready)

    def stop(self) -> int:
        """Ask it to end, and wait for that; gives the exit status."""
        self.process.terminate()
        return self.process.wait(_ENDS_WITHIN_SECONDS)

    def kill(self) -> None:
        """End it from one moment to the next."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(_ENDS_WITHIN_SECONDS)
        self._close()

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[tuple[FsbClient, FsbClient]]:
        """A client that may do everything, and one as lines have it."""
        directory = self.data_dir / "boxes"
        found = [FsbClient.unix_socket(directory / name) for name in ("gateway.sock", "jobs.sock")]
        try:
            yield found[0], found[1]
        finally:
            for client in found:
                await client.close()

    def _close(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()


def processes_of(data_dir: Path) -> dict[str, int]:
    """What works in a data directory in processes of its own: `serve`, and boxes by their names."""
    found: dict[str, int] = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if words[3:5] == ["app.cli", "fsb"] and str(data_dir) in words:
            found[words[6] if words[5] == "box" else words[5]] = int(path.parent.name)
    return found


COMMAND = (sys.executable, "-P", "-m", "app.cli", "fsb")


def run_fsb(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one of the commands `wops fsb …` to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=_ENDS_WITHIN_SECONDS,
        env={**os.environ, **(environment or {})},
        check=False,
    )


def json_of(done: subprocess.CompletedProcess[str]) -> Any:
    """What a command printed that has to have succeeded."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

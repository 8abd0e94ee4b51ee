"""`wops up` as its users start it: a process of its own, told apart by its data directory."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.service.wait import wait_until

WOPS = (sys.executable, "-c", "from app.cli import main; main()")
_START_SECONDS = 30.0
_COMMAND_SECONDS = 60.0


def wops(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line to its end."""
    return subprocess.run(
        [*WOPS, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )


def wops_json(*arguments: str) -> Any:
    """Run a command that succeeds and prints JSON."""
    done = wops(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@dataclass
class PlatformProcess:
    """A running `wops up`."""

    process: subprocess.Popen[str]
    data_dir: Path
    printed: dict[str, Any]

    @property
    def address(self) -> str:
        """Where it serves."""
        return str(self.printed["address"])

    @property
    def at(self) -> tuple[str, str]:
        """Options of commands that come in by the control socket."""
        return ("--data-dir", str(self.data_dir))

    def remote(self, secret: str) -> tuple[str, ...]:
        """Options of commands that come in at the address, with a staff token."""
        file = self.data_dir.parent / f"token-{hashlib.sha256(secret.encode()).hexdigest()}"
        file.write_text(f"{secret}\n")
        return ("--url", self.address, "--token-file", str(file))

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=_START_SECONDS)

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        self.process.communicate(timeout=_START_SECONDS)
        return self.process.returncode


def start(data_dir: Path, *arguments: str) -> PlatformProcess:
    """Start `wops up --json` on a free port and wait until it has printed where it serves."""
    printed = data_dir.parent / f"printed-{len(list(data_dir.parent.iterdir()))}.json"
    with printed.open("w") as sink:
        process = subprocess.Popen(
            [*WOPS, "up", "--json", "--port", "0", "--data-dir", str(data_dir), *arguments],
            stdout=sink,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def line() -> str | None:
        assert process.poll() is None, "wops up has ended"
        text = printed.read_text()
        return text if text.endswith("\n") else None

    try:
        text = wait_until(line, "the address", deadline=timedelta(seconds=_START_SECONDS))
    except AssertionError:
        process.kill()
        process.communicate()
        raise
    return PlatformProcess(process=process, data_dir=data_dir, printed=json.loads(text))


@contextmanager
def running(data_dir: Path, *arguments: str) -> Iterator[PlatformProcess]:
    """`start`, for as long as the context lasts; told to end with it unless it has ended before."""
    platform = start(data_dir, *arguments)
    try:
        yield platform
    finally:
        if platform.process.poll() is None:
            platform.terminate()

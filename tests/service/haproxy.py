"""A real HAProxy of one's own: master and worker, both sockets, in a directory that nobody else uses."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lb.errors import HaproxyError
from lb.haproxy_stats import MasterSocket, RuntimeSocket
from tests.service.binary import require_binary
from tests.service.wait import wait_until

_STARTS_WITHIN = timedelta(seconds=20)
_ENDS_WITHIN_SECONDS = 10

_GLOBAL = """\
global
  stats socket {dir}/admin.sock mode 600 level admin expose-fd listeners
  stats timeout 60s
  hard-stop-after 5s
"""


@dataclass(kw_only=True)
class ServedHaproxy:
    """One that runs.

    Attributes:
        directory: private; short enough for sockets in it, whatever the test is called.
        configuration: the file with the text of the test.
        command: what it was started with, without `-c`.
    """

    directory: Path
    configuration: Path
    command: tuple[str, ...]
    process: subprocess.Popen[bytes]

    @property
    def runtime_path(self) -> Path:
        return self.directory / "admin.sock"

    @property
    def master_path(self) -> Path:
        return self.directory / "master.sock"

    @property
    def runtime(self) -> RuntimeSocket:
        return RuntimeSocket(self.runtime_path)

    @property
    def master(self) -> MasterSocket:
        return MasterSocket(self.master_path)

    @property
    def log(self) -> str:
        """What it has said on standard output and standard error."""
        return (self.directory / "log").read_text(errors="replace")

    def worker_pid(self) -> int:
        """The process that takes new connections."""
        return self.runtime.show_info().pid

    def reconfigure(self, text: str) -> None:
        """Write another configuration; it comes into force with a reload."""
        self.configuration.write_text(text.replace("{dir}", str(self.directory)))

    def check(self) -> subprocess.CompletedProcess[str]:
        """What `haproxy -c` says of the configuration as it lies there."""
        return subprocess.run([*self.command, "-c"], capture_output=True, text=True, timeout=60, check=False)

    def kill(self) -> None:
        """End master and workers from one moment to the next."""
        workers = _children_of(self.process.pid)
        self.process.kill()
        self.process.wait(_ENDS_WITHIN_SECONDS)
        for worker in workers:
            _kill_quietly(worker)

    def stop(self) -> None:
        """End it, in an orderly way as long as it listens to that."""
        if self.process.poll() is not None:
            return
        workers = _children_of(self.process.pid)
        self.process.terminate()
        try:
            self.process.wait(_ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        for worker in workers:
            _kill_quietly(worker)


def haproxy_binary() -> Path:
    """Where HAProxy is; without it the calling test fails (CI=true) or is skipped with the reason."""
    return require_binary("haproxy")


@contextmanager
def running_haproxy(configuration: str, *, directory: Path | None = None) -> Iterator[ServedHaproxy]:
    """Run HAProxy until the block ends; returns when it answers on its runtime socket.

    Args:
        configuration: what follows a `global` section that makes the sockets; it may have lines for `global` itself.
            `{dir}` stands for the directory.
        directory: where it lives; None: a new one, removed afterwards. A path to a socket has 107 bytes at most, so
            a directory of pytest is easily too long.
    """
    binary = haproxy_binary()
    home = Path(tempfile.mkdtemp(prefix="hap")) if directory is None else directory
    try:
        served = start_haproxy(binary, home, configuration)
        try:
            wait_until(lambda: _answers(served), "HAProxy to answer", deadline=_STARTS_WITHIN)
            yield served
        finally:
            served.stop()
    finally:
        if directory is None:
            shutil.rmtree(home, ignore_errors=True)


def start_haproxy(binary: Path, home: Path, configuration: str) -> ServedHaproxy:
    """Start it without waiting for it; the caller ends it."""
    (home / "global.cfg").write_text(_GLOBAL.replace("{dir}", str(home)))
    text = home / "haproxy.cfg"
    text.write_text(configuration.replace("{dir}", str(home)))
    command = (
        str(binary),
        "-W",
        "-S",
        f"{home}/master.sock,mode,600",
        "-f",
        f"{home}/global.cfg",
        "-f",
        str(text),
    )
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    return ServedHaproxy(directory=home, configuration=text, command=command, process=process)


def _answers(served: ServedHaproxy) -> bool:
    assert served.process.poll() is None, f"HAProxy ended:\n{served.log}"
    try:
        return bool(served.master.show_proc().workers) and served.runtime.show_info().pid > 0
    except HaproxyError:
        return False


def _children_of(pid: int) -> list[int]:
    """Only of a process that has not been waited for: its number is its own."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _kill_quietly(pid: int) -> None:
    """End a worker of ours that has outlived its master."""
    if b"haproxy" not in _command_of(pid):
        return
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""

"""A platform that is set up in this process, and its lines as processes of their own that go on without it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Self

import httpx2

from app.core.clock import SystemClock
from app.core.ids import InstanceId, LineId
from tenancy.line_call import LineCaller
from tenancy.line_file import FRONT_SOCKET, LineInstance, write_instances, write_line
from tenancy.runner.port import LineLimits
from tests.api.site import Instance, Site
from tests.service.wait import wait_until

COMMAND = (sys.executable, "-P", "-m", "app.cli", "line")
CONNECTIONS = 8
CHECK_INTERVAL_SECONDS = 0.1
SOON = timedelta(seconds=30)
_HERE = {"Forwarded": "for=127.0.0.1"}


class ServedLine:
    """`wops line`, as a context: started, and drained at the end.

    Args:
        directory: with the line's files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.front = directory / FRONT_SOCKET
        self.private = LineCaller(directory)
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

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

    @property
    def log(self) -> str:
        """Everything that it has logged."""
        return (self.directory / "log").read_text()

    def start(self) -> None:
        """Start it; returns when it answers."""
        self._close()
        self._log = (self.directory / "log").open("a")
        self._process = subprocess.Popen(
            [*COMMAND, str(self.directory)], stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), f"ended with {self._process.wait(30)}: {self.log}"

    def stop(self) -> int:
        """Drain it; gives the exit status."""
        self.process.terminate()
        return self.process.wait(60)

    def kill(self) -> None:
        """End it from one moment to the next."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def call(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Send a request as the trusted front does, on a connection of its own."""
        more["headers"] = {**_HERE, **more.get("headers", {})}
        transport = httpx2.HTTPTransport(uds=str(self.front))
        with httpx2.Client(transport=transport, base_url="http://front", timeout=60) as client:
            return client.request(method, path, **more)

    def ready(self) -> str:
        """What it says when the front asks for its health."""
        answer = self.call("GET", "/readyz")
        assert (answer.status_code == 200) == (answer.json()["status"] == "ready")
        return str(answer.json()["status"])

    def wait_for(self, version: int) -> None:
        """Until it serves this version of its instances."""
        wait_until(lambda: self.private.status().applied == version, f"version {version}", deadline=SOON)

    def _close(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        if self._log is not None:
            self._log.close()


class LineSite(Site):
    """A site by the machine's own clock; what is asked of its instances goes to a line when there is one.

    Attributes:
        line: who serves instances; None: the platform itself.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, clock=SystemClock(), **settings)
        self.line: ServedLine | None = None

    def pass_time(self, seconds: float) -> None:
        """Time passes by itself here; whoever is refused is looked up again at once."""

    def call(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """To the line, if the path is an instance's."""
        segment = path.split("/")[1]
        if self.line is None or segment in ("admin", "portal", "readyz", "livez", "metrics"):
            return super().call(method, path, **more)
        return self.line.call(method, path, **more)

    def listed_instance(self, instance: Instance) -> LineInstance:
        """As a line's file has it."""
        instance_id = InstanceId(instance.instance_id)
        home = self.platform.databases.line_home(instance_id)
        return LineInstance(instance_id=instance_id, name=instance.name, home=home)


class Hall:
    """Lines while their platform is gone: what it has told them, and nothing else.

    Args:
        folder: for their directories.
        site: has been started; it is stopped here.
        instances: whom the lines serve.
    """

    def __init__(self, folder: Path, site: LineSite, instances: Sequence[Instance]) -> None:
        self.folder = folder
        self.site = site
        self.served = [site.listed_instance(each) for each in instances]
        self._file = replace(
            site.platform.line_file(LineId("any")), check_interval_seconds=CHECK_INTERVAL_SECONDS
        )
        site.stop()

    def line(self, name: str, *, limits: LineLimits | None = None) -> ServedLine:
        """A line with its files written, not started."""
        directory = self.folder / name
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        limits = limits or self._file.limits
        write_line(directory, replace(self._file, line_id=LineId(name), limits=limits))
        write_instances(directory, self.served, connections=CONNECTIONS)
        return ServedLine(directory)

    @contextmanager
    def serving(self, line: ServedLine) -> Iterator[None]:
        """What is asked of instances goes to this line."""
        self.site.line = line
        try:
            yield
        finally:
            self.site.line = None


def activate(instance: Instance) -> httpx2.Response:
    """Sell a licence and have it programmed into a new container."""
    device = instance.device()
    body = {"action": "activate", "ticket": instance.sell(), "context": device.context()}
    answer = instance.call("POST", "/transfers", body)
    if answer.status_code == 201:
        device.apply(answer.json()["update"])
    return answer


def limits_of(pid: int) -> dict[str, tuple[str, str]]:
    """What a process may use at most, soft and hard, as the kernel says."""
    rows = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {row[:26].strip(): (row[26:47].strip(), row[47:68].strip()) for row in rows}

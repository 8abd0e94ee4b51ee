"""A load balancer as the front makes it, with a real HAProxy, and lines that are processes of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from app.core.clock import SystemClock
from app.core.ids import InstanceId, LineId
from lb.errors import HaproxyError
from lb.front.front import Front
from lb.front.settings import BindKind, FrontBind, FrontSettings, FrontTimes
from lb.front.state import FrontInstance, FrontLine, FrontState, LineSet
from lb.haproxy_stats import MasterSocket, RuntimeSocket
from lb.process import start_command
from tests.service.binary import require_binary
from tests.service.pki import YEAR, Issued, issue_for_host, make_server_authority
from tests.service.wait import wait_until

_ROOT: Final = Path(__file__).resolve().parents[2]
_STARTS_WITHIN: Final = timedelta(seconds=20)
_LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
_KINDS: Final[tuple[BindKind, ...]] = ("tls", "plain", "redirect")
ACME: Final = InstanceId("ins_acme")
HOST: Final = "wops.example"


@dataclass(kw_only=True)
class FrontSite:
    """A front that runs.

    Attributes:
        home: short enough for sockets in it.
        authority: who issued the front's certificates.
    """

    home: Path
    settings: FrontSettings
    authority: Issued
    pem: str
    haproxy: subprocess.Popen[bytes] | None = None
    lines: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def tls(self) -> str:
        return self.settings.binds[0].address

    @property
    def plain(self) -> str:
        return self.settings.binds[1].address

    @property
    def redirect(self) -> str:
        return self.settings.binds[2].address

    @property
    def front(self) -> Front:
        """One that knows nothing yet, as after a start."""
        return Front(self.settings, clock=SystemClock())

    @property
    def runtime(self) -> RuntimeSocket:
        return RuntimeSocket(self.settings.runtime_socket)

    @property
    def master(self) -> MasterSocket:
        return MasterSocket(self.settings.master_socket)

    @property
    def log(self) -> str:
        """What HAProxy has written, access lines included."""
        return (self.home / "log").read_text(errors="replace")

    @property
    def authority_file(self) -> str:
        path = self.home / "authority.pem"
        path.write_text(self.authority.pem)
        return str(path)

    def pem_for(self, host: str) -> str:
        """Certificate and key of a host, new each time."""
        issued = _issue(host, self.authority)
        return issued.pem + issued.key_pem

    def address(self, number: int) -> str:
        return f"unix@{self.home}/l{number}.sock"

    def line(self, number: int, **values: Any) -> FrontLine:
        return FrontLine(
            **{
                "line_id": LineId(f"acme-{number}"),
                "number": number,
                "address": self.address(number),
                **values,
            }
        )

    def state(
        self, *lines: FrontLine, instance: Mapping[str, Any] | None = None, **values: Any
    ) -> FrontState:
        """One instance, `acme`, with these lines."""
        known = FrontInstance(**{"instance_id": ACME, "name": "acme", "line_set": ACME, **(instance or {})})
        whole = {
            "line_sets": {ACME: LineSet(key=ACME, lines=lines)},
            "instances": {ACME: known},
            "default_pem": self.pem,
            **values,
        }
        return FrontState(**whole)

    def start_haproxy(self) -> None:
        """Start it with what is in force, and wait until it answers."""
        with (self.home / "log").open("ab") as log:
            self.haproxy = subprocess.Popen(
                start_command(self.settings), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._answers, "HAProxy to answer", deadline=_STARTS_WITHIN)

    def stop_haproxy(self) -> None:
        """End it from one moment to the next."""
        if self.haproxy is not None:
            workers = _children_of(self.haproxy.pid)
            self.haproxy.kill()
            self.haproxy.wait(10)
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            self.haproxy = None

    def start_line(self, number: int) -> None:
        path = self.home / f"l{number}.sock"
        self.lines[number] = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.service.echo_line", str(path), f"l{number}"], cwd=_ROOT
        )
        wait_until(path.exists, f"line {number}")

    def kill_line(self, number: int) -> None:
        process = self.lines.pop(number)
        process.kill()
        process.wait(10)

    def curl(self, *arguments: str) -> Answer:
        """What a caller gets; `arguments` as for curl."""
        done = subprocess.run(
            [
                "curl",
                "-sS",
                "-i",
                "--noproxy",
                "*",
                "--cacert",
                self.authority_file,
                "--max-time",
                "10",
                *arguments,
            ],
            capture_output=True,
            timeout=20,
            check=False,
        )
        return Answer.read(done.stdout.decode("latin-1"), done.stderr.decode())

    def get(self, path: str, *arguments: str) -> Answer:
        """Ask over TLS by the front's own name."""
        return self.curl("--connect-to", f"::{self.tls}", "--path-as-is", *arguments, f"https://{HOST}{path}")

    def get_plain(self, path: str, *arguments: str) -> Answer:
        return self.curl("--path-as-is", *arguments, f"http://{self.plain}{path}")

    def _answers(self) -> bool:
        assert self.haproxy is not None
        assert self.haproxy.poll() is None, f"HAProxy ended:\n{self.log}"
        try:
            return bool(self.master.show_proc().workers) and self.runtime.show_info().pid > 0
        except HaproxyError:
            return False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer; `status` 0: there was none, and `text` says why."""

    status: int
    headers: Mapping[str, str]
    text: str

    @classmethod
    def read(cls, whole: str, complaint: str) -> Answer:
        head, _, body = whole.partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        if not first:
            return cls(status=0, headers={}, text=complaint)
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return cls(status=int(first.split(" ")[1]), headers=headers, text=body)


@contextmanager
def running_front(**values: Any) -> Iterator[FrontSite]:
    """A front with nothing in it but its own certificate; `values` change its settings."""
    with front_home(**values) as site:
        site.front.prepare()
        site.start_haproxy()
        yield site


@contextmanager
def front_home(**values: Any) -> Iterator[FrontSite]:
    """The same before anything is prepared or started."""
    home = Path(tempfile.mkdtemp(prefix="lb"))
    authority = make_server_authority()
    settings = FrontSettings(
        directory=home / "lb1",
        binds=tuple(
            FrontBind(address=f"127.0.0.1:{port}", kind=kind)
            for kind, port in zip(_KINDS, free_ports(3), strict=True)
        ),
        health=f"127.0.0.1:{free_ports(1)[0]}",
        haproxy=str(require_binary("haproxy")),
        times=FrontTimes(hard_stop=timedelta(seconds=10)),
    )
    issued = _issue(HOST, authority)
    site = FrontSite(
        home=home,
        settings=replace(settings, **values),
        authority=authority,
        pem=issued.pem + issued.key_pem,
    )
    try:
        yield site
    finally:
        site.stop_haproxy()
        for number in list(site.lines):
            site.kill_line(number)
        shutil.rmtree(home, ignore_errors=True)


def _issue(host: str, authority: Issued) -> Issued:
    """Valid whenever a test runs: the caller checks it by the real time."""
    return issue_for_host(host, issuer=authority, not_before=_LONG_AGO, lasts=100 * YEAR)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody has; somebody may take one before it is used."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _children_of(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []

"""A platform behind a real HAProxy that control itself keeps, and a foreign client that calls through it."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from app.core.clock import SystemClock
from app.front_part import front_settings
from lb.front.settings import FrontSettings
from lb.process import start_command
from tests.api.site import Instance, Site, good
from tests.service.binary import require_binary
from tests.service.pki import YEAR, Issued, issue, make_authority
from tests.service.wait import wait_until

SOON: Final = timedelta(seconds=30)
NOW: Final = datetime.now(UTC)
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back.

    Attributes:
        protocol: `1.1` or `2`.
        body: JSON; empty if it was none.
    """

    status: int
    protocol: str
    body: dict[str, Any]

    @property
    def code(self) -> str:
        """Of the problem; empty if it is none."""
        return str(self.body.get("code", ""))


@dataclass(kw_only=True)
class Edge:
    """Load balancers that run, and the platform behind them."""

    home: Path
    site: Site
    balancers: tuple[FrontSettings, ...]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def authority_file(self) -> Path:
        """The platform's own authority, which clients are told to trust."""
        return self.home / "data" / "front" / "tls" / "ca.pem"

    def start_haproxy(self, settings: FrontSettings) -> None:
        """Start it with the files that control has made."""
        wait_until(settings.configuration.exists, "control to make its files", deadline=SOON)
        with (self.home / f"{settings.name}.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(start_command(settings), stdout=log, stderr=log, start_new_session=True)
            )

    def report(self, name: str = "lb1") -> dict[str, Any]:
        """How a load balancer is, as control says."""
        found = good(self.site.admin("GET", "/front"))["load_balancers"]
        return dict(next(each for each in found if each["name"] == name))

    def is_in_step(self) -> bool:
        """Whether every load balancer is what it is to be."""
        front = good(self.site.admin("GET", "/front"))
        return front["wanted"] > 0 and all(
            each["in_step"] and each["applied"] == front["wanted"] for each in front["load_balancers"]
        )

    def wait_in_step(self) -> None:
        """Until every load balancer is what it is to be after all that has been changed."""
        self.site.run(self.site.platform.fronts.turn())
        wait_until(self.is_in_step, "load balancers to be in step", deadline=SOON)

    def call(
        self,
        path: str,
        *arguments: str,
        client: Issued | None = None,
        auth: tuple[str, str] | None = None,
        balancer: int = 0,
        host: str | None = None,
    ) -> Answer:
        """GET through a load balancer, with curl."""
        address = self.balancers[balancer].binds[0].address
        port = address.rpartition(":")[2]
        options = ["--cacert", str(self.authority_file), *arguments]
        if client is not None:
            options += ["--cert", str(self._keep(client))]
        if auth is not None:
            options += ["--user", ":".join(auth)]
        if host is not None:
            options += ["--resolve", f"{host}:{port}:127.0.0.1"]
        return _curl(f"https://{host or '127.0.0.1'}:{port}{path}", options)

    def connect(self, client: Issued) -> http.client.HTTPSConnection:
        """One connection for many requests; once it is closed, it is not opened again."""
        context = ssl.create_default_context(cafile=str(self.authority_file))
        context.load_cert_chain(self._keep(client))
        port = int(self.balancers[0].binds[0].address.rpartition(":")[2])
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        connection.connect()
        connection.auto_open = 0
        return connection

    def _keep(self, issued: Issued) -> Path:
        path = self.home / f"{issued.fingerprint}.pem"
        path.write_text(issued.pem + issued.key_pem)
        return path


@contextmanager
def running_edge(*, balancers: int = 1) -> Iterator[Edge]:
    """A platform with load balancers in front; everything is ended with the block."""
    require_binary("curl")
    require_binary("haproxy")
    # A path to a socket has 107 bytes at most, so a directory of pytest is easily too long.
    home = Path(tempfile.mkdtemp(prefix="edge"))
    ports = iter(_free_ports(3 * balancers))
    named = (
        f"lb{number} = 127.0.0.1:{next(ports)} health=127.0.0.1:{next(ports)} peer=127.0.0.1:{next(ports)}"
        for number in range(1, balancers + 1)
    )
    fronts = ";".join(each.replace(" = ", "=") for each in named)
    try:
        with Site(home, clock=SystemClock(), fronts=fronts) as site:
            edge = Edge(home=home, site=site, balancers=front_settings(site.settings))
            try:
                for each in edge.balancers:
                    edge.start_haproxy(each)
                edge.wait_in_step()
                yield edge
            finally:
                for process in edge.processes:
                    process.terminate()
                    process.wait(30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def real_authority(subject: str = "CN=ACME CA,O=ACME", *, ends: datetime = NOW + YEAR) -> Issued:
    """One that has been valid since thirty days ago by the real time, which HAProxy goes by."""
    begun = NOW - 30 * DAY
    return make_authority(subject, not_before=begun, lasts=ends - begun)


def real_client(
    authority: Issued | None, subject: str = "CN=erp,O=ACME", *, lasts: timedelta = YEAR
) -> Issued:
    """A client's certificate that has been valid since ten days ago."""
    return issue(subject, issuer=authority, not_before=NOW - 10 * DAY, lasts=lasts)


def pin(instance: Instance, certificate: Issued, *, subject: str | None = None) -> None:
    """Let the instance's first client be known by a certificate, or by its authority and subject."""
    client_id = good(instance.admin("GET", "/clients"))[0]["client_id"]
    body = {"certificate": certificate.pem, **({} if subject is None else {"subject": subject})}
    good(instance.admin("POST", f"/clients/{client_id}/certificates", body), 201)


def _free_ports(number: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def _curl(url: str, options: Sequence[str]) -> Answer:
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--write-out",
        "\n%{http_code} %{http_version}",
    ]
    done = subprocess.run([*command, *options, url], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    content, _, told = done.stdout.rpartition("\n")
    status, protocol = told.split()
    is_json = content.startswith("{")
    return Answer(status=int(status), protocol=protocol, body=json.loads(content) if is_json else {})

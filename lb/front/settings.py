"""How one load balancer is set up: where it listens and lives, its times and limits. Pure.

Everything here comes from operators. What gets into HAProxy's configuration text is checked when a value is made, so
that a text can hold nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from lb.front.error import FrontSettingsUnfit, FrontStateUnfit

BindKind = Literal["tls", "plain", "redirect"]

BUFFER_BYTES: Final = 32 * 1024
"""`tune.bufsize`: a request's head with room for a forwarded certificate. HAProxy's own is 16 KiB."""
REWRITE_BYTES: Final = 8 * 1024
"""`tune.maxrewrite`: for what the front adds; a certificate of 5 KiB in base64. Those in use have 1 to 4 KiB."""

_DIRECTORY: Final = re.compile(r"/[A-Za-z0-9._/-]{1,79}")
"""Sockets lie in it, and a socket's path has 107 bytes at most, HAProxy's own `.<pid>.tmp` included (unix(7))."""
_ADDRESS: Final = re.compile(r"(?:[0-9.]{7,15}|\[[0-9a-fA-F:.]{2,45}\]|[a-z0-9.-]{1,120}|\*):[0-9]{1,5}")
_UNIX: Final = re.compile(r"unix@/[A-Za-z0-9._/-]{1,106}")
_NAME: Final = re.compile(r"[a-z0-9-]{1,32}")
_LOG: Final = re.compile(r"stdout|none|/[A-Za-z0-9._/-]{1,106}")
_PATH: Final = re.compile(r"/[A-Za-z0-9._/-]{0,120}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontBind:
    """Where callers come in.

    Attributes:
        address: `address:port` or `[address]:port`.
        kind: `plain` serves without TLS, `redirect` sends everybody to https.
    """

    address: str
    kind: BindKind = "tls"

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        _require("bind", self.address, _ADDRESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPeer:
    """One of the two load balancers, as the other sees it."""

    name: str
    address: str

    def __post_init__(self) -> None:
        """Refuse what is no name or address."""
        _require("peer", self.name, _NAME)
        _require("peer", self.address, _ADDRESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontTimes:
    """How long things may take.

    Attributes:
        request: until a request's head is there, and once more until its body is, or what of it fits into a buffer;
            slow callers are cut then.
        check_every: between two health checks of a line; two failed ones in a row take it out.
        check_within: how long a line may take to answer one. A killed line is missed at once; this is for one that
            stands still, and what it had is cut then: so a line that is only busy, or waits for its disk, needs room.
        hard_stop: how long a replaced worker may still serve what it has.
    """

    connect: timedelta = timedelta(milliseconds=500)
    request: timedelta = timedelta(seconds=10)
    keep_alive: timedelta = timedelta(seconds=30)
    client: timedelta = timedelta(seconds=30)
    server: timedelta = timedelta(seconds=30)
    check_every: timedelta = timedelta(milliseconds=500)
    check_within: timedelta = timedelta(seconds=1)
    hard_stop: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLimits:
    """How much there may be.

    Attributes:
        threads: None: one for each processor.
        body_bytes: of a request that says how long it is. **Source:** what lines read (`app.http.request_body`).
        reloads: that a replaced worker survives, if it still has something to finish: each has its memory (74 MB with
            500 instances of two lines). One reload after the other, these take some 20 s. Our own decision.
        address_calls: requests a second, on average over ten, from one address; a firm behind one proxy sends some
            tens. Our own decision.
        address_connections: at once from one address: a quarter of all, so that nobody alone takes them.
    """

    connections: int = 4096
    threads: int | None = None
    body_bytes: int = 1024 * 1024
    reloads: int = 50
    address_calls: int = 2000
    address_connections: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSettings:
    """One load balancer.

    Attributes:
        directory: its own; private.
        health: where it is asked how it is (`/livez`, `/metrics`); `address:port`.
        name: its own among the peers.
        peers: both, itself included; empty: it is alone.
        haproxy: the program.
        spare_groups: group backends made in advance for each set of several lines.
        log: where access lines go: `stdout`, `none`, or the path of a datagram socket.
        smoke_path: what is asked at the health bind after a reload; an answer of 200 is good.
    """

    directory: Path
    binds: tuple[FrontBind, ...]
    health: str
    name: str = "lb1"
    peers: tuple[FrontPeer, ...] = ()
    haproxy: str = "haproxy"
    spare_groups: int = 2
    log: str = "stdout"
    smoke_path: str = "/livez"
    times: FrontTimes = field(default_factory=FrontTimes)
    limits: FrontLimits = field(default_factory=FrontLimits)

    def __post_init__(self) -> None:
        """Refuse what must not stand in a configuration."""
        _require("directory", str(self.directory), _DIRECTORY)
        _require("health", self.health, _ADDRESS)
        _require("name", self.name, _NAME)
        _require("log", self.log, _LOG)
        _require("smoke_path", self.smoke_path, _PATH)
        if self.peers and self.name not in {peer.name for peer in self.peers}:
            raise FrontSettingsUnfit("A load balancer is one of its own peers.", field="peers")
        if not self.binds:
            raise FrontSettingsUnfit("A load balancer listens somewhere.", field="binds")

    @property
    def current(self) -> Path:
        """The release in force; by this path the configuration names its files."""
        return self.directory / "current"

    @property
    def releases(self) -> Path:
        """Where releases lie, by number."""
        return self.directory / "releases"

    @property
    def run(self) -> Path:
        """Where sockets lie."""
        return self.directory / "run"

    @property
    def runtime_socket(self) -> Path:
        """Where a worker takes commands."""
        return self.run / "admin.sock"

    @property
    def master_socket(self) -> Path:
        """Where the master takes commands."""
        return self.run / "master.sock"

    @property
    def configuration(self) -> Path:
        """What HAProxy is started with."""
        return self.current / "haproxy.cfg"


def line_address(address: str) -> str:
    """The address of a line as it may stand in a configuration.

    Raises:
        FrontStateUnfit: it is none.
    """
    if not (_ADDRESS.fullmatch(address) or _UNIX.fullmatch(address)):
        raise FrontStateUnfit("A line has an address that no load balancer takes.", field="line")
    return address


def _require(name: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        raise FrontSettingsUnfit(f"This is no '{name}' that a load balancer can have.", field=name)

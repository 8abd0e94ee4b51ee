"""HAProxy's runtime and master sockets, typed: what it reports, and what can be changed without a reload.

Nothing is kept between two calls: each connects, sends one command, reads its answer to the end, all before one
deadline. So threads may share a socket. Arguments are checked by type before a byte is sent, and there is no free form:
what people type reaches HAProxy in payloads only.

Every method raises `HaproxyUnavailable`, `HaproxyRejected`, `HaproxyProtocolError` or `HaproxyArgumentInvalid`
(`lb.errors`), and nothing else.

**Source:** management manual of HAProxy 2.6; what it leaves open was tried with 2.6.12 (tests/integration/lb).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from app.core.clock import Clock, SystemClock
from lb.errors import HaproxyRejected
from lb.stats.argument import require_name
from lb.stats.certificate import Authorities, Certificates, CrtLists, RevocationLists
from lb.stats.certificate_row import (
    Certificate,
    CertificateFacts,
    CrtListEntry,
    FileStatus,
    RevocationList,
)
from lb.stats.channel import DEFAULT_TIMEOUT, Channel, lines_of
from lb.stats.master import MasterSocket
from lb.stats.pattern import Acls, Maps
from lb.stats.reading import (
    read_info,
    read_servers_conn,
    read_servers_state,
    read_table,
    read_tables,
    understood,
)
from lb.stats.row import (
    AdminState,
    BackendStat,
    FrontendStat,
    Info,
    MapEntry,
    OperationalState,
    PatternFile,
    Process,
    Processes,
    ServerConn,
    ServerStat,
    ServerState,
    ServerStatus,
    ServerTarget,
    Stat,
    TableEntry,
    TableHead,
    Traffic,
)
from lb.stats.server import ServerOptions, Servers
from lb.stats.stat_reading import read_stat

__all__ = [
    "Acls",
    "AdminState",
    "Authorities",
    "BackendStat",
    "Certificate",
    "CertificateFacts",
    "Certificates",
    "CrtListEntry",
    "CrtLists",
    "FileStatus",
    "FrontendStat",
    "Info",
    "MapEntry",
    "Maps",
    "MasterSocket",
    "OperationalState",
    "PatternFile",
    "Process",
    "Processes",
    "RevocationList",
    "RevocationLists",
    "RuntimeSocket",
    "ServerConn",
    "ServerOptions",
    "ServerStat",
    "ServerState",
    "ServerStatus",
    "ServerTarget",
    "Servers",
    "Stat",
    "TableEntry",
    "TableHead",
    "Traffic",
]

T = TypeVar("T")

_EVERYTHING = ("7", "-1")
"""Frontends, backends and servers, all of them."""


class RuntimeSocket:
    """The runtime socket of a worker (`stats socket … level admin`).

    Attributes:
        path: of the socket.
        servers: their weight, state, coming and going.
        maps: routing data.
        acls: lists of patterns.
        certificates: what is shown to callers; crt_lists: for which host name.
        authorities: who signs callers' certificates; revocation_lists: which of those count no longer.
    """

    def __init__(
        self, path: Path, *, timeout: timedelta = DEFAULT_TIMEOUT, clock: Clock | None = None
    ) -> None:
        self.path = path
        self._channel = Channel(path=path, timeout=timeout, clock=clock or SystemClock())
        self.servers = Servers(self._channel)
        self.maps = Maps(self._channel)
        self.acls = Acls(self._channel)
        self.certificates = Certificates(self._channel)
        self.authorities = Authorities(self._channel)
        self.revocation_lists = RevocationLists(self._channel)
        self.crt_lists = CrtLists(self._channel)

    def message_limit(self) -> int:
        """Bytes that a command may have with its payload (tune.bufsize, less one)."""
        return self._channel.message_limit()

    def show_info(self) -> Info:
        """The worker process."""
        return self._read(read_info, "0.Name.", "show", "info", "typed")

    def show_stat(self, backend: str | None = None) -> Stat:
        """Status and counters of everything, or of one backend (or frontend) and its servers."""
        which = () if backend is None else (require_name("backend", backend), *_EVERYTHING)
        return self._read(read_stat, ("F.", "B.", "S."), "show", "stat", *which, "typed")

    def show_servers_state(self, backend: str | None = None) -> tuple[ServerState, ...]:
        """What servers are told to be and what they are; shorter than `show_stat`."""
        return self._read(read_servers_state, "1\n", "show", "servers", "state", *_one(backend))

    def show_servers_conn(self, backend: str | None = None) -> tuple[ServerConn, ...]:
        """Connections to servers: used ones and idle ones."""
        return self._read(read_servers_conn, "# bkname/", "show", "servers", "conn", *_one(backend))

    def show_tables(self) -> tuple[TableHead, ...]:
        """The stick tables."""
        return self._read(read_tables, ("# table: ", "\n"), "show", "table")

    def show_table(self, table: str) -> tuple[TableEntry, ...]:
        """The rows of a stick table."""
        return self._read(read_table, "# table: ", "show", "table", require_name("table", table))

    def _read(self, read: Callable[[list[str]], T], begins: str | tuple[str, ...], *words: str) -> T:
        """Ask, and read an answer that begins as such answers do; another one is a refusal."""
        name = " ".join(words[:2])
        answer = self._channel.ask(*words)
        if not answer.startswith(begins):
            raise HaproxyRejected(name, answer)
        return understood(name, answer, lambda: read(lines_of(answer, name)))


def _one(backend: str | None) -> tuple[str, ...]:
    return () if backend is None else (require_name("backend", backend),)

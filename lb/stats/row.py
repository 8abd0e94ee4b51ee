"""What HAProxy reports, as typed values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, IntEnum, IntFlag
from functools import cached_property


class ServerStatus(Enum):
    """What a server, backend or frontend says of itself. **Source:** management manual 2.6 §9.1, field `status`."""

    UP = "UP"
    DOWN = "DOWN"
    GOING_DOWN = "NOLB"
    """Up, and going to be stopped: persistent sessions only."""
    DRAIN = "DRAIN"
    MAINT = "MAINT"
    NO_CHECK = "no check"
    """Up, because nobody looks."""
    OPEN = "OPEN"
    STOP = "STOP"


class OperationalState(IntEnum):
    """`srv_op_state` of `show servers state`. **Source:** management manual 2.6 §9.3."""

    STOPPED = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 3


class AdminState(IntFlag):
    """`srv_admin_state` of `show servers state`. **Source:** management manual 2.6 §9.3."""

    NONE = 0
    FORCED_MAINT = 0x01
    """Set by a command."""
    INHERITED_MAINT = 0x02
    """From the server that it tracks."""
    CONFIGURED_MAINT = 0x04
    """`disabled` stands in the configuration; a server that was put in service since keeps this mark."""
    FORCED_DRAIN = 0x08
    INHERITED_DRAIN = 0x10
    RESOLUTION_MAINT = 0x20
    """Its name has no address."""
    HOST_NAME_MAINT = 0x40
    """Its host name was set by a command."""

    @property
    def is_maint(self) -> bool:
        """Whether it takes no traffic at all."""
        return bool(self & _MAINT)

    @property
    def is_drain(self) -> bool:
        """Whether it takes no new traffic."""
        return bool(self & (AdminState.FORCED_DRAIN | AdminState.INHERITED_DRAIN))


_MAINT = AdminState.FORCED_MAINT | AdminState.INHERITED_MAINT | AdminState.RESOLUTION_MAINT


class ServerTarget(Enum):
    """What a server can be told to be."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """A worker process. Counters count from its start.

    Attributes:
        description: what its configuration says of it; empty without.
    """

    version: str
    description: str
    pid: int
    uptime: timedelta
    threads: int
    stopping: bool
    connections: int
    max_connections: int
    connections_total: int
    requests_total: int
    ssl_connections: int
    tasks: int
    run_queue: int
    idle_percent: int
    jobs: int
    listeners: int
    active_peers: int
    connected_peers: int
    pool_bytes: int
    pool_failures: int
    dropped_logs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Counters that frontends, backends and servers share; None where HAProxy keeps none.

    Attributes:
        sessions: now.
        sessions_max: most at once.
        session_limit: None: no limit.
        responses: by first digit of the status code, 1 to 5.
    """

    sessions: int
    sessions_max: int
    session_limit: int | None
    sessions_total: int
    session_rate: int
    bytes_in: int
    bytes_out: int
    requests_denied: int | None
    responses_denied: int | None
    request_errors: int | None
    connection_errors: int | None
    response_errors: int | None
    retries: int | None
    redispatches: int | None
    client_aborts: int | None
    server_aborts: int | None
    requests_total: int | None
    responses: Mapping[int, int]
    responses_other: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendStat:
    """A frontend."""

    name: str
    status: ServerStatus
    traffic: Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendStat:
    """A backend as a whole.

    Attributes:
        active: servers that are up and no backup.
        last_change: since its status last changed.
        downtime: in all.
    """

    name: str
    status: ServerStatus
    weight: int
    active: int
    backup: int
    queue: int
    queue_max: int
    last_change: timedelta
    downtime: timedelta
    traffic: Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStat:
    """A server.

    Attributes:
        weight: in force, as the rise of a slow start has it.
        user_weight: as it was set.
        check_status: result of the last check (`L7OK`, `L4CON`, …); None: it is not checked.
        check_code: status code of the last check, if it had one.
        last_session: since it was last given one; None: never.
        tracks: `backend/server` whose checks count for it.
        address: None: not shown, or a Unix socket.
    """

    backend: str
    name: str
    status: ServerStatus
    status_text: str
    weight: int
    user_weight: int
    is_backup: bool
    queue: int
    queue_max: int
    check_status: str | None
    check_code: int | None
    check_text: str | None
    check_duration: timedelta | None
    check_failures: int
    times_down: int
    last_change: timedelta
    last_session: timedelta | None
    downtime: timedelta
    tracks: str | None
    address: str | None
    traffic: Traffic


@dataclass(frozen=True, kw_only=True)
class Stat:
    """Everything that `show stat` says, read once."""

    frontends: tuple[FrontendStat, ...]
    backends: tuple[BackendStat, ...]
    servers: tuple[ServerStat, ...]

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], ServerStat]:
        return {(server.backend, server.name): server for server in self.servers}

    def server(self, backend: str, name: str) -> ServerStat | None:
        """One of the servers."""
        return self._by_name.get((backend, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """A server as `show servers state` has it.

    Attributes:
        user_weight: as it was set last.
        initial_weight: of the configuration.
        address: None: a Unix socket.
        host_name: None: it has an address of its own.
        port: None: a Unix socket.
    """

    backend: str
    name: str
    server_id: int
    operational: OperationalState
    admin: AdminState
    user_weight: int
    initial_weight: int
    last_change: timedelta
    address: str | None
    host_name: str | None
    port: int | None
    uses_tls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConn:
    """Connections to a server. `idle` wait for their next request."""

    backend: str
    name: str
    used: int
    used_max: int
    idle: int
    idle_limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableHead:
    """A stick table: its type of key, and how full it is."""

    name: str
    key_type: str
    size: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEntry:
    """A row of a stick table.

    Attributes:
        uses: requests that hold it now.
        expires: until it is forgotten; None: never.
        data: what it stores, as HAProxy names and writes it (`server_id`, `http_req_rate(10000)`).
    """

    key: str
    uses: int
    expires: timedelta | None
    data: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapEntry:
    """A line of a map."""

    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternFile:
    """A map or ACL.

    Attributes:
        file: None: patterns that stand in the configuration itself.
        next_version: the newest one that was prepared.
    """

    pattern_id: int
    file: str | None
    current_version: int
    next_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of HAProxy's.

    Attributes:
        reloads: how many it has seen come.
    """

    pid: int
    reloads: int
    uptime: timedelta
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """What the master says of itself and its workers.

    Attributes:
        failed_reloads: since the last one that went well.
        old_workers: finish what they have.
    """

    master: Process
    workers: tuple[Process, ...]
    old_workers: tuple[Process, ...]
    failed_reloads: int

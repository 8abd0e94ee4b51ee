"""Where a cluster of one machine lies, and what it remembers from one start to the next.

<data_dir>/cluster/   cluster.json (addresses, passwords), supervisor.sock, lock, log/<part>.log
<data_dir>/mariadb/   the database server's own
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from app.cluster.part import listener_of
from app.cluster.program import find_program
from app.core.errors import DatabaseUnavailable, DomainError
from app.core.file import replace_file
from app.core.lock import make_private, take_lock
from app.front_part import FRONT_DIRECTORY, front_settings
from app.gateway_process import CONTROL_SOCKET
from app.settings import Settings

DEFAULT_FRONTS: Final = "lb1=127.0.0.11:8443; lb2=127.0.0.12:8443"
"""Two addresses of this machine's own; each takes the two ports behind for its health and its peer."""
DATABASE_ADMIN: Final = "wops_admin"
PLATFORM_DATABASE: Final = "platform"
_FILE: Final = "cluster.json"
_LONGEST: Final = 46
"""Bytes of the data directory's path: with `/lines/<name of 40>-<number>/front.sock` they are the 107 of a socket's.
**Source:** unix(7)."""
_CLEAN: Final = re.compile(r"/[A-Za-z0-9._/-]+")
"""What stands in HAProxy's configuration unquoted."""
_PORTS: Final = range(20_000, 30_000)
"""Below those that the system gives to whoever connects somewhere. **Source:** ip(7), ip_local_port_range."""


class ClusterMissing(DomainError):
    """No cluster was ever started there."""

    code = "cluster_missing"


class ClusterDamaged(DomainError):
    """What a cluster has written down about itself cannot be read."""

    code = "cluster_damaged"


class ClusterRunning(DomainError):
    """Somebody looks after this cluster already, or parts of it run as they were."""

    code = "cluster_running"


class DataDirUnfit(DomainError):
    """No cluster can lie in this directory."""

    code = "data_dir_unfit"


class ClusterMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same from one start to the next.

    Attributes:
        control_port: of 127.0.0.1, where control serves staff and portal besides the front.
        database_port: of 127.0.0.1.
    """

    fronts: str
    control_port: int
    database_port: int
    admin_password: str
    platform_password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlace:
    """The directories of one cluster and what it remembers."""

    data_dir: Path
    memory: ClusterMemory
    log_level: str = "info"

    @property
    def directory(self) -> Path:
        """The supervisor's own."""
        return self.data_dir / "cluster"

    @property
    def supervisor_socket(self) -> Path:
        """Where the supervisor is told to end, and asked how its parts are."""
        return self.directory / "supervisor.sock"

    @property
    def database_directory(self) -> Path:
        """The database server's."""
        return self.data_dir / "mariadb"

    @property
    def database_socket(self) -> Path:
        """Where the database server listens for whoever may open its directory."""
        return self.database_directory / "sock"

    def remember(self) -> None:
        """Write down what stays the same from one start to the next; whoever does holds the directory (`held`).

        Raises:
            OSError: it cannot be written; what was remembered before stays.
        """
        replace_file(self.directory / _FILE, msgspec.json.format(msgspec.json.encode(self.memory)))

    def log_file(self, part: str) -> Path:
        """What a part has to say goes there."""
        return self.directory / "log" / f"{part}.log"

    @property
    def settings(self) -> Settings:
        """What control runs with; whoever starts its load balancers needs the same."""
        memory = self.memory
        platform = (
            f"mysql+pymysql://{PLATFORM_DATABASE}:{memory.platform_password}"
            f"@127.0.0.1:{memory.database_port}/{PLATFORM_DATABASE}"
        )
        given = Settings(data_dir=self.data_dir)
        return Settings(
            data_dir=self.data_dir,
            host="127.0.0.1",
            port=memory.control_port,
            lines="processes",
            boxes=f"unix:{given.box_dir / CONTROL_SOCKET}",
            fronts=memory.fronts,
            front_names="localhost",
            haproxy=str(find_program(given.haproxy) or given.haproxy),
            platform_database=platform,
            log_level=self.log_level,  # type: ignore[arg-type]
        )


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Be the only one who looks after the cluster of a directory, which is made if there is none.

    Raises:
        ClusterRunning: somebody else does.
        DataDirUnfit: no cluster can lie there.
        OSError: the directory cannot be used.
    """
    data_dir = data_dir.resolve()
    _check_directory(data_dir)
    for each in (data_dir, data_dir / "cluster", data_dir / "cluster" / "log"):
        make_private(each)
    try:
        descriptor = take_lock(data_dir / "cluster")
    except BlockingIOError:
        raise ClusterRunning(
            f"This cluster is looked after already; `wops cluster down --data-dir {data_dir}` ends it."
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def open_place(data_dir: Path, *, log_level: str = "info") -> ClusterPlace:
    """The cluster of a data directory.

    Raises:
        ClusterMissing: there is none.
        ClusterDamaged: its file cannot be read.
    """
    data_dir = data_dir.resolve()
    path = data_dir / "cluster" / _FILE
    try:
        memory = msgspec.json.decode(path.read_bytes(), type=ClusterMemory)
    except FileNotFoundError:
        raise ClusterMissing(f"No cluster was started in {data_dir}; `wops cluster up` starts one.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ClusterDamaged(f"{path} cannot be read; restore it from the backup.") from None
    return ClusterPlace(data_dir=data_dir, memory=memory, log_level=log_level)


def plan_place(
    data_dir: Path, *, fronts: str | None = None, control_port: int | None = None, log_level: str = "info"
) -> ClusterPlace:
    """The cluster of a data directory as it is to be, a new one if there is none; what is given replaces what it has.

    Nothing is written: `ClusterPlace.remember` does, once it is known that it can start. The caller holds the
    directory (`held`).

    Raises:
        ClusterDamaged: its file cannot be read.
        ClusterRunning: parts that a killed supervisor has left run with other addresses.
        DataDirUnfit: another platform lies there.
        FrontSettingsUnfit: the load balancers are not written as they should be.
        OSError: the directory cannot be read.
    """
    data_dir = data_dir.resolve()
    try:
        found = open_place(data_dir, log_level=log_level)
    except ClusterMissing:
        found = _new_place(data_dir, log_level)
    memory = msgspec.structs.replace(
        found.memory,
        fronts=fronts or found.memory.fronts,
        control_port=found.memory.control_port if control_port is None else control_port,
    )
    place = replace(found, memory=memory)
    front_settings(place.settings)
    if memory != found.memory:
        _check_ended(data_dir)
    return place


def settings_at(settings: Settings) -> Settings:
    """Settings for who works on the databases of a data directory themselves: a cluster's own, if one lies there.

    Its keys open no other platform's databases, whatever `WOPS_PLATFORM_DATABASE` names.

    Raises:
        ClusterDamaged: what it has written down about itself cannot be read.
        DatabaseUnavailable: its database server does not run.
    """
    try:
        place = open_place(settings.data_dir, log_level=settings.log_level)
    except ClusterMissing:
        return settings
    if listener_of(place.database_socket) is None:
        raise DatabaseUnavailable(
            f"The database server of the cluster in {place.data_dir} does not run; `wops cluster up` starts it."
        )
    return place.settings


def refuse_cluster(data_dir: Path) -> None:
    """Keep a platform of one process out of a cluster's directory: it would find keys and boxes, and no customers.

    Raises:
        DataDirUnfit: a cluster lies there.
    """
    if (data_dir / "cluster" / _FILE).exists():
        raise DataDirUnfit(
            f"A cluster lies in {data_dir}: `wops cluster up` starts it; choose another directory by --data-dir."
        )


def _new_place(data_dir: Path, log_level: str) -> ClusterPlace:
    if Settings(data_dir=data_dir).platform_file.exists():
        raise DataDirUnfit(
            f"The platform of `wops up` lies in {data_dir}; give the cluster a directory of its own by --data-dir."
        )
    control_port = _free_port()
    memory = ClusterMemory(
        fronts=DEFAULT_FRONTS,
        control_port=control_port,
        database_port=_free_port(without=control_port),
        admin_password=secrets.token_urlsafe(24),
        platform_password=secrets.token_urlsafe(24),
    )
    return ClusterPlace(data_dir=data_dir, memory=memory, log_level=log_level)


def _check_directory(data_dir: Path) -> None:
    if not _CLEAN.fullmatch(str(data_dir)):
        raise DataDirUnfit(
            f"{data_dir} stands in HAProxy's configuration: choose a directory of letters, digits, '.', '_' and '-'."
        )
    if len(os.fsencode(data_dir)) > _LONGEST:
        raise DataDirUnfit(
            f"{data_dir} has more than {_LONGEST} characters, too long for the sockets in it; choose another one by"
            " --data-dir."
        )


def _check_ended(data_dir: Path) -> None:
    masters = (data_dir / FRONT_DIRECTORY).glob("*/run/master.sock")
    if any(listener_of(each) is not None for each in (data_dir / "control.sock", *masters)):
        raise ClusterRunning(
            "Parts of this cluster still run with the addresses that they had;"
            f" `wops cluster down --data-dir {data_dir}` ends them."
        )


def _free_port(*, without: int = 0) -> int:
    """A port that nobody listens at now; any of them, so that clusters that are made at once differ."""
    while True:
        port = secrets.choice(_PORTS)
        if port == without:
            continue
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue

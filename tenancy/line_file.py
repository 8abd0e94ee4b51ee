"""The two files that control gives a line: everything that it needs to serve, so that it goes on without control.

    line.json        which line it is, its gateway, limits and keys; read once, at its start
    instances.json   whom it serves and where their databases are; versioned, replaced whole, followed all the time

Both hold secrets: they are their owner's alone (mode 0600), and one that others can read is refused.

LineFileError
├── LineFileExposed     others may read or write it, or it is no plain file
├── LineFileDamaged     it is not there, or not what control writes
└── LineFileOutdated    it is older than what the line serves
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from app.core.file import replace_file
from app.core.ids import InstanceId, LineId
from tenancy.database.home import DatabaseHome, ServerPlace
from tenancy.errors import TenancyError
from tenancy.runner.port import LineLimits
from tenancy.server.record import ServerId, ServerKind

LINES_DIRECTORY: Final = "lines"
"""Below the data directory; a line's own directory is called by its id."""
LINE_FILE: Final = "line.json"
INSTANCES_FILE: Final = "instances.json"
FRONT_SOCKET: Final = "front.sock"
"""Where the trusted front reaches a line."""
PRIVATE_SOCKET: Final = "line.sock"
"""Where control does."""
_FORMAT: Final = 1
_KEY_BYTES: Final = 32
_MOST_BYTES: Final = 64 * 1024 * 1024
"""Ten thousand instances take four megabytes."""

T = TypeVar("T")


class LineFileError(TenancyError):
    """A line cannot use what it was given."""

    code = "line_file_error"


class LineFileExposed(LineFileError):
    """Others than its owner may read or write it."""

    code = "line_file_exposed"


class LineFileDamaged(LineFileError):
    """It is missing or broken."""

    code = "line_file_damaged"


class LineFileOutdated(LineFileError):
    """An older version has been put in its place."""

    code = "line_file_outdated"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayTls:
    """How a line proves who it is to a gateway at an https address: paths of PEM files."""

    certificate: str
    key: str
    ca: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFile:
    """What a line is.

    Attributes:
        gateway: `unix:/path` of the gateway's socket for lines, or `https://host:port`; then with `gateway_tls`.
        check_key: checks API clients' secrets; 32 bytes.
        cursor_key: seals cursors of lists, the same for all lines and for control; 32 bytes.
        program_wait_seconds: how long a caller waits for a slow box.
        program_deadline_seconds: when a transfer that no box has programmed is rolled back.
        drive_lease_seconds: when another line may take over the driving of a transfer.
        check_interval_seconds: how often the front asks whether the line is ready.
    """

    line_id: LineId
    gateway: str
    check_key: bytes = field(repr=False)
    cursor_key: bytes = field(repr=False)
    gateway_tls: GatewayTls | None = None
    limits: LineLimits = field(default_factory=LineLimits)
    program_wait_seconds: float = 20.0
    program_deadline_seconds: float = 600.0
    drive_lease_seconds: float = 30.0
    check_interval_seconds: float = 0.5
    format: int = _FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class LineInstance:
    """An instance that a line serves.

    Attributes:
        name: first segment of its paths.
        home: its database; the address of a SQLite place is an absolute path here.
    """

    instance_id: InstanceId
    name: str
    home: DatabaseHome


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedInstances:
    """Whom a line serves.

    Attributes:
        version: grows with every change; a line never goes back to an older one.
        connections: to one address of a database server at most, and over all directories of files together.
    """

    version: int
    instances: tuple[LineInstance, ...]
    connections: int = 64


class _Server(msgspec.Struct, omit_defaults=True):
    kind: ServerKind
    address: str
    server_id: str | None = None
    tls_ca: str | None = None


class _Instance(msgspec.Struct, omit_defaults=True):
    instance_id: str
    name: str
    server: int
    database: str
    user: str | None = None
    password: str | None = None


class _Instances(msgspec.Struct):
    format: int
    version: int
    connections: int
    servers: list[_Server]
    instances: list[_Instance]


def write_line(directory: Path, line: LineFile) -> None:
    """Put `line.json` in place, whole and durable. The directory must be there."""
    replace_file(directory / LINE_FILE, msgspec.json.format(msgspec.json.encode(line), indent=1))


def read_line(directory: Path) -> LineFile:
    """What a line is.

    Raises:
        LineFileExposed, LineFileDamaged: it cannot be used.
    """
    path = directory / LINE_FILE
    line = _decode(path, LineFile)
    if line.format != _FORMAT:
        raise LineFileDamaged(f"{path.name} has another format: {line.format}.", file=path.name)
    if {len(line.check_key), len(line.cursor_key)} != {_KEY_BYTES}:
        raise LineFileDamaged(f"{path.name}: a key must have {_KEY_BYTES} bytes.", file=path.name)
    return line


def write_instances(
    directory: Path, instances: Sequence[LineInstance], *, connections: int, newer_than: int = 0
) -> int:
    """Put `instances.json` in place if it says anything else; returns the version that is there now.

    Args:
        newer_than: a version that the line has already; matters if the file was damaged or put back from a backup.
    """
    wanted = ServedInstances(
        version=0,
        instances=tuple(sorted(instances, key=lambda each: each.instance_id)),
        connections=connections,
    )
    try:
        old = read_instances(directory)
    except LineFileError:
        old = ServedInstances(version=0, instances=(), connections=0)
    if old.version >= max(newer_than, 1) and _same(old, wanted):
        return old.version
    version = max(old.version, newer_than) + 1
    replace_file(directory / INSTANCES_FILE, msgspec.json.encode(_to_wire(wanted, version)))
    return version


def read_instances(directory: Path) -> ServedInstances:
    """Whom a line serves.

    Raises:
        LineFileExposed, LineFileDamaged: it cannot be used.
    """
    path = directory / INSTANCES_FILE
    found = _decode(path, _Instances)
    if found.format != _FORMAT or found.version < 1:
        raise LineFileDamaged(f"{path.name} has another format: {found.format}.", file=path.name)
    try:
        return _from_wire(found)
    except IndexError as error:
        raise LineFileDamaged(f"{path.name} names a server that it does not list.", file=path.name) from error


def line_directory(data_dir: Path, line_id: LineId) -> Path:
    """Where a line's files and sockets are."""
    return data_dir / LINES_DIRECTORY / line_id


def _same(old: ServedInstances, wanted: ServedInstances) -> bool:
    return (old.instances, old.connections) == (wanted.instances, wanted.connections)


def _to_wire(wanted: ServedInstances, version: int) -> _Instances:
    places: dict[ServerPlace, int] = {}
    instances = [
        _Instance(
            instance_id=each.instance_id,
            name=each.name,
            server=places.setdefault(each.home.place, len(places)),
            database=each.home.database_name,
            user=each.home.user_name,
            password=each.home.password,
        )
        for each in wanted.instances
    ]
    servers = [
        _Server(kind=each.kind, address=each.address, server_id=each.server_id, tls_ca=each.tls_ca)
        for each in places
    ]
    return _Instances(
        format=_FORMAT,
        version=version,
        connections=wanted.connections,
        servers=servers,
        instances=instances,
    )


def _from_wire(found: _Instances) -> ServedInstances:
    places = [
        ServerPlace(
            server_id=None if each.server_id is None else ServerId(each.server_id),
            kind=each.kind,
            address=each.address,
            tls_ca=each.tls_ca,
        )
        for each in found.servers
    ]
    instances = tuple(_to_instance(each, places[each.server]) for each in found.instances)
    return ServedInstances(version=found.version, instances=instances, connections=found.connections)


def _to_instance(found: _Instance, place: ServerPlace) -> LineInstance:
    instance_id = InstanceId(found.instance_id)
    home = DatabaseHome(
        instance_id=instance_id,
        place=place,
        database_name=found.database,
        user_name=found.user,
        password=found.password,
    )
    return LineInstance(instance_id=instance_id, name=found.name, home=home)


def _decode(path: Path, kind: type[T]) -> T:
    content = _read_private(path)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # What stands there is secret: no cause, no excerpt.
        raise LineFileDamaged(f"{path.name} is not what control writes.", file=path.name) from None


def _read_private(path: Path) -> bytes:
    refused: dict[str, Any] = {"file": path.name}
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise LineFileDamaged(f"{path.name} cannot be opened: {error.strerror}.", **refused) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise LineFileExposed(
                f"{path.name} must be its owner's alone (mode 0600); make new secrets if others have read it.",
                **refused,
            )
        if status.st_size > _MOST_BYTES:
            raise LineFileDamaged(f"{path.name} is too long.", **refused)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            # As much as there is: a buffer of the utmost size would cost a line its memory limit.
            return file.read(status.st_size)
    finally:
        os.close(descriptor)

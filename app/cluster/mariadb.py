"""The cluster's own MariaDB server: a data directory, a port of 127.0.0.1, nothing of the machine's own MariaDB.

Who may do what in it is said again with each start (`init_file`), so that a directory whose making was killed half-way,
and one whose passwords were lost and made anew, are put right by the next one.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.cluster.place import DATABASE_ADMIN, PLATFORM_DATABASE, ClusterPlace
from app.cluster.program import require_program
from app.core.errors import DomainError
from app.core.file import replace_file, sync_directory
from app.core.lock import make_private

SERVER: Final = "mariadbd"
INSTALLER: Final = "mariadb-install-db"
NEEDED: Final = (SERVER, INSTALLER, "my_print_defaults")
"""Programs; the last one is called by the installer."""

_OPTIONS: Final = {
    # What is acknowledged is on the disk. Source: high availability reference, findings 4 and section 1.6.
    "innodb_flush_log_at_trx_commit": "1",
    "innodb_snapshot_isolation": "ON",
    "innodb_rollback_on_timeout": "ON",
    "innodb_autoinc_lock_mode": "2",
    "character_set_server": "utf8mb4",
    "collation_server": "utf8mb4_nopad_bin",
    "lower_case_table_names": "0",
    "skip_name_resolve": "ON",
    "local_infile": "OFF",
    "performance_schema": "OFF",
    "innodb_buffer_pool_size": "128M",
    "innodb_log_file_size": "64M",
    # Control, the shared line, and the lines of each of eight dedicated servers have up to 64
    # (WOPS_SERVER_CONNECTIONS), and control as many to the platform database.
    "max_connections": "1000",
}


_ROOM_MB: Final = 512
"""A new data directory takes 150 MB, and the rest of a cluster writes, too. With a full disk the server that makes it
hangs, measured."""


class DatabaseNotMade(DomainError):
    """The data directory of the database server could not be made."""

    code = "database_not_made"


def is_made(place: ClusterPlace) -> bool:
    """Whether its data directory is complete; it has its name only then."""
    return _data(place).is_dir()


def require_room(place: ClusterPlace) -> None:
    """Refuse to make a data directory where it would not fit.

    Raises:
        DatabaseNotMade: it is to be made, and the disk is too full.
    """
    free = shutil.disk_usage(place.data_dir).free // 1_000_000
    if not is_made(place) and free < _ROOM_MB:
        raise DatabaseNotMade(
            f"A new database needs {_ROOM_MB} MB, and {place.data_dir} has {free} MB left; make room, or choose"
            " another directory by --data-dir."
        )


def new_data(place: ClusterPlace) -> Path:
    """Where a data directory is made; what killed attempts have left is removed. Blocking.

    Each attempt has a directory of its own, should one that was killed still have somebody who works in it.
    """
    directory = place.database_directory
    make_private(directory)
    remove_attempts(place)
    attempt = _attempt(place, secrets.token_hex(4))
    for each in (directory / "tmp", attempt):
        make_private(each)
    return attempt


def remove_attempts(place: ClusterPlace) -> None:
    """Give their room back. Blocking."""
    for left in place.database_directory.glob("new-*"):
        shutil.rmtree(left, ignore_errors=True)


def make_command(place: ClusterPlace, attempt: Path) -> Sequence[str]:
    """What makes a data directory in a directory that is empty; takes some seconds.

    Raises:
        ProgramMissing: it is not installed.
    """
    return (
        str(require_program(INSTALLER)),
        "--no-defaults",
        f"--datadir={attempt}",
        f"--tmpdir={place.database_directory / 'tmp'}",
        f"--innodb-log-file-size={_OPTIONS['innodb_log_file_size']}",
        "--skip-test-db",
        *_as_user(),
    )


def note_made(place: ClusterPlace, attempt: Path) -> None:
    """A data directory is complete: give it its name. Blocking."""
    attempt.rename(_data(place))
    sync_directory(place.database_directory)


def run_command(place: ClusterPlace) -> Sequence[str]:
    """What runs it.

    Raises:
        ProgramMissing: it is not installed.
    """
    directory = place.database_directory
    options = {
        **_OPTIONS,
        "tmpdir": str(directory / "tmp"),
        "socket": str(place.database_socket),
        "pid_file": str(directory / "pid"),
        "init_file": str(_init_file(place)),
        "bind_address": "127.0.0.1",
        "port": str(place.memory.database_port),
    }
    said = (f"--{name}={value}" for name, value in options.items())
    return (str(require_program(SERVER)), "--no-defaults", data_option(place), *said, *_as_user())


def data_option(place: ClusterPlace) -> str:
    """Stands among the server's arguments, and in no other program's."""
    return f"--datadir={_data(place)}"


def is_maker(place: ClusterPlace, words: Sequence[str]) -> bool:
    """Whether program and arguments of a process are of one that makes a data directory."""
    return any(word.startswith(f"--datadir={_attempt(place, '')}") for word in words)


def _attempt(place: ClusterPlace, name: str) -> Path:
    return place.database_directory / f"new-{name}"


def _data(place: ClusterPlace) -> Path:
    return place.database_directory / "data"


def _as_user() -> Sequence[str]:
    # As root it has to be told that root is meant; its directory is closed to everybody else.
    return ("--user=root",) if os.geteuid() == 0 else ()


def _init_file(place: ClusterPlace) -> Path:
    """Who may do what; one statement to a line. **Source:** tenancy/server/README.md."""
    admin, platform = f"`{DATABASE_ADMIN}`@`127.0.0.1`", f"`{PLATFORM_DATABASE}`@`127.0.0.1`"
    memory = place.memory
    statements = (
        f"CREATE DATABASE IF NOT EXISTS `{PLATFORM_DATABASE}`;",
        f"CREATE USER IF NOT EXISTS {platform};",
        f"ALTER USER {platform} IDENTIFIED BY '{memory.platform_password}';",
        f"GRANT ALL ON `{PLATFORM_DATABASE}`.* TO {platform};",
        f"CREATE USER IF NOT EXISTS {admin};",
        f"ALTER USER {admin} IDENTIFIED BY '{memory.admin_password}';",
        f"GRANT CREATE USER, CONNECTION ADMIN ON *.* TO {admin};",
        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES"
        rf" ON `wops\_%`.* TO {admin} WITH GRANT OPTION;",
    )
    path = place.database_directory / "init.sql"
    replace_file(path, "\n".join(statements).encode() + b"\n")
    return path

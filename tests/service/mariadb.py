"""A private MariaDB server for one test session.

Own data folder, own loopback port, own unprivileged process; nothing of the machine's own MariaDB is read or
touched. The kernel ends the server when the test process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pymysql
from pymysql.connections import Connection

from tests.service.binary import find_binary
from tests.service.wait import wait_until

PROGRAMS = ("mariadbd", "mariadb-install-db", "my_print_defaults", "setpriv")
_READY_WITHIN = timedelta(seconds=60)
_STOP_WITHIN_SECONDS = 20
# Linux has it everywhere, in containers with a size of its own.
_MEMORY = Path("/dev/shm")
# Four servers with some hundred databases each, of a few megabytes.
_MEMORY_BYTES = 4 * 2**30
_PREFIX = "wops-db-"
_IN_USE = "in-use"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")

_SERVER_OPTIONS: Mapping[str, str] = {
    # What production runs with, where it changes results.
    "innodb_flush_log_at_trx_commit": "1",
    "innodb_snapshot_isolation": "ON",
    "innodb_autoinc_lock_mode": "2",
    "lower_case_table_names": "0",
    "character_set_server": "utf8mb4",
    # Not what production runs with: tables name their own collation, and a test that leans on the default fails.
    "collation_server": "utf8mb4_general_ci",
    "skip_name_resolve": "ON",
    # As small as the measured cluster nodes (62-66 MB idle). Source: high availability reference, section 7.
    "performance_schema": "OFF",
    "innodb_buffer_pool_size": "32M",
    "innodb_log_file_size": "16M",
    "innodb_log_buffer_size": "2M",
    "key_buffer_size": "64K",
    "aria_pagecache_buffer_size": "1M",
    "table_open_cache": "200",
    "table_definition_cache": "400",
    "query_cache_type": "0",
    # Above 16 clients with a pool each.
    "max_connections": "200",
    # A connection that a test left open fails the removal of its database instead of stopping the run.
    "lock_wait_timeout": "10",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MariaDbAccess:
    """One database and the only user that may see it."""

    database: str
    url: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MariaDbServer:
    """A running private server.

    Attributes:
        host: loopback address.
        port: TCP port.
        process: the server, for tests that kill or freeze it; such a test starts a server of its own.
        folder: data, socket and error log.
    """

    host: str
    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    admin_password: str = field(repr=False)

    @contextlib.contextmanager
    def connect_admin(self) -> Iterator[Connection[Any]]:
        """A connection that may do everything; autocommits."""
        connection = pymysql.connect(
            unix_socket=str(self.folder / "sock"), user="root", password=self.admin_password, autocommit=True
        )
        try:
            yield connection
        finally:
            connection.close()

    def create_database(self, name: str) -> MariaDbAccess:
        """Create a database and a user with rights on it alone.

        Raises:
            ValueError: the name is not a plain lower-case identifier.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a plain database name: {name!r}")
        password = secrets.token_hex(16)
        # `_` in the database part of a GRANT matches any character unless it is escaped.
        pattern = name.replace("_", r"\_")
        self.execute(
            f"CREATE DATABASE `{name}`",
            f"CREATE USER `{name}`@`%` IDENTIFIED BY '{password}'",
            f"GRANT ALL ON `{pattern}`.* TO `{name}`@`%`",
        )
        url = f"mysql+pymysql://{name}:{password}@{self.host}:{self.port}/{name}"
        return MariaDbAccess(database=name, url=url, user=name, password=password)

    def create_admin(self, name: str) -> str:
        """Create an administrator as an operator of wops would, able to do what it needs and no more; his password."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a plain user name: {name!r}")
        password = secrets.token_hex(16)
        self.execute(
            f"CREATE OR REPLACE USER `{name}`@`%` IDENTIFIED BY '{password}'",
            f"GRANT CREATE USER, CONNECTION ADMIN ON *.* TO `{name}`@`%`",
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES"
            rf" ON `wops\_%`.* TO `{name}`@`%` WITH GRANT OPTION",
        )
        return password

    @contextlib.contextmanager
    def restarted(self, **options: str) -> Iterator[None]:
        """The same server again, at the same address, after it ended; stopped at the end."""
        process = _start(self.folder, self.port, options)
        try:
            _wait_listening(self.folder, self.port, process)
            yield
        finally:
            _stop(process)

    def drop_database(self, name: str) -> None:
        """Drop a database and its user, if they are there."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a plain database name: {name!r}")
        self.execute(f"DROP DATABASE IF EXISTS `{name}`", f"DROP USER IF EXISTS `{name}`@`%`")

    def execute(self, *statements: str) -> None:
        """Run statements as administrator."""
        with self.connect_admin() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def missing_programs() -> list[str]:
    """What would have to be installed before a server can start."""
    return [name for name in PROGRAMS if find_binary(name) is None]


@contextlib.contextmanager
def run_mariadb(*, in_memory: bool = False) -> Iterator[MariaDbServer]:
    """Start a server on an empty data folder; stop it and remove the folder at the end.

    Args:
        in_memory: keep the folder there if the machine has room. A kill of the server loses nothing there either,
            and no disk is waited for: 1.5 times as fast where it is idle, 17 times where others write to it.

    Raises:
        AssertionError: it was not ready in time; the message holds the end of its error log.
    """
    parent = _memory() if in_memory else Path(tempfile.gettempdir())
    _remove_left_behind(parent)
    # A socket's path is at most 107 bytes, hence no folder of pytest's. Source: unix(7).
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    in_use = _mark_in_use(folder)
    try:
        _own_folder(folder)
        _install(folder)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        process = _start(folder, port)
        try:
            yield _wait_ready(folder, port, process)
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(in_use)


def _mark_in_use(folder: Path) -> int:
    """Take a lock that ends with this process, however it ends; it is held before others can see it."""
    descriptor = os.open(folder / "new", os.O_CREAT | os.O_WRONLY, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    (folder / "new").rename(folder / _IN_USE)
    return descriptor


def _remove_left_behind(parent: Path) -> None:
    """Remove folders of processes that were killed: each would keep a hundred megabytes, of memory even, for good."""
    for mark in parent.glob(f"{_PREFIX}*/{_IN_USE}"):
        # In use, somebody else's, or gone by now.
        with contextlib.suppress(OSError), mark.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(mark.parent, ignore_errors=True)


def _memory() -> Path:
    """A file system in memory, if it has room for all servers of a run; containers often have 64 MB."""
    has_room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES
    return _MEMORY if has_room else Path(tempfile.gettempdir())


def _server_account() -> pwd.struct_passwd | None:
    """Whom the server runs as: MariaDB refuses root; an ordinary user runs it as himself (None)."""
    if os.geteuid() != 0:
        return None
    for name in ("mysql", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("neither an account 'mysql' nor 'nobody' exists to run MariaDB as")


def _own_folder(folder: Path) -> None:
    account = _server_account()
    (folder / "data").mkdir()
    (folder / "tmp").mkdir()
    if account is not None:
        for path in (folder, folder / "data", folder / "tmp"):
            os.chown(path, account.pw_uid, account.pw_gid)


def _command(program: str, *arguments: str) -> list[str]:
    """A command that runs without privileges and dies with the test process."""
    path = find_binary(program)
    setpriv = find_binary("setpriv")
    assert path is not None, f"{program} is missing"
    assert setpriv is not None, "setpriv is missing"
    account = _server_account()
    drop = []
    if account is not None:
        drop = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return [str(setpriv), *drop, "--pdeathsig=KILL", str(path), *arguments]


def _install(folder: Path) -> None:
    result = subprocess.run(
        _command(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={folder / 'data'}",
            f"--tmpdir={folder / 'tmp'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            f"--innodb-log-file-size={_SERVER_OPTIONS['innodb_log_file_size']}",
        ),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_READY_WITHIN.total_seconds(),
        check=False,
    )
    assert result.returncode == 0, f"mariadb-install-db failed:\n{result.stdout}\n{result.stderr}"


def _start(folder: Path, port: int, more: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    options = {
        **_SERVER_OPTIONS,
        "datadir": str(folder / "data"),
        "tmpdir": str(folder / "tmp"),
        "socket": str(folder / "sock"),
        "pid_file": str(folder / "pid"),
        "log_error": str(folder / "error.log"),
        "bind_address": "127.0.0.1",
        "port": str(port),
        **(more or {}),
    }
    return subprocess.Popen(
        _command("mariadbd", "--no-defaults", *(f"--{name}={value}" for name, value in options.items())),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_ready(folder: Path, port: int, process: subprocess.Popen[bytes]) -> MariaDbServer:
    _wait_listening(folder, port, process)
    server = MariaDbServer(host="127.0.0.1", port=port, process=process, folder=folder, admin_password="")
    password = secrets.token_hex(16)
    server.execute(f"SET PASSWORD FOR root@localhost = PASSWORD('{password}')")
    return replace(server, admin_password=password)


def _wait_listening(folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    def is_listening() -> bool:
        assert process.poll() is None, "the server has ended"
        # No try with PyMySQL: it leaves a Unix socket open that nobody listens to.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    try:
        wait_until(is_listening, "MariaDB to listen", deadline=_READY_WITHIN)
    except AssertionError as error:
        log = folder / "error.log"
        tail = log.read_text(errors="replace")[-3000:] if log.exists() else "(no error log)"
        raise AssertionError(f"{error}\n{tail}") from None


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

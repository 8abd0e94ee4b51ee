"""A private Redis on a Unix socket, gone with the benchmark."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.service.binary import find_binary
from tests.service.wait import wait_until

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""What was accepted survives a crash, as it does in a box's journal."""
VOLATILE = ("--appendonly", "no")
"""As fast as Redis can be: nothing reaches the disk."""


@contextmanager
def running_redis(folder: Path, *, durable: bool) -> Iterator[Path]:
    """Serve from a directory of its own; the path of the socket.

    Raises:
        RuntimeError: Debian's `redis-tools` is not installed.
    """
    # One program with several names, of which it behaves as it is called; the package with this one has no service.
    binary = find_binary("redis-check-rdb")
    if binary is None:
        raise RuntimeError("'redis-tools' is not installed ('make bench' as root installs it)")
    folder.mkdir(mode=0o700)
    path = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--save", ""]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["redis-server", *options, "--dir", str(folder), *(DURABLE if durable else VOLATILE)],
            executable=str(binary),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: _answers(path), "redis-server to answer")
        yield path
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(path: Path) -> bool:
    try:
        with Redis(unix_socket_path=str(path)) as redis:
            return bool(redis.ping())
    except RedisConnectionError:
        return False

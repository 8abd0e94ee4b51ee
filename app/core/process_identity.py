"""Who a process is: numbers are given again, so a number alone says nothing. Nothing is started or signalled here."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

_CREDENTIALS: Final = struct.Struct("3i")
"""**Source:** unix(7): `struct ucred` is pid, uid, gid."""


def open_peer(connection: socket.socket) -> tuple[int, int]:
    """Who listens at the other end of a Unix socket: a descriptor of that process, and its number.

    Unless it answers, or `is_connected`, after that, the number may have been another's by the time it was opened.

    Raises:
        OSError, OverflowError: it has ended.
    """
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid = _CREDENTIALS.unpack(found)[0]
    return os.pidfd_open(pid), pid


def is_connected(connection: socket.socket) -> bool:
    """Whether the process at the other end still lives, though it says nothing."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return not poll.poll(0)


def running(is_meant: Callable[[Sequence[str]], bool]) -> list[int]:
    """Processes of this user, told by program and arguments: their numbers, never to be signalled. Blocking.

    It finds those, too, that have only just been started and listen nowhere yet.
    """
    return [pid for pid in _pids() if is_meant(words_of(pid)) and _is_own(pid)]


def open_running(is_meant: Callable[[Sequence[str]], bool]) -> list[tuple[int, int]]:
    """Those of these processes that live: a descriptor of each, and its number. Blocking."""
    found = []
    for pid in running(is_meant):
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(pid)
            # Read again: it lives afterwards, so that the number was its own when its words were read.
            if is_meant(words_of(pid)) and is_alive(descriptor):
                found.append((descriptor, pid))
            else:
                os.close(descriptor)
    return found


def is_alive(descriptor: int) -> bool:
    """Whether the process of a descriptor (pidfd) has not ended yet."""
    # No `select`: it refuses descriptors from 1024 on.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)


def words_of(pid: int) -> Sequence[str]:
    """Program and arguments of a process; none if it is gone, or ends."""
    try:
        content = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return [os.fsdecode(word) for word in content.removesuffix(b"\0").split(b"\0")] if content else ()


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot: numbers are given again, times of start are not.

    Raises:
        OSError: there is no such process.
    """
    # **Source:** proc(5), /proc/<pid>/stat: `starttime` is field 22.
    return int(_stat_fields(pid)[19])


def has_members(group: int) -> bool:
    """Whether processes of a group live."""
    for pid in _pids():
        try:
            # **Source:** proc(5): state is field 3, the group field 5.
            state, _parent, its_group = _stat_fields(pid)[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False


def _stat_fields(pid: int) -> list[str]:
    """From the third on; the second one, its name, may hold spaces and brackets."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _is_own(pid: int) -> bool:
    # The owner of its directory says nothing: that of a process whose memory is private is root's.
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return f"\nUid:\t{os.getuid()}\t" in text

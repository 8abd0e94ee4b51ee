"""A socket that answers as it is told to: slowly, in part, without end, with garbage, or not at all."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Behaviour = Callable[[socket.socket], None]


class AnsweringSocket:
    """Serves connections one after the other; `behave` may be exchanged at any time.

    Attributes:
        received: what came in on each connection before it was answered.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.received: list[bytes] = []
        self.behave: Behaviour = closes
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def answer(self, data: bytes) -> None:
        """From now on, answer with these bytes and close."""
        self.behave = lambda connection: connection.sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    self.received.append(connection.recv(65536))
                    self.behave(connection)
                except OSError:
                    continue


def closes(_connection: socket.socket) -> None:
    """Say nothing."""


def is_silent(connection: socket.socket) -> None:
    """Keep the connection open until the other side gives up."""
    while connection.recv(65536):
        pass


def drips(connection: socket.socket) -> None:
    """A byte now and then, without end: every read succeeds, the whole never does."""
    while True:
        connection.sendall(b"#")
        connection.settimeout(0.02)
        try:
            if not connection.recv(1):
                return
        except TimeoutError:
            continue


def floods(connection: socket.socket) -> None:
    """Without end, as fast as it goes."""
    block = b"x" * 1_000_000
    while True:
        connection.sendall(block)


@contextmanager
def answering_socket() -> Iterator[AnsweringSocket]:
    with tempfile.TemporaryDirectory(prefix="hap") as name:
        served = AnsweringSocket(Path(name) / "s.sock")
        try:
            yield served
        finally:
            served.close()

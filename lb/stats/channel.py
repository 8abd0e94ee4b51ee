"""One command over a Unix socket of HAProxy: connect, send, read to the end, all before one deadline."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from app.core.clock import Clock, SystemClock
from lb.errors import (
    HaproxyArgumentInvalid,
    HaproxyProtocolError,
    HaproxyRejected,
    HaproxyTooLarge,
    HaproxyUnavailable,
)
from lb.stats.argument import SOCKET_PATH_BYTES, require_word

DEFAULT_TIMEOUT: Final = timedelta(seconds=2)
ANSWER_LIMIT: Final = 64 * 1024 * 1024
"""Bytes. The statistics of 500 backends with 2 servers each are 7 MB; ten times as many still fit."""
LINE_LIMIT: Final = 1024
"""Bytes that are sent without asking for the buffer's size first; no sensible tune.bufsize is smaller."""

_RECEIVE_BYTES = 256 * 1024
_BUFFER_POOL = re.compile(r"^ *- Pool buffer \((\d+) bytes\)", re.MULTILINE)
_PAYLOAD_LINE_BREAKS = re.compile(r"(^|\n)[ \t]*\n|[\r\0]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A socket of HAProxy, to which each call connects anew. Safe to share between threads: nothing is kept.

    Attributes:
        timeout: for connecting, sending and reading together.
        ends_input: say that no second command follows, without which a master keeps the connection open.
    """

    path: Path
    timeout: timedelta = DEFAULT_TIMEOUT
    clock: Clock = field(default_factory=SystemClock)
    ends_input: bool = False

    def __post_init__(self) -> None:
        encoded = str(self.path).encode()
        if b"\0" in encoded or not 0 < len(encoded) <= SOCKET_PATH_BYTES:
            raise HaproxyArgumentInvalid("path", f"is a path of at most {SOCKET_PATH_BYTES} bytes")
        if self.timeout <= timedelta(0):
            raise HaproxyArgumentInvalid("timeout", "is above zero")

    def ask(self, *words: str, may_be_empty: bool = False) -> str:
        """Send one command without payload and return the whole answer, which is never empty unless that is allowed.

        Raises:
            HaproxyUnavailable: no connection, or no whole answer in time.
            HaproxyProtocolError: the answer is longer than `ANSWER_LIMIT`.
            HaproxyArgumentInvalid: a word is none.
        """
        return self._answered(self._exchange(_line(words), name_of(words)), words, may_be_empty)

    def ask_with(self, payload: str, *words: str) -> str:
        """As `ask`, for a command with a payload: lines, each with its line break.

        Raises:
            HaproxyTooLarge: command and payload do not fit into HAProxy's buffer.
        """
        message = _message(payload, words)
        if len(message) > LINE_LIMIT and len(message) > (limit := self.message_limit()):
            raise HaproxyTooLarge(
                "payload",
                f"needs {len(message)} bytes with its command, and this HAProxy reads {limit} (tune.bufsize)",
            )
        return self._answered(self._exchange(message, name_of(words)), words)

    def message_limit(self) -> int:
        """Bytes that a command may have with its payload: HAProxy's buffer, less one.

        Asked anew, because a reload may change it. **Source:** tried with 2.6.12 and a buffer of 16384: 16383 bytes are
        read; one more, with a payload, is never answered and makes the worker crash; two more close the connection
        without a word.
        """
        answer = self.ask("show", "pools")
        found = _BUFFER_POOL.search(answer)
        if found is None:
            raise HaproxyProtocolError("show pools", answer)
        return int(found[1]) - 1

    def command(self, *words: str) -> None:
        """Send a command whose success is silence.

        Raises:
            HaproxyRejected: it answered something.
        """
        expect_silence(self.ask(*words), name_of(words))

    def _answered(self, answer: bytes, words: tuple[str, ...], may_be_empty: bool = False) -> str:
        if not answer and not may_be_empty:
            name = name_of(words)
            raise HaproxyUnavailable(
                f"HAProxy closed the connection without answering '{name}'", command=name
            )
        return answer.decode(errors="backslashreplace")

    def _exchange(self, message: bytes, name: str) -> bytes:
        until = self.clock.monotonic() + self.timeout.total_seconds()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._remaining(until))
                connection.connect(str(self.path))
                connection.settimeout(self._remaining(until))
                connection.sendall(message)
                if self.ends_input:
                    connection.shutdown(socket.SHUT_WR)
                return self._read(connection, until, name)
        except TimeoutError:
            raise HaproxyUnavailable(f"HAProxy did not answer '{name}' in time", command=name) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise HaproxyUnavailable(f"HAProxy cannot be asked '{name}': {reason}", command=name) from None

    def _read(self, connection: socket.socket, until: float, name: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            connection.settimeout(self._remaining(until))
            part = connection.recv(_RECEIVE_BYTES)
            if not part:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
            if size > ANSWER_LIMIT:
                raise HaproxyProtocolError(name, f"more than {ANSWER_LIMIT} bytes")

    def _remaining(self, until: float) -> float:
        """Seconds left.

        Raises:
            TimeoutError: none.
        """
        left = until - self.clock.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def expect_silence(answer: str, name: str) -> None:
    """An answer that says nothing: done.

    Raises:
        HaproxyRejected: it says something.
    """
    if answer.strip("\n"):
        raise HaproxyRejected(name, answer)


def expect_text(answer: str, name: str, expected: str) -> None:
    """An answer that is one known text.

    Raises:
        HaproxyRejected: it is another one.
    """
    if answer.strip("\n") != expected:
        raise HaproxyRejected(name, answer)


def lines_of(answer: str, name: str) -> list[str]:
    """The lines of an answer that ends as whole ones do, with an empty line.

    Raises:
        HaproxyUnavailable: it was cut off.
    """
    if not answer.endswith("\n\n") and answer != "\n":
        raise HaproxyUnavailable(f"HAProxy's answer to '{name}' was cut off", command=name)
    return answer.rstrip("\n").split("\n") if answer.strip("\n") else []


def name_of(words: tuple[str, ...]) -> str:
    """What a command is called in errors: its first words, no argument."""
    return " ".join(
        word for word in words[:3] if word.isalpha() or word in {"ca-file", "crl-file", "crt-list"}
    )


def _line(words: tuple[str, ...]) -> bytes:
    line = " ".join(require_word("command", word) for word in words).encode() + b"\n"
    if len(line) > LINE_LIMIT:
        raise HaproxyTooLarge("command", f"has at most {LINE_LIMIT} bytes")
    return line


def _message(payload: str, words: tuple[str, ...]) -> bytes:
    """The command, its payload, and the empty line that ends it."""
    if not payload.endswith("\n") or _PAYLOAD_LINE_BREAKS.search(payload):
        raise HaproxyArgumentInvalid("payload", "has lines that are not empty, each with its line break")
    return _line(words)[:-1] + b" <<\n" + payload.encode() + b"\n"

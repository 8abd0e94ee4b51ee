"""Requests byte by byte, from any address: what a well-behaved client would never send is sent, too."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import TracebackType

Address = IPv4Address | IPv6Address

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


@dataclass(frozen=True, kw_only=True)
class RawRequest:
    """What is sent, with names of headers as they are to be written."""

    method: str
    path: bytes
    headers: Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, kw_only=True)
class RawAnswer:
    """What comes back; names of headers in small letters."""

    status: int
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    text: str = ""


class RawConnection:
    """HTTP/1.1. On a Unix socket a PROXY header says who connects (None: nobody knows), else the connection does."""

    def __init__(self, place: Path | str, source: Address | None = None) -> None:
        self._socket = _connect(place, source) if isinstance(place, Path) else _connect_from(place, source)
        self._left = b""
        self.open = True

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, request: RawRequest) -> RawAnswer:
        """What comes back; after a 400 the connection is closed."""
        head = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers)
        first = request.method.encode() + b" " + request.path + b" HTTP/1.1\r\nHost: wops.test\r\n"
        self._socket.sendall(first + head + b"\r\n")
        return self._read(body=request.method != "HEAD")

    def _read(self, *, body: bool) -> RawAnswer:
        while b"\r\n\r\n" not in self._left:
            self._more()
        head, _, self._left = self._left.partition(b"\r\n\r\n")
        pairs = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        fields = {name.lower(): value for name, value in pairs}
        status = int(head.split(b" ", 2)[1])
        if status == 400:
            self.open = False
            return RawAnswer(status=status)
        length = int(fields.get(b"content-length", b"0")) if body else 0
        while len(self._left) < length:
            self._more()
        text, self._left = self._left[:length], self._left[length:]
        return RawAnswer(status=status, headers=fields, text=text.decode())

    def _more(self) -> None:
        piece = self._socket.recv(65536)
        assert piece, f"closed after {self._left!r}"
        self._left += piece


class RawHttp2Connection:
    """The same over HTTP/2; headers are written out in full, none is compressed."""

    def __init__(self, path: Path, source: Address | None = None) -> None:
        self._socket = _connect(path, source)
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
        self._stream = -1
        self.open = True

    def __enter__(self) -> RawHttp2Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, request: RawRequest) -> RawAnswer:
        """200 and the body, without headers; 400 and nothing when the request is refused as such."""
        self._stream += 2
        pairs = [
            (b":method", request.method.encode()),
            (b":scheme", b"http"),
            (b":authority", b"wops.test"),
            (b":path", request.path),
            *((name.lower(), value) for name, value in request.headers),
        ]
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in pairs)
        self._socket.sendall(_frame(_HEADERS, _END_STREAM | _END_HEADERS, self._stream, block))
        return self._read()

    def _read(self) -> RawAnswer:
        body = b""
        while True:
            kind, flags, stream, payload = self._read_frame()
            if kind == _SETTINGS and not flags & _ACK:
                self._socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _GOAWAY or (kind == _RESET and stream == self._stream):
                self.open = kind == _RESET
                return RawAnswer(status=400)
            elif kind in (_DATA, _HEADERS) and stream == self._stream:
                body += payload if kind == _DATA else b""
                if flags & _END_STREAM:
                    status = 400 if body.startswith(b"<html>") else 200
                    return RawAnswer(status=status, text=body.decode())

    def _read_frame(self) -> tuple[int, int, int, bytes]:
        head = self._exactly(9)
        length, stream = int.from_bytes(head[:3], "big"), int.from_bytes(head[5:], "big")
        return head[3], head[4], stream, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            piece = self._socket.recv(count - len(found))
            if not piece:
                return b"\0\0\0" + bytes([_GOAWAY]) + bytes(5) if count == 9 else found
            found += piece
        return found


def _connect_from(place: str, source: Address | None) -> socket.socket:
    host, _, port = place.rpartition(":")
    origin = None if source is None else (str(source), 0)
    connection = socket.create_connection((host, int(port)), timeout=10, source_address=origin)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _connect(path: Path, source: Address | None) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(path))
    who = b"UNKNOWN"
    if source is not None:
        who = f"TCP{'4' if source.version == 4 else '6'} {source} {source} 40000 80".encode()
    connection.sendall(b"PROXY " + who + b"\r\n")
    return connection


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _text(value: bytes) -> bytes:
    """A string literal of HPACK, not Huffman-coded. **Source:** RFC 7541 §5."""
    if len(value) < 127:
        return bytes([len(value)]) + value
    found, rest = b"\x7f", len(value) - 127
    while rest >= 128:
        found += bytes([rest % 128 + 128])
        rest //= 128
    return found + bytes([rest]) + value

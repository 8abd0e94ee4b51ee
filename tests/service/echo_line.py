"""A line that says who it is and what reached it, a process: `python -m tests.service.echo_line SOCKET NAME`.

`GET /readyz` answers 503 while `SOCKET.out` is there; `?ms=N` at the end of a path lets the answer take so long.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Final, cast

import uvloop

_HEAD_MAX: Final = 128 * 1024


class Echo(asyncio.Protocol):
    """A connection. Requests have a body only with its length."""

    def __init__(self, path: Path, name: str) -> None:
        self._out = Path(f"{path}.out")
        self._name = name
        self._buffer = b""
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def _next(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if self._busy or end < 0:
            assert len(self._buffer) < _HEAD_MAX
            return
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = [
            (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
        ]
        length = int(dict(headers).get("content-length", "0"))
        if len(self._buffer) < end + 4 + length:
            return
        body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
        method, path, _ = first.split(" ")
        self._busy = True
        delay = int(path.rpartition("ms=")[2]) / 1000 if "?ms=" in path else 0.0
        answer = self._answer(method, path, headers, len(body))
        if delay:
            asyncio.get_running_loop().call_later(delay, self._send, answer)
        else:
            self._send(answer)

    def _answer(self, method: str, path: str, headers: list[tuple[str, str]], size: int) -> bytes:
        status = "200 OK"
        if path == "/readyz" and self._out.exists():
            status = "503 Service Unavailable"
        said = {"line": self._name, "method": method, "path": path, "headers": headers, "body_bytes": size}
        content = b"" if method == "HEAD" else json.dumps(said).encode()
        head = (
            f"HTTP/1.1 {status}\r\nserver: echo\r\nx-answered-by: {self._name}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)
            self._busy = False
            self._next()


async def serve(path: Path, draft: Path, name: str) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: Echo(path, name), str(draft), backlog=1024
    )
    # Whoever sees the name can connect.
    os.rename(draft, path)
    await server.serve_forever()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.unlink(missing_ok=True)
    uvloop.run(serve(place, place.with_suffix(".new"), sys.argv[2]))

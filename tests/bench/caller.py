"""Clients in a process of their own, so that their work does not slow the server down.

One JSON object a line on standard input says what to send, one on standard output what it took:
`{port, path, headers, clients, calls}` → `{seconds: [one for each call], wall, cpu}`. Connections are kept alive.
`socket` instead of `port` is the path of a Unix socket; `authority`, a PEM file, and `server_name` are for TLS.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from typing import Any

import uvloop

_OK = b"HTTP/1.1 200 "


async def read_many(asked: dict[str, Any]) -> dict[str, Any]:
    """Have clients send so many requests together, each the next as soon as its last is answered."""
    lines = [f"GET {asked['path']} HTTP/1.1", *(f"{name}: {value}" for name, value in asked["headers"])]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    remaining = iter(range(asked["calls"]))
    seconds: list[float] = []
    connections = [await _connect(asked) for _ in range(asked["clients"])]

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in remaining:
            started = time.perf_counter()
            writer.write(request)
            await _read_answer(reader)
            seconds.append(time.perf_counter() - started)

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client(*each) for each in connections))
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    for _, writer in connections:
        writer.close()
    return {"seconds": seconds, "wall": wall, "cpu": cpu}


async def _connect(asked: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if "socket" in asked:
        return await asyncio.open_unix_connection(asked["socket"])
    if "authority" not in asked:
        return await asyncio.open_connection("127.0.0.1", asked["port"])
    context = ssl.create_default_context(cafile=asked["authority"])
    return await asyncio.open_connection(
        "127.0.0.1", asked["port"], ssl=context, server_hostname=asked["server_name"]
    )


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(_OK):
        raise RuntimeError(f"the call was answered with {head[:200]!r}")
    length = next(
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    await reader.readexactly(length)


def main() -> None:
    """Serve commands until standard input ends."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            print(json.dumps(runner.run(read_many(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()

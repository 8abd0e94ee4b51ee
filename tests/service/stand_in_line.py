"""A program that behaves towards a runner as `wops line DIRECTORY` does. What it is to do stands in its directory:

crash   it ends at once, with status 3
hold    one request is under way as long as the file is there
deaf    it hears neither a drain nor SIGTERM
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

from tests.service.wait import wait_until_async

_PATIENCE = timedelta(minutes=10)


class StandIn:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.draining = asyncio.Event()

    def has(self, what: str) -> bool:
        return (self.directory / what).exists()

    async def serve(self) -> None:
        path = self.directory / "line.sock"
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._answer, str(path))
        if self.has("deaf"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.draining.set)
        async with server:
            await self.draining.wait()
            await wait_until_async(lambda: not self.has("hold"), "the request", deadline=_PATIENCE)
        path.unlink()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            # Somebody only looks who listens here.
            writer.close()
            return
        if request.startswith("POST /v1/drain") and not self.has("deaf"):
            self.draining.set()
        body = json.dumps(self._status()).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    def _status(self) -> dict[str, object]:
        return {
            "line": self.directory.name,
            "process_id": os.getpid(),
            "started_at": "2026-01-01T00:00:00Z",
            "state": "draining" if self.draining.is_set() else "ready",
            "applied": 1,
            "running": int(self.has("hold")),
            "instances": 1,
            "open_instances": 0,
            "open_transfers": 0,
        }


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if (place / "crash").exists():
        raise SystemExit(3)
    asyncio.run(StandIn(place).serve())

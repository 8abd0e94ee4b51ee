"""Steady load on two lines: requests start by the clock, each at the next line, and every one is accounted for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

import httpx2

from tests.service.wait import wait_until

_SOON = timedelta(seconds=60)
_HERE = {"Forwarded": "for=127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a request.

    Attributes:
        line: which has answered, by its place in the list.
        closed: its connection ended with the answer.
        retry_after: of the answer; when to come again.
    """

    number: int
    status: int
    line: int
    closed: bool
    error: str = ""
    retry_after: str | None = None


@dataclass
class LineLoad:
    """Sends until the block ends. A line that takes no connection is left for the other; nothing else is tried again.

    Args:
        sockets: of the lines.
        path: what is read.
        kept: connections are kept.
    """

    sockets: Sequence[Path]
    path: str
    auth: tuple[str, str]
    rate: float = 50.0
    kept: bool = True
    ended: list[Ended] = field(default_factory=list)
    begun: int = 0
    _running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = field(default_factory=Future)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        loop, stop = self._running.result(60)
        loop.call_soon_threadsafe(stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive(), "the load goes on"

    @property
    def failed(self) -> list[Ended]:
        """Whatever was not answered as it should be."""
        return [each for each in self.ended if each.status != 200]

    def wait_for(self, more: int) -> None:
        """Until so many more requests have ended."""
        wanted = len(self.ended) + more
        wait_until(lambda: len(self.ended) >= wanted, f"{more} more requests", deadline=_SOON)

    async def _run(self) -> None:
        clients = [self._client(each) for each in self.sockets]
        started, stop = time.monotonic(), asyncio.Event()
        self._running.set_result((asyncio.get_running_loop(), stop))
        running: set[asyncio.Task[None]] = set()
        while not stop.is_set():
            running.add(task := asyncio.create_task(self._send(clients, self.begun)))
            task.add_done_callback(running.discard)
            self.begun += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(
                    stop.wait(), max(0.0, started + self.begun / self.rate - time.monotonic())
                )
        await asyncio.gather(*running)
        for each in clients:
            await each.aclose()

    def _client(self, path: Path) -> httpx2.AsyncClient:
        limits = httpx2.Limits(max_connections=100, max_keepalive_connections=100 if self.kept else 0)
        transport = httpx2.AsyncHTTPTransport(uds=str(path), limits=limits)
        return httpx2.AsyncClient(
            transport=transport, base_url="http://front", headers=_HERE, auth=self.auth, timeout=30
        )

    async def _send(self, clients: Sequence[httpx2.AsyncClient], number: int) -> None:
        first = number % len(clients)
        for line in (first, (first + 1) % len(clients)):
            try:
                answer = await clients[line].get(self.path)
            except httpx2.ConnectError:
                continue
            except httpx2.HTTPError as error:
                self.ended.append(Ended(number, 0, line, True, repr(error)))
                return
            closed = answer.headers.get("connection") == "close"
            text = "" if answer.status_code == 200 else answer.text
            again = answer.headers.get("retry-after")
            self.ended.append(Ended(number, answer.status_code, line, closed, text, again))
            return
        self.ended.append(Ended(number, 0, first, True, "no line takes connections"))

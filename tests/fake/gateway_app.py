"""Stands in for a gateway's ASGI application: always the same answer, at once or when it is let go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any


class AnsweringApp:
    """Answers every request alike, and remembers what it was asked.

    Attributes:
        bodies: of the requests, in the order of their arrival.
        most_held: requests that were held at the same time, at most.
    """

    def __init__(
        self, status: int, body: bytes, *, is_held: bool = False, answers_at_once_without_wait: bool = False
    ) -> None:
        self.status = status
        self.body = body
        self.bodies: list[bytes] = []
        self.most_held = 0
        self._holds_all = not answers_at_once_without_wait
        self._held = 0
        self._gate = asyncio.Event()
        if not is_held:
            self._gate.set()

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        self.bodies.append(await _read(receive))
        if self._holds_all or scope["query_string"]:
            self._held += 1
            self.most_held = max(self.most_held, self._held)
            await self._gate.wait()
            self._held -= 1
        length = b"%d" % len(self.body)
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})

    def let_go(self) -> None:
        """Answer what is held, and all that comes."""
        self._gate.set()


async def _read(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)

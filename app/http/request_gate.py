"""What runs at a line: counted, so that it can end when nothing does, and its connections close with their answers."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.clock import Clock
from app.core.ids import new_id
from app.http.entrance import HEALTH
from app.http.problem import problem_response
from lb.routing import NoLineReady


class RequestGate:
    """The outermost layer of a line. For one event loop.

    Attributes:
        last_at: when the last one came in, on the monotonic clock.
        closing: from now on every answer is the last of its connection.
    """

    def __init__(self, app: ASGIApp, *, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._running: set[asyncio.Task[Any]] = set()
        self._is_abandoned = False
        self.last_at = clock.monotonic()
        self.closing = False

    @property
    def running(self) -> int:
        """Requests under way; those for its health are not counted."""
        return len(self._running)

    def abandon(self) -> None:
        """Answer whatever runs with 503: another line finishes what it has begun, and a repeat finds that."""
        self._is_abandoned = True
        for task in self._running:
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_begun = False

        async def send_last(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            if self.closing and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        if scope["type"] == "http" and scope["path"] in HEALTH:
            await self._app(scope, receive, send_last)
            return
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
        self.last_at = self._clock.monotonic()
        try:
            await self._app(scope, receive, send_last)
        except asyncio.CancelledError:
            if not self._is_abandoned or is_begun:
                raise
            error = NoLineReady("This line ends now; send the request again.")
            request_id = _id_of(scope)
            refusal = problem_response(error, request_id=request_id, clock=self._clock)
            refusal.headers["request-id"] = request_id
            await refusal(scope, receive, send_last)
        finally:
            self._running.discard(task)


def _id_of(scope: Scope) -> str:
    return str(scope.get("wops.request_id") or new_id("req"))

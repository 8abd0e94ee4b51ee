"""How a request comes to the gateway: the port of its carriers, and the one within a process.

`http_exchange` has the other one; an embedded platform starts without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

from fsb_gateway.error import FsbUnavailable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# In a refusal by a gateway that is stopping: the next one takes the same request.
STOPPING_HEADER = b"wops-gateway-stopping"
# What the gateway grants a request at most (`fsb_gateway.server`).
WAIT_LIMIT_SECONDS = 50.0


@dataclass(slots=True, kw_only=True)
class Answer:
    """Status and body of an HTTP answer; it grows while it arrives."""

    status: int
    body: bytes


class GatewayAway(FsbUnavailable):
    """Nobody answered; whether the request was served is not known."""


class Exchange(Protocol):
    """Carries one request to the gateway and its answer back."""

    async def send(self, method: str, path: str, body: bytes, wait_seconds: float) -> Answer:
        """Send a request.

        Args:
            wait_seconds: how long the gateway may let it wait for a job.

        Raises:
            GatewayAway: no answer; whether the request was served is not known.
        """
        ...

    def patience(self, *, is_first: bool) -> float:
        """Seconds for which a request may wait at the gateway now; whoever wants to wait longer asks again.

        Args:
            is_first: the gateway does not know the job yet; it must not be late in its queue.
        """
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


class InProcessExchange:
    """Calls the gateway's ASGI application directly: every activation of the embedded default comes this way."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def send(self, method: str, path: str, body: bytes, wait_seconds: float) -> Answer:
        """Serve one request in this task."""
        answer = Answer(status=0, body=b"")

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            answer.status = message.get("status", answer.status)
            answer.body += message.get("body", b"")

        route, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(route),
            "query_string": (query or wait_query(wait_seconds)).encode(),
            "headers": [],
        }
        await self._app(scope, receive, send)
        return answer

    def patience(self, *, is_first: bool) -> float:
        """A call holds nothing that others wait for."""
        return WAIT_LIMIT_SECONDS

    async def close(self) -> None:
        """Nothing is held."""


def wait_query(wait_seconds: float) -> str:
    """The query that lets a request wait; empty for one that does not."""
    return f"wait={wait_seconds:.3f}" if wait_seconds > 0 else ""

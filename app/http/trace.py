"""The outermost layer of every request: its id, its log line, its security headers."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.clock import Clock
from app.core.ids import new_id
from app.core.logging import bind, clear

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_TRACE_PARENT: Final = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_QUIET: Final = frozenset({"/livez", "/readyz", "/metrics"})


class TraceLayer:
    """Gives each request an id (the caller's own if it is a decent one), sends it back, and writes one access line."""

    def __init__(self, app: ASGIApp, *, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._log = structlog.get_logger("wops.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _only(scope, b"request-id", _REQUEST_ID) or new_id("req")
        scope["wops.request_id"] = request_id
        trace_parent = _only(scope, b"traceparent", _TRACE_PARENT)
        scope["wops.trace_parent"] = trace_parent
        bind(request_id=request_id)
        started = self._clock.monotonic()
        status = 500
        answered = False

        async def send_traced(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"request-id", request_id.encode()),
                    *([(b"traceparent", trace_parent.encode())] if trace_parent else []),
                    *_SECURITY_HEADERS,
                ]
            await send(message)
            answered = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self._app(scope, receive, send_traced)
        except Exception:
            # Starlette answers and logs what nobody foresaw, then raises it again: the server would cut the connection.
            if not answered:
                raise
        finally:
            if scope["path"] not in _QUIET:
                self._write(scope, status, self._clock.monotonic() - started)
            clear()

    def _write(self, scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
        route = scope.get("route")
        self._log.info(
            "request",
            method=scope["method"],
            # The pattern, not the path: a path may hold a ticket.
            route=getattr(route, "path", None),
            operation=getattr(route, "operation_id", None),
            instance=scope.get("wops.instance_name"),
            principal=scope.get("wops.principal"),
            request_id=scope["wops.request_id"],
            traceparent=scope["wops.trace_parent"],
            status=status,
            ms=round(seconds * 1000, 2),
        )


def _only(scope: Scope, wanted: bytes, pattern: re.Pattern[bytes]) -> str | None:
    """The value of a header, if it is there once and decent: of several, load balancers and lines would take others."""
    values = [value for name, value in scope["headers"] if name == wanted]
    return values[0].decode() if len(values) == 1 and pattern.fullmatch(values[0]) else None

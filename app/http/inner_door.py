"""The front door as the isolation probe uses it: requests from inside the process, through the same applications."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, Final

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message

from app.core.ids import new_id
from app.core.logging import clear
from app.http.cursor import CursorInvalid
from app.http.page import after_of, page_of
from app.operations.probe.isolation_probe import Knock

PROBING: Final = "wops.probe"
"""In the scope of a request that comes from the probe; no caller can put it there."""
_ASKS: Final = re.compile(r"^/portal/|/api/")
"""Where whoever calls is asked who he is; a gateway asks for a ticket instead."""
_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")


class InnerDoor:
    """Knocks at an application without a network.

    Args:
        app: what callers reach.
        applications: FastAPI applications whose routes are those of an instance; that of its lists first.
    """

    def __init__(self, app: ASGIApp, applications: Sequence[Any]) -> None:
        self._app = app
        self._applications = applications

    def routes(self, instance: str) -> Sequence[tuple[str, str]]:
        """Method and path of every route that asks who is calling, with ids that exist nowhere."""
        found = []
        routes = [each for app in self._applications for each in _api_routes(app.router.routes)]
        for route in routes:
            if not _ASKS.search(route.path_format):
                continue
            path = _PARAMETER.sub(
                lambda match: instance if match[1] == "instance" else new_id("probe"), route.path_format
            )
            found += [(method, path) for method in sorted(route.methods or ())]
        return found

    def takes_foreign_cursor(self, instance: str, other: str) -> bool:
        """Whether a cursor made for one instance's list is accepted for the other's: asked as the routes do."""
        own, foreign = self._listing(instance), self._listing(other)
        page = page_of(own, Response(), ["a", "b"], limit=1, show=str, key=str)
        try:
            after_of(foreign, page.page.next)
        except CursorInvalid:
            return False
        return True

    def _listing(self, instance: str) -> Request:
        """A request for a list of an instance."""
        return Request(
            {
                "type": "http",
                "method": "GET",
                "scheme": "http",
                "path": f"/{instance}/api/v1/items",
                "query_string": b"",
                "headers": [(b"host", b"probe")],
                "app": self._applications[0],
            }
        )

    async def knock(self, knock: Knock) -> int:
        """Send a request; returns the answer's status."""
        credentials = base64.b64encode(f"{knock.username}:{knock.secret}".encode())
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": knock.method,
            "scheme": "http",
            "path": knock.path,
            "raw_path": knock.path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"probe"),
                (b"authorization", b"Basic " + credentials),
                (b"content-type", b"application/json"),
                (b"idempotency-key", new_id("key").encode()),
            ],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 0),
            "wops.request_id": new_id("req"),
            "wops.trace_parent": None,
            PROBING: True,
        }
        answer = _Answer()
        try:
            await self._app(scope, answer.receive, answer.send)
        finally:
            clear()
        return answer.status


class _Answer:
    """What an application answers to a request with an empty JSON body."""

    def __init__(self) -> None:
        self.status = 500

    async def receive(self) -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])


def _api_routes(routes: Sequence[Any]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from _api_routes(getattr(getattr(route, "original_router", route), "routes", []))

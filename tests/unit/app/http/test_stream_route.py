"""A reader who leaves a stream is no error, whenever he leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from app.http.staff import StreamRoute


class OpenRoute(StreamRoute):
    """For anybody."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return APIRoute.get_route_handler(self)


def make_app() -> FastAPI:
    router = APIRouter(route_class=OpenRoute)

    @router.get("/stream", response_class=EventSourceResponse)
    async def stream() -> AsyncIterator[ServerSentEvent]:
        for number in range(10_000):
            yield ServerSentEvent(data=number)

    app = FastAPI()
    app.include_router(router)
    return app


async def leave_after(app: FastAPI, chunks: int) -> int:
    """Read so many parts, then hang up; returns how many came."""
    gone, asked, sent = asyncio.Event(), False, 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal sent
        sent += message["type"] == "http.response.body"
        if sent >= chunks:
            gone.set()
        await asyncio.sleep(0)

    scope = {"type": "http", "method": "GET", "path": "/stream", "headers": [], "query_string": b""}
    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize("chunks", range(50))
def test_reader_may_leave_at_any_moment(chunks: int) -> None:
    assert chunks <= asyncio.run(leave_after(make_app(), chunks)) < 10_000

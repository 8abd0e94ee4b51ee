"""A caller's own request id is taken if there is one, and a decent one."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.http.trace import TraceLayer
from tests.fake.clock import FakeClock

DECENT = b"told-by-me"


async def _answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


def request_id_for(*sent: bytes) -> bytes:
    """The id in the answer to a request that names these."""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        messages.append(message)

    headers = [(b"request-id", each) for each in sent]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    asyncio.run(TraceLayer(_answer, clock=FakeClock())(scope, receive, send))
    (found,) = [value for name, value in messages[0]["headers"] if name == b"request-id"]
    return bytes(found)


def test_decent_id_is_taken() -> None:
    assert request_id_for(DECENT) == DECENT


@pytest.mark.parametrize(
    "sent",
    [
        (),
        (b"short",),
        (b"x" * 65,),
        (b"with space",),
        (b"line\nbreak",),
        (DECENT, DECENT),
        (DECENT, b"x" * 9),
    ],
)
def test_any_other_is_replaced_by_our_own(sent: tuple[bytes, ...]) -> None:
    found = request_id_for(*sent)
    assert found.startswith(b"req_")
    assert found not in sent

"""A body is read in time, or its sender is told."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.http.problem import problem_response
from app.http.request_body import BodyTooSlow, read_body


def request_that_stops_after(body: bytes) -> Request:
    """Its sender says that more is to come, and sends nothing."""
    begun: Message = {"type": "http.request", "body": body, "more_body": True}
    sent = iter([begun])

    async def receive() -> Message:
        for message in sent:
            return message
        never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await never

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


@pytest.mark.parametrize("body", [b"", b'{"sku"'])
def test_body_that_does_not_come_is_given_up_and_its_connection_closed(body: bytes) -> None:
    async def read() -> None:
        await read_body(request_that_stops_after(body), within_seconds=0.01)

    with pytest.raises(BodyTooSlow) as refused:
        asyncio.run(asyncio.wait_for(read(), 30))
    answer = problem_response(refused.value, request_id="req_1")
    assert (answer.status_code, json.loads(bytes(answer.body))["code"]) == (408, "request_too_slow")
    assert answer.headers["Connection"] == "close"

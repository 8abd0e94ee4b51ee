"""Where a head begins decides what counts as one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from app.http import bounded_protocol
from app.http.bounded_protocol import HEAD_MAX, BoundedProtocol
from tests.service.wait import wait_until_async

HOST = b"Host: a\r\n"
BODY = b"x" * 100_000
POST = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n" + BODY
GET = b"GET / HTTP/1.1\r\n" + HOST


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    # Not before the body has ended: what came behind it has come by now.
    status = 499 if any(name == b"client-cert" for name, _ in scope["headers"]) else 204
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body"})


def connected(app: ASGIApp = _answer) -> tuple[BoundedProtocol, FakeTransport]:
    """A connection that somebody has just made."""
    config = uvicorn.Config(app, log_config=None, lifespan="off", http=BoundedProtocol)
    config.load()
    protocol = BoundedProtocol(config=config, server_state=ServerState(), app_state={})
    transport = FakeTransport()
    protocol.connection_made(transport)
    return protocol, transport


def feed(pieces: Sequence[bytes]) -> list[bytes]:
    """The status of every answer, given what arrives in these pieces."""
    return [part[:3] for part in exchange(pieces).split(b"HTTP/1.1 ")[1:]]


def exchange(pieces: Sequence[bytes]) -> bytes:
    """All that is answered, given what arrives in these pieces."""

    async def serve() -> bytes:
        protocol, transport = connected()
        for piece in pieces:
            if not transport.closed:
                protocol.data_received(piece)
            await asyncio.sleep(0)
        if transport.closed:
            # As a real transport does.
            protocol.connection_lost(None)
        while protocol.tasks:
            await asyncio.gather(*protocol.tasks)
            await asyncio.sleep(0)
        if not transport.closed:
            protocol.connection_lost(None)
        return transport.written

    return asyncio.run(serve())


@pytest.mark.parametrize(
    "piece", [b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n", GET + b"A: \0\r\n\r\n", b"\x16\x03\x01"]
)
def test_what_is_no_request_is_refused_with_a_problem_and_the_connection_ends(piece: bytes) -> None:
    head, _, body = exchange([piece]).partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    said = dict(field.split(b": ", 1) for field in fields)
    assert first == b"HTTP/1.1 400 Bad Request"
    assert (said[b"content-type"], said[b"connection"]) == (b"application/problem+json", b"close")
    assert int(said[b"content-length"]) == len(body)
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (400, "request_refused")


def test_head_that_begins_behind_a_body_in_the_same_piece_is_not_charged_with_the_body() -> None:
    assert feed([POST + GET, b"\r\n"]) == [b"204", b"204"]
    assert feed([POST[:100], POST[100:] + GET, b"\r\n"]) == [b"204", b"204"]
    # The first head ends in the piece that has its body, too.
    assert feed([POST[:10], POST[10:] + GET, b"\r\n"]) == [b"204", b"204"]


def test_head_behind_other_requests_is_not_charged_with_them() -> None:
    many = (GET + b"\r\n") * 3
    padded = GET + b"A: " + b"a" * 30_000 + b"\r\n\r\n"
    assert feed([many + GET, b"\r\n"]) == [b"204"] * 4
    assert feed([padded * 3 + GET, b"\r\n"]) == [b"204"] * 4


def test_head_that_never_ends_is_refused_wherever_it_began() -> None:
    endless = b"A: " + b"a" * (HEAD_MAX // 2)
    more = b"a" * (HEAD_MAX // 2)
    assert feed([GET + endless, more, more])[-1] == b"400"
    assert feed([POST + GET + endless, more, more, more])[-1] == b"400"


def test_field_behind_a_body_is_no_header() -> None:
    chunked = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    trailer = b"Client-Cert: :MIIB:\r\n\r\n"
    assert feed([chunked + trailer]) == [b"204"]
    assert feed([chunked, trailer]) == [b"204"]
    assert feed([GET + b"Client-Cert: :MIIB:\r\n\r\n"]) == [b"499"]


def test_fields_behind_a_body_are_measured_too() -> None:
    chunked = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    assert feed([chunked + b"A: " + b"a" * HEAD_MAX + b"\r\n\r\n"])[-1] == b"400"


@pytest.mark.parametrize("pieces", [[], [GET], [GET, b"A: a\r\n"], [GET + b"\r\n", GET], [POST + GET]])
def test_connection_whose_head_does_not_come_is_closed(
    pieces: Sequence[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS", 0.02)

    async def body() -> None:
        protocol, transport = connected()
        for piece in pieces:
            protocol.data_received(piece)
        await wait_until_async(transport.is_closing, "the connection to be closed")
        assert not protocol.tasks
        protocol.connection_lost(None)

    asyncio.run(body())


@pytest.mark.parametrize("next_one", [b"", GET])
def test_request_whose_head_has_come_may_take_longer(
    next_one: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS", 0.0)

    async def turns() -> None:
        # In each of them the time of a head is over.
        for _ in range(100):
            await asyncio.sleep(0)

    async def body() -> None:
        may_answer = asyncio.Event()

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await may_answer.wait()
            await _answer(scope, receive, send)

        protocol, transport = connected(answer)
        protocol.data_received(POST + next_one)
        await turns()
        assert not transport.closed
        may_answer.set()
        await wait_until_async(lambda: transport.written, "the answer")
        assert transport.written.startswith(b"HTTP/1.1 204")
        await turns()
        # Between two requests it may rest.
        assert transport.closed == bool(next_one)
        protocol.connection_lost(None)

    asyncio.run(body())

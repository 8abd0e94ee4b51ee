"""HTTP/1.1 with an end to what a caller can make the server remember before a request has even begun."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.exceptions import HTTPException
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.http.problem import problem_response

HEAD_MAX: Final = 64 * 1024
"""Bytes of a request's target and headers. **Source:** h11's default; httptools itself has no limit."""
HEAD_SECONDS: Final = 10.0
"""A head has come by then, as at the load balancer (`lb.front.settings`)."""


class _HeadTooLarge(Exception):
    """Ends the parsing; the parser turns it into an error of its own, and the caller gets 400."""


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol; a request whose head is too large or none gets 400, one whose head takes too long nothing.

    The connection of either is closed.

    What comes in one piece is measured when it has been parsed (a piece is at most 256 KiB: asyncio's transports), what
    never ends, while it arrives.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._arrived = 0
        self._parsed = 0
        self._in_head = True
        self._in_message = False
        self._begun = 0
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has come; a head has to follow."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._expect_no_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then see whether a head has become too long."""
        in_message, self._begun = self._in_message, 0
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            self._expect_no_head()
            return
        if self._begun:
            self._expect_head()
        if self._begun > 1 or (self._begun and in_message):
            # The head began somewhere inside this piece, behind other requests or the rest of one: counted from the
            # next one on.
            return
        self._arrived += len(data)
        if self._arrived > HEAD_MAX:
            self.send_400_response("The request's header is too large.")

    def on_message_begin(self) -> None:
        """A head begins."""
        self._arrived = self._parsed = 0
        self._in_head = self._in_message = True
        self._begun += 1
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Measure a part of the target."""
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Measure a header; a trailer, which comes behind the body, is left out.

        The server would put it beside the headers, as if it had been there when whoever is in front looked at them.
        """
        self._measure(len(name) + len(value))
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head has ended; a body has its own limit."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body has ended."""
        self._in_message = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no request, as a problem like every other; no application has heard of it."""
        answer = problem_response(HTTPException(400, msg), request_id="")
        sent = (*answer.raw_headers, (b"connection", b"close"), (b"x-content-type-options", b"nosniff"))
        head = b"".join(name + b": " + value + b"\r\n" for name, value in sent)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + bytes(answer.body))
        self.transport.close()

    def _expect_head(self) -> None:
        self._expect_no_head()
        self._late = self.loop.call_later(HEAD_SECONDS, self._cut)

    def _expect_no_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _cut(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            # The one before it is still being answered, and meanwhile it may be us who do not read.
            self._expect_head()
        else:
            self.transport.close()

    def _measure(self, size: int) -> None:
        self._parsed += size
        if self._parsed > HEAD_MAX:
            raise _HeadTooLarge

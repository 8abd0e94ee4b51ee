"""Under a box's link: the connection's bytes as messages, and the calls that wait for their answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from app.core.alarm import Alarm
from fsb_gateway.error import FsbError, FsbProtocolError
from fsb_gateway.process.frame import FrameBuffer, FromBox, FromGateway, decode_from_box, encode_frame

_log = logging.getLogger(__name__)
_Future = asyncio.Future[bytes | None]


class Wire(asyncio.Protocol):
    """One connection to a box's process, on the event loop."""

    def __init__(self, heard: Callable[[FromBox], None], lost: Callable[[], None]) -> None:
        """Not connected yet.

        Args:
            heard: told every message.
            lost: told once when the connection is over.
        """
        self._heard = heard
        self._lost = lost
        self._buffer = FrameBuffer()
        self._transport: asyncio.WriteTransport | None = None

    def send(self, message: FromGateway) -> None:
        """Send a message; nothing happens when the connection is over.

        Raises:
            FsbProtocolError: it is too long.
        """
        frame = encode_frame(message)
        if self._transport is not None:
            self._transport.write(frame)

    def drop(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            for body in self._buffer.feed(data):
                self._heard(decode_from_box(body))
        except FsbProtocolError as error:
            _log.error("a box is not understood: %s", error)
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        self._lost()


@dataclass(slots=True)
class _Call:
    future: _Future
    seconds: float


class Outstanding:
    """Calls without an answer, in the order in which a box does them; the first one's time is kept."""

    def __init__(self, *, late: Callable[[], None]) -> None:
        """No calls yet.

        Args:
            late: called when the call at the front has been there longer than it may.
        """
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, _Call] = {}
        self._front_until = 0.0
        self._not_before = 0.0
        self._alarm = Alarm(self._look)

    def add(self, call: int, seconds: float) -> _Future:
        """Wait for the answer of a call, which may take so long once it is at the front."""
        future: _Future = self._loop.create_future()
        # Nobody may be waiting any more when a call fails.
        future.add_done_callback(_retrieve)
        self._calls[call] = _Call(future, seconds)
        if len(self._calls) == 1:
            self._watch_front()
        return future

    def expect_later(self, seconds: float) -> None:
        """The box has other work first, for so long."""
        self._not_before = self._loop.time() + seconds

    def drop(self, call: int) -> None:
        """Forget a call that was not sent."""
        self._take(call)

    def answer(self, call: int, value: bytes | None) -> None:
        """Give a call its answer."""
        found = self._take(call)
        if found is not None and not found.done():
            found.set_result(value)

    def fail(self, call: int, error: FsbError) -> None:
        """Let a call fail."""
        found = self._take(call)
        if found is not None and not found.done():
            found.set_exception(error)

    def fail_all(self, error: FsbError) -> None:
        """Let every call fail."""
        for call in list(self._calls):
            self.fail(call, error)

    async def finished(self) -> None:
        """Wait until every call has its answer, or has failed."""
        if self._calls:
            await asyncio.wait([call.future for call in self._calls.values()])

    def _take(self, call: int) -> _Future | None:
        is_front = bool(self._calls) and next(iter(self._calls)) == call
        found = self._calls.pop(call, None)
        if is_front and self._calls:
            self._watch_front()
        return None if found is None else found.future

    def _watch_front(self) -> None:
        """One timer for all, set anew only if it would come too late: calls are many and seldom late."""
        front = next(iter(self._calls.values()))
        self._front_until = max(self._loop.time(), self._not_before) + front.seconds
        self._alarm.ring_in(self._front_until - self._loop.time())

    def _look(self) -> None:
        if self._calls and self._loop.time() >= self._front_until:
            self._late()
        if self._calls:
            self._alarm.ring_in(self._front_until - self._loop.time())


def _retrieve(future: _Future) -> None:
    if not future.cancelled():
        future.exception()

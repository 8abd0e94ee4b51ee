"""What a link tells a box that it finds, and when."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.process import box_link, pulse
from fsb_gateway.process.box_link import BoxLink
from fsb_gateway.process.frame import (
    PROTOCOL,
    Attach,
    Configure,
    FrameBuffer,
    FromGateway,
    Identity,
    Ping,
    Pong,
    Progress,
    Value,
    decode_from_gateway,
    encode_frame,
)
from fsb_gateway.wire import decode_spec, encode_spec
from tests.service.box import SECONDS, becomes_ready
from tests.service.wait import wait_until_async
from tests.unit.fsb_gateway.factory import box_spec

OLD = replace(box_spec(), operation_time=timedelta(milliseconds=100))


class FoundBox:
    """A box's process that was there before its gateway.

    Attributes:
        heard: what the gateway said.
        speaks: set when it answers to being attached to.
        works: set when it takes the next call.
        connections: how many there are.
        pings: how often it was asked for a sign of life.
        lives: whether it gives one.
    """

    def __init__(self, *, under_way: int = 0) -> None:
        self.heard: list[FromGateway] = []
        self.speaks = asyncio.Event()
        self.works = asyncio.Event()
        self.connections = 0
        self.pings = 0
        self.lives = True
        self._under_way = under_way

    def configured(self) -> list[BoxSpec]:
        return [decode_spec(each.spec) for each in self.heard if isinstance(each, Configure)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(encode_frame(Identity(PROTOCOL, "box-1", 1, 1, encode_spec(OLD))))
        buffer = FrameBuffer()
        # A link that gives up hangs up.
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                for body in buffer.feed(data):
                    await self._take(decode_from_gateway(body), writer)
        writer.close()
        self.connections -= 1

    async def _take(self, message: FromGateway, writer: asyncio.StreamWriter) -> None:
        if isinstance(message, Ping):
            self.pings += 1
            if self.lives:
                writer.write(encode_frame(Pong()))
            return
        self.heard.append(message)
        if isinstance(message, Attach):
            await self.speaks.wait()
            writer.write(encode_frame(Progress("ready", 0, 0, 0.0, None, None, [], self._under_way)))
        else:
            await self.works.wait()
            writer.write(encode_frame(Value(message.call, None)))


@asynccontextmanager
async def found(
    box: FoundBox,
    link_spec: BoxSpec,
    folder: Path,
    *,
    stop: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0),
) -> AsyncIterator[tuple[BoxLink, list[int]]]:
    """A link to it, and one entry for each time that it was to be started again."""
    restarts: list[int] = []
    path = folder / "box.sock"
    server = await asyncio.start_unix_server(box.serve, str(path))
    link = BoxLink(link_spec, path, restart=lambda: restarts.append(1), stop=stop)
    try:
        async with asyncio.timeout(SECONDS):
            yield link, restarts
    finally:
        box.speaks.set()
        box.works.set()
        await link.close()
        server.close()
        await wait_until_async(lambda: not box.connections, "the connections to end")


def test_specification_that_changes_while_the_link_attaches_is_the_one_that_the_box_gets(
    tmp_path: Path,
) -> None:
    async def body() -> None:
        box = FoundBox()
        box.works.set()
        async with found(box, OLD, tmp_path) as (link, _):
            await wait_until_async(lambda: box.heard, "the link to attach")
            wanted = replace(OLD, drained=True)
            await link.configure(wanted)
            assert box.configured() == []
            box.speaks.set()
            await becomes_ready(link)
            await link.reload()
            assert box.configured() == [wanted]

    asyncio.run(body())


def test_box_that_is_what_it_should_be_is_told_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        box = FoundBox()
        box.works.set()
        box.speaks.set()
        async with found(box, OLD, tmp_path) as (link, _):
            await becomes_ready(link)
            await link.reload()
            assert box.configured() == []

    asyncio.run(body())


def test_box_has_the_time_that_its_jobs_take_before_it_must_take_its_specification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box_link, "_KEY_CALL_SECONDS", 0.1)

    async def body() -> None:
        box = FoundBox(under_way=10)
        box.speaks.set()
        async with found(box, replace(OLD, drained=True), tmp_path) as (link, restarts):
            loop = asyncio.get_running_loop()
            await becomes_ready(link)
            await wait_until_async(box.configured, "the specification")
            began = loop.time()
            await wait_until_async(lambda: restarts, "it to be given up")
            assert loop.time() - began >= 0.9, "ten operations, and a tenth of a second"

    asyncio.run(body())


@pytest.mark.parametrize("is_closing", [False, True])
def test_silent_box_is_started_again_unless_it_is_being_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_closing: bool
) -> None:
    monkeypatch.setattr(pulse, "_BEAT_SECONDS", 0.1)

    async def body() -> None:
        box, ends = FoundBox(), asyncio.Event()
        box.speaks.set()
        async with found(box, OLD, tmp_path, stop=ends.wait) as (link, restarts):
            await becomes_ready(link)
            await wait_until_async(lambda: box.pings >= 10, "the box to be asked")
            assert not restarts, "it answers"
            closing = asyncio.create_task(link.close()) if is_closing else None
            await asyncio.sleep(0)
            box.lives = False
            asked = box.pings
            if is_closing:
                await wait_until_async(lambda: box.pings >= asked + 5, "the last question")
            else:
                await wait_until_async(lambda: restarts, "it to be started again")
            ends.set()
            if closing is not None:
                await closing
            assert len(restarts) == (0 if is_closing else 1)

    asyncio.run(body())


def test_box_that_does_not_say_who_it_is_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen before it was found: the system takes the connection for it."""
    monkeypatch.setattr(pulse, "_BEAT_SECONDS", 0.02)

    async def body() -> None:
        restarts: list[int] = []
        path = tmp_path / "box.sock"
        with contextlib.closing(listen(path)):
            link = BoxLink(OLD, path, restart=lambda: restarts.append(1))
            await wait_until_async(lambda: restarts, "it to be started again")
            await link.close()

    asyncio.run(body())


def listen(path: Path) -> socket.socket:
    """Where connections come in, and nobody sees to them."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener

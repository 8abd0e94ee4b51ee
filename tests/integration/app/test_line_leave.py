"""How a line leaves its front: when its socket has a name, and when it has none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest
from starlette.types import Receive, Scope, Send

from app.core.clock import SystemClock
from app.http.request_gate import RequestGate
from app.line_drain import Ending, LineDrain, SocketName
from tests.service.wait import wait_until_async

LONG = timedelta(seconds=60)
NEVER = 1000.0


class Play(Protocol):
    """Plays while a line leaves, and waits until it has left."""

    def __call__(self, body: Callable[[Scene], Awaitable[None]], *, last: float = 0.1) -> None: ...


class Scene:
    """A gate, the name of a socket, and requests that run until they are told to end."""

    def __init__(self, folder: Path, *, last: float = 0.1) -> None:
        clock = SystemClock()
        self.path = folder / "front.sock"
        self.path.touch()
        self.gate = RequestGate(self._serve, clock=clock)
        self.ending = Ending(clock)
        name = SocketName(self.path)
        self.drain = LineDrain(self.gate, name, self.ending, interval=0.05, clock=clock, last=last)

    def begin(self) -> asyncio.Event:
        """A request that runs until this is set."""
        end = asyncio.Event()
        asyncio.get_running_loop().create_task(self._call({"type": "http", "path": "/acme/", "end": end}))
        return end

    async def _call(self, scope: Scope) -> None:
        await self.gate(scope, _nothing, _nowhere)

    async def _serve(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        await scope["end"].wait()

    async def until(self, is_so: Callable[[], bool], what: str) -> None:
        await wait_until_async(is_so, what, deadline=timedelta(seconds=30))


async def _nothing() -> dict[str, object]:
    return {}


async def _nowhere(_message: object) -> None:
    return


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def play(body: Callable[[Scene], Awaitable[None]], *, last: float = 0.1) -> None:
        async def main() -> None:
            scene = Scene(tmp_path, last=last)
            scene.ending.tell(LONG)
            leaving = asyncio.create_task(scene.drain.leave())
            await body(scene)
            await asyncio.wait_for(leaving, 30)
            assert not scene.path.exists()

        asyncio.run(main())

    return play


def test_who_comes_on_an_old_connection_gets_the_name_back_until_he_is_answered(play: Play) -> None:
    async def body(scene: Scene) -> None:
        await scene.until(lambda: not scene.path.exists(), "the name to be away")
        end = scene.begin()
        await scene.until(scene.path.exists, "the name to be back")
        end.set()
        await scene.until(lambda: not scene.path.exists(), "the name to be away again")
        scene.ending.tell(timedelta(0))

    # However late he comes: the line waits for him.
    play(body, last=NEVER)


def test_callers_that_keep_a_line_busy_are_sent_elsewhere_and_cut_nobody(play: Play) -> None:
    """Such as sticky ones: they come as long as the socket has a name, whatever the line says of itself."""

    async def body(scene: Scene) -> None:
        slow, running = scene.begin(), scene.begin()
        loop = asyncio.get_running_loop()
        latest = loop.time() + 30
        while scene.path.exists():
            assert loop.time() < latest
            # The next one has come before the one before is answered.
            running, before = scene.begin(), running
            await scene.until(lambda: scene.gate.running == 3, "both to run, and the slow one")
            before.set()
            await scene.until(lambda: scene.gate.running == 2, "the one before to be answered")
        running.set()
        await scene.until(scene.path.exists, "the name to be back for who is served still")
        assert scene.gate.running == 1
        slow.set()

    play(body)


def test_whoever_wants_the_end_soonest_decides_also_while_it_drains(tmp_path: Path) -> None:
    async def main() -> None:
        scene = Scene(tmp_path)
        scene.ending.tell(LONG)
        end = scene.begin()
        leaving = asyncio.create_task(scene.drain.leave())
        await scene.until(lambda: scene.gate.running == 1, "the request to run")
        scene.ending.tell(timedelta(0))
        await asyncio.wait_for(leaving, 10)
        assert scene.gate.running == 1, "who is left is told to come again"
        end.set()

    asyncio.run(main())


def test_line_that_ends_by_itself_does_not_wait_for_ever() -> None:
    async def main() -> None:
        ending = Ending(SystemClock())
        assert ending.writes() < SystemClock().monotonic() + 60
        ending.tell(LONG)
        assert ending.writes() > SystemClock().monotonic() + 30

    asyncio.run(main())

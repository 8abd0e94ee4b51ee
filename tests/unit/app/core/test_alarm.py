"""One timer, on both event loops that wops runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from app.core.alarm import Alarm

NewLoop = Callable[[], asyncio.AbstractEventLoop]
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
FAR = 60.0


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_rings_once_at_the_earliest_moment_it_was_set_for_however_near_that_is(new_loop: NewLoop) -> None:
    async def body() -> None:
        rung = asyncio.Event()
        count = 0

        def ring() -> None:
            nonlocal count
            count += 1
            assert not alarm.is_set
            rung.set()

        alarm = Alarm(ring)
        for number in range(200):
            rung.clear()
            alarm.ring_in(FAR)
            alarm.ring_in(number * 1e-5)
            alarm.ring_in(FAR)
            assert alarm.is_set
            await asyncio.wait_for(rung.wait(), timeout=FAR)
            assert count == number + 1

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(body())


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_does_not_ring_when_stopped(new_loop: NewLoop) -> None:
    async def body() -> None:
        rung: list[str] = []
        done = asyncio.Event()
        stopped, later = Alarm(lambda: rung.append("stopped")), Alarm(done.set)
        stopped.stop()
        stopped.ring_in(0.001)
        later.ring_in(0.005)
        stopped.stop()
        assert not stopped.is_set
        await asyncio.wait_for(done.wait(), timeout=FAR)
        assert rung == []

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(body())

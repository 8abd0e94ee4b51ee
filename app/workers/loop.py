"""The one shape of a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from app.core.logging import clear
from app.operations.guard import carry_on


@dataclass(frozen=True, slots=True)
class Loop:
    """Something that is called again and again.

    Attributes:
        every_seconds: pause between two calls.
        waits_first: the pause comes before the first call, too, so that a start is not slowed down.
    """

    name: str
    call: Callable[[], Awaitable[object]]
    every_seconds: float
    waits_first: bool = False


async def run_loop(loop: Loop, stop: asyncio.Event) -> None:
    """Call again and again until told to stop; an error is logged, and the next round comes all the same."""
    if loop.waits_first:
        await _pause(stop, loop.every_seconds)
    while not stop.is_set():
        clear()
        with carry_on("loop_failed", loop=loop.name):
            await loop.call()
        await _pause(stop, loop.every_seconds)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)

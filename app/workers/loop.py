"""The one shape of a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.core.logging import clear
from app.operations.guard import carry_on


async def run_loop(
    name: str, call: Callable[[], Awaitable[object]], *, stop: asyncio.Event, every_seconds: float
) -> None:
    """Call something again and again until told to stop; an error is logged, and the next round comes all the same."""
    while not stop.is_set():
        clear()
        with carry_on("loop_failed", loop=name):
            await call()
        try:
            await asyncio.wait_for(stop.wait(), every_seconds)
        except TimeoutError:
            continue

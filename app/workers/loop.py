"""The one shape of a loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from app.core.complaint import Complaints
from app.core.errors import DomainError
from app.core.logging import clear
from app.operations.guard import carry_on

_log = logging.getLogger(__name__)


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
    """Call again and again until told to stop; an error is logged, and the next round comes all the same.

    A refusal, of ours or of the system, that stays the same is logged once a minute, however often the round fails.
    """
    complaints = Complaints()
    if loop.waits_first:
        await _pause(stop, loop.every_seconds)
    while not stop.is_set():
        clear()
        with carry_on("loop_failed", loop=loop.name):
            await _call(loop, complaints)
        await _pause(stop, loop.every_seconds)


async def _call(loop: Loop, complaints: Complaints) -> None:
    try:
        await loop.call()
    except (DomainError, OSError) as error:
        code, cause = (
            (error.code, error.message)
            if isinstance(error, DomainError)
            else (type(error).__name__, str(error))
        )
        times = complaints.note(f"{code}: {cause}")
        if times is not None:
            told = {"loop": loop.name, "code": code, "cause": cause, "times": times}
            _log.warning("loop_failed", extra=told)
    else:
        if complaints.end():
            _log.info("loop_works_again", extra={"loop": loop.name})


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)

"""The one shape of a loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)


async def run_loop(
    name: str, call: Callable[[], Awaitable[object]], *, stop: asyncio.Event, every_seconds: float
) -> None:
    """Call something again and again until told to stop; an error is logged, and the next round comes all the same."""
    while not stop.is_set():
        try:
            await call()
        except Exception:
            _log.exception("loop_failed", extra={"loop": name})
        try:
            await asyncio.wait_for(stop.wait(), every_seconds)
        except TimeoutError:
            continue

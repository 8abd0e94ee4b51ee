"""Waiting in tests: on a condition, with a deadline, never for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")

_PAUSE_SECONDS = 0.01


def wait_until(
    condition: Callable[[], T | None], what: str, *, deadline: timedelta = timedelta(seconds=10)
) -> T:
    """Ask until the answer is true, and return it.

    Raises:
        AssertionError: the deadline passed; the message names `what` was waited for.
    """
    until = time.monotonic() + deadline.total_seconds()
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= until:
            raise AssertionError(f"waited {deadline.total_seconds():g} s in vain for {what}")
        time.sleep(_PAUSE_SECONDS)


async def wait_until_async(
    condition: Callable[[], T | None], what: str, *, deadline: timedelta = timedelta(seconds=10)
) -> T:
    """As `wait_until`, for a condition that other tasks of the same event loop make true."""
    until = time.monotonic() + deadline.total_seconds()
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= until:
            raise AssertionError(f"waited {deadline.total_seconds():g} s in vain for {what}")
        await asyncio.sleep(_PAUSE_SECONDS)


async def until(
    asked: Callable[[], Awaitable[bool]], what: str, *, deadline: timedelta = timedelta(seconds=60)
) -> None:
    """Ask again and again, one question at a time, until the answer is yes.

    Raises:
        AssertionError: the deadline passed; the message names `what` was waited for.
    """
    at_last = time.monotonic() + deadline.total_seconds()
    while not await asked():
        if time.monotonic() >= at_last:
            raise AssertionError(f"waited {deadline.total_seconds():g} s in vain for {what}")
        await asyncio.sleep(_PAUSE_SECONDS)

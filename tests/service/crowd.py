"""Threads that do something at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Final, TypeVar

from app.core.errors import DomainError

T = TypeVar("T")

START_SECONDS: Final = 60.0
"""How long a thread waits for the others; then the test has failed, instead of hanging."""


def at_once(number: int, work: Callable[[int], T]) -> list[T | DomainError]:
    """Run a piece of work in many threads that start together; refusals are results, in the order of the threads.

    Raises:
        BaseException: what the first thread that ended otherwise has raised.
    """

    def run(place: int) -> T | DomainError:
        try:
            return work(place)
        except DomainError as refusal:
            return refusal

    return together(number, run)


def together(number: int, work: Callable[[int], T]) -> list[T]:
    """As `at_once`, where nobody may be refused."""
    start = Barrier(number)

    def run(place: int) -> T:
        start.wait(START_SECONDS)
        return work(place)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(run, range(number)))

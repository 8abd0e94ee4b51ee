"""Time that something took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds on the wall and of this process's processor time."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Spent:
        """A point to subtract from a later one."""
        return cls(time.perf_counter(), time.process_time())

    def __sub__(self, earlier: Spent) -> Spent:
        return Spent(self.wall - earlier.wall, self.cpu - earlier.cpu)


@contextmanager
def timed_method(kind: type[Any], name: str) -> Iterator[list[float]]:
    """Collect the seconds of each call of a method while the block runs."""
    original: Callable[..., Any] = getattr(kind, name)
    seconds: list[float] = []

    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*arguments, **named)
        finally:
            seconds.append(time.perf_counter() - started)

    setattr(kind, name, timed)
    try:
        yield seconds
    finally:
        setattr(kind, name, original)

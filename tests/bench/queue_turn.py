"""What clients measure: so many jobs sent by so many clients, each the next as soon as its last is back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from fsb_gateway import ProgrammingJob


@dataclass(slots=True)
class Turn:
    """Seconds of each job.

    Attributes:
        whole: from the client's call to the update in his hands.
        inside: the part of it in which the worker did the job itself; empty where the worker does not say it per job.
        wall: of all of them together.
    """

    whole: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    wall: float = 0.0

    def note(self, answer: tuple[str, float] | str, started: float) -> None:
        """An answer that came just now.

        Raises:
            RuntimeError: it is no update.
        """
        self.whole.append(time.perf_counter() - started)
        update, inside = answer if isinstance(answer, tuple) else (answer, None)
        if not update.startswith("-----BEGIN WOPS UPDATE-----"):
            raise RuntimeError(f"the answer is no update: {update[:80]!r}")
        if inside is not None:
            self.inside.append(inside)


class Caller(Protocol):
    """Clients of one system."""

    def send(self, jobs: Iterable[ProgrammingJob], clients: int) -> Turn:
        """Have the jobs done by so many clients."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...


async def send_async(
    jobs: Iterable[ProgrammingJob],
    clients: int,
    send: Callable[[ProgrammingJob], Awaitable[tuple[str, float] | str]],
) -> Turn:
    """Clients are tasks of one event loop."""
    turn, remaining = Turn(), iter(jobs)

    async def client() -> None:
        for job in remaining:
            started = time.perf_counter()
            turn.note(await send(job), started)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    turn.wall = time.perf_counter() - started
    return turn


def send_threaded(
    jobs: Iterable[ProgrammingJob], clients: int, send: Callable[[ProgrammingJob], tuple[str, float]]
) -> Turn:
    """Clients are threads, for libraries that block."""
    turn, remaining = Turn(), _Shared(iter(jobs))

    def client() -> None:
        for job in remaining:
            started = time.perf_counter()
            turn.note(send(job), started)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turn.wall = time.perf_counter() - started
    return turn


class _Shared:
    """An iterator for several threads."""

    def __init__(self, jobs: Iterator[ProgrammingJob]) -> None:
        self._jobs = jobs
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[ProgrammingJob]:
        return self

    def __next__(self) -> ProgrammingJob:
        with self._lock:
            return next(self._jobs)

"""The fair ideal: a pool that divides itself among all instances that have work, all the time, and costs nothing. Pure.

Generalized processor sharing, simulated from event to event. What really queues serves one job after the other.
**Source:** Parekh and Gallager 1993, "A generalized processor sharing approach to flow control in integrated services
networks".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_NOTHING: Final = 1e-9
"""Seconds: what is left of a job when floats have been subtracted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A job on its way.

    Attributes:
        at: seconds since the start.
        work: seconds that one box needs for it.
    """

    at: float
    work: float


@dataclass(slots=True, kw_only=True)
class Source:
    """One instance and its clients.

    Attributes:
        planned: jobs that come at their time, whatever becomes of the ones before; in order.
        clients: how many send their next job as soon as the last is back; each job takes `work` seconds of a box.
        waits: of the jobs that were done: seconds from arrival to end, less its own work.
    """

    planned: Sequence[Arrival] = ()
    clients: int = 0
    work: float = 0.0
    waits: list[float] = field(default_factory=list)


def simulate(sources: Sequence[Source], *, boxes: int, until: float) -> None:
    """Note the waits of all jobs that end before `until`.

    Args:
        boxes: how many operations at a time; an instance alone gets all of them.
        until: seconds.
    """
    _Share(sources, boxes).run(until)


@dataclass(slots=True)
class _Job:
    place: int
    arrived: float
    work: float
    left: float


class _Share:
    def __init__(self, sources: Sequence[Source], boxes: int) -> None:
        self._sources = sources
        self._boxes = boxes
        self._now = 0.0
        self._lines = [deque[_Job]() for _ in sources]
        self._coming = deque(_first_jobs(sources))

    def run(self, until: float) -> None:
        while self._now < until and (self._coming or any(self._lines)):
            self._admit()
            rate = self._boxes / max(1, sum(map(bool, self._lines)))
            steps = [line[0].left / rate for line in self._lines if line]
            if self._coming:
                steps.append(self._coming[0].arrived - self._now)
            self._advance(min(steps), rate)

    def _admit(self) -> None:
        while self._coming and self._coming[0].arrived <= self._now + _NOTHING:
            job = self._coming.popleft()
            self._lines[job.place].append(job)

    def _advance(self, step: float, rate: float) -> None:
        self._now += step
        for place, (source, line) in enumerate(zip(self._sources, self._lines, strict=True)):
            if not line:
                continue
            job = line[0]
            job.left -= step * rate
            if job.left <= _NOTHING:
                line.popleft()
                source.waits.append(self._now - job.arrived - job.work)
                if source.clients:
                    line.append(_Job(place, self._now, source.work, source.work))


def _first_jobs(sources: Sequence[Source]) -> list[_Job]:
    """What comes by itself, and each client's first job, by time."""
    jobs = [
        _Job(place, job.at, job.work, job.work)
        for place, source in enumerate(sources)
        for job in source.planned
    ]
    for place, source in enumerate(sources):
        jobs += [_Job(place, 0.0, source.work, source.work) for _ in range(source.clients)]
    return sorted(jobs, key=lambda job: job.arrived)

"""Who kept whom waiting in a pool: every second of a job's wait, split by whom the boxes worked for. Pure.

While k boxes work, each of them stands for 1/k of every second that anyone waits. A box does its jobs one at a time in
the order in which it was given them, so a job that it holds in reserve still waits.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

_SHARE_SECONDS = 300.0
# The last five minutes are counted in steps of this.
_STEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """How long a job waited, in seconds.

    Attributes:
        by_others: while boxes worked for other instances.
        by_own: while they worked for its own instance; the rest of `waited` no box worked.
    """

    waited: float
    by_others: float
    by_own: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDelay:
    """All finished jobs of an instance since the beginning."""

    jobs: int = 0
    operations: int = 0
    waited_seconds: float = 0.0
    caused_by_others_seconds: float = 0.0


_NOTHING = InstanceDelay()


class _Wait:
    """A job's own clock readings: at its arrival, then what it gathered whenever it did wait."""

    __slots__ = ("all_worked", "box", "by_others", "by_own", "instance_id", "own_worked", "since", "waited")

    def __init__(self, instance_id: str) -> None:
        self.instance_id = instance_id
        self.box: str | None = None
        self.since: float | None = None
        self.all_worked = self.own_worked = 0.0
        self.waited = self.by_others = self.by_own = 0.0


class DelayAccount:
    """The account of one pool. All times are seconds of one clock that does not go back."""

    def __init__(self) -> None:
        self._waits: dict[str, _Wait] = {}
        self._boxes: dict[str, deque[str]] = {}
        # Seconds in which any box worked, and the part of them that stands for each instance.
        self._all_worked = 0.0
        self._worked: dict[str, float] = {}
        self._working: Counter[str] = Counter()
        self._at = 0.0
        self._totals: dict[str, InstanceDelay] = {}
        self._steps: deque[tuple[float, Counter[str]]] = deque()
        self._lately: Counter[str] = Counter()

    def arrive(self, job_id: str, instance_id: str, *, at: float) -> None:
        """A job begins to wait."""
        self._advance(at)
        wait = self._waits[job_id] = _Wait(instance_id)
        self._open(wait)

    def give(self, job_id: str, box: str, *, at: float) -> None:
        """A box was given the job: it begins at once, or when it has done those that it was given before."""
        self._advance(at)
        queue = self._boxes.setdefault(box, deque())
        queue.append(job_id)
        self._waits[job_id].box = box
        if len(queue) == 1:
            self._begin(queue[0])

    def give_back(self, job_id: str, *, at: float) -> None:
        """The box did not do the job: it waits again."""
        self._advance(at)
        wait = self._waits[job_id]
        self._release(job_id, wait)
        if wait.since is None:
            self._open(wait)

    def finish(self, job_id: str, *, operations: int, at: float) -> Delay:
        """The job is done; how long it waited, and because of whom."""
        self._advance(at)
        wait = self._waits.pop(job_id)
        self._release(job_id, wait)
        self._close(wait)
        total = self._totals.get(wait.instance_id, _NOTHING)
        self._totals[wait.instance_id] = InstanceDelay(
            jobs=total.jobs + 1,
            operations=total.operations + operations,
            waited_seconds=total.waited_seconds + wait.waited,
            caused_by_others_seconds=total.caused_by_others_seconds + wait.by_others,
        )
        self._count_lately(wait.instance_id, operations)
        return Delay(waited=wait.waited, by_others=wait.by_others, by_own=wait.by_own)

    def drop(self, job_id: str, *, at: float) -> None:
        """The job was cancelled, expired or failed: it counts nowhere. Nothing happens if it is not known."""
        self._advance(at)
        wait = self._waits.pop(job_id, None)
        if wait is not None:
            self._release(job_id, wait)

    def so_far(self, job_id: str, *, at: float) -> Delay:
        """How long a job has waited that is not finished, and because of whom.

        Raises:
            KeyError: it is not known.
        """
        self._advance(at)
        wait = self._waits[job_id]
        waited, by_others, by_own = self._open_part(wait)
        return Delay(
            waited=wait.waited + waited, by_others=wait.by_others + by_others, by_own=wait.by_own + by_own
        )

    def total(self, instance_id: str) -> InstanceDelay:
        """All finished jobs of an instance."""
        return self._totals.get(instance_id, _NOTHING)

    def instances(self) -> tuple[str, ...]:
        """Every instance that has finished a job."""
        return tuple(self._totals)

    def share(self, instance_id: str, *, at: float) -> float:
        """Of the operations of the last five minutes (0–1)."""
        self._advance(at)
        self._drop_steps()
        everything = self._lately.total()
        return self._lately[instance_id] / everything if everything else 0.0

    def _advance(self, at: float) -> None:
        passed = max(0.0, at - self._at)
        boxes = self._working.total()
        if boxes:
            self._all_worked += passed
            for instance_id, working in self._working.items():
                self._worked[instance_id] = self._worked.get(instance_id, 0.0) + passed * working / boxes
        self._at = max(at, self._at)

    def _open(self, wait: _Wait) -> None:
        wait.since = self._at
        wait.all_worked = self._all_worked
        wait.own_worked = self._worked.get(wait.instance_id, 0.0)

    def _open_part(self, wait: _Wait) -> tuple[float, float, float]:
        """What has not been added up yet: waited, by others, by its own instance."""
        if wait.since is None:
            return 0.0, 0.0, 0.0
        own = self._worked.get(wait.instance_id, 0.0) - wait.own_worked
        return self._at - wait.since, max(0.0, self._all_worked - wait.all_worked - own), own

    def _close(self, wait: _Wait) -> None:
        waited, by_others, by_own = self._open_part(wait)
        wait.waited += waited
        wait.by_others += by_others
        wait.by_own += by_own
        wait.since = None

    def _begin(self, job_id: str) -> None:
        wait = self._waits[job_id]
        self._close(wait)
        self._working[wait.instance_id] += 1

    def _release(self, job_id: str, wait: _Wait) -> None:
        """Out of its box; if the box worked on it, the next one there begins."""
        if wait.box is None:
            return
        queue = self._boxes[wait.box]
        was_first = queue[0] == job_id
        queue.remove(job_id)
        wait.box = None
        if was_first:
            self._working[wait.instance_id] -= 1
            if not self._working[wait.instance_id]:
                del self._working[wait.instance_id]
            if queue:
                self._begin(queue[0])

    def _count_lately(self, instance_id: str, operations: int) -> None:
        self._drop_steps()
        step = self._at - self._at % _STEP_SECONDS
        if not self._steps or self._steps[-1][0] != step:
            self._steps.append((step, Counter()))
        self._steps[-1][1][instance_id] += operations
        self._lately[instance_id] += operations

    def _drop_steps(self) -> None:
        while self._steps and self._steps[0][0] + _STEP_SECONDS <= self._at - _SHARE_SECONDS:
            _, counted = self._steps.popleft()
            for instance_id, operations in counted.items():
                self._lately[instance_id] -= operations
                if not self._lately[instance_id]:
                    del self._lately[instance_id]

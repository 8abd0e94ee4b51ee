"""What is to be expected of boxes, from what they did lately: time per operation, waiting times, utilisation. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from fsb_gateway.report import Quantiles

# A percentile of 99 wants 100 jobs and some; a change of pace is followed within half the window. Our own decision.
_WINDOW_JOBS = 200
# A software box signs, encrypts and records in about this time [measured].
_FIRST_GUESS_SECONDS = 0.001
# From a software box (below 1 ms) to the slowest operation that can be set (a minute), three steps per power of ten.
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
_UTILISATION_SECONDS = 60.0
# Two points in so much time are kept at most; half a second of a minute is below 1 %.
_POINT_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A time in seconds that is kept in half of all cases, and in 19 of 20."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Seconds per operation, in the form of Prometheus.

    Attributes:
        buckets: upper bound, and how many operations took no longer; the last bound is infinite.
        seconds: of all operations together.
    """

    buckets: tuple[tuple[float, int], ...]
    seconds: float
    operations: int


class ServiceTime:
    """How long programming operations take, over the last jobs of a box or pool."""

    def __init__(self) -> None:
        """Begin with a guess, which holds until the first job is done; see `restart` for a better one."""
        self._guess = _FIRST_GUESS_SECONDS
        self._window: deque[float] = deque(maxlen=_WINDOW_JOBS)
        self._sorted: list[float] | None = None
        self._mean: float | None = _FIRST_GUESS_SECONDS
        self._counts = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0
        self._operations = 0

    def restart(self, paces: Sequence[float]) -> None:
        """Begin again with what the boxes are set to, on average: one has another pace. The histogram goes on.

        Args:
            paces: of each box, in seconds per operation; 0 for one that is as fast as it can be.
        """
        guesses = [pace or _FIRST_GUESS_SECONDS for pace in paces] or [_FIRST_GUESS_SECONDS]
        self._guess = self._mean = math.fsum(guesses) / len(guesses)
        self._window.clear()
        self._sorted = None

    def add(self, *, operations: int, seconds: float) -> None:
        """Learn from a finished job: so many operations, so long altogether."""
        each = seconds / operations
        self._window.append(each)
        self._sorted = self._mean = None
        self._counts[bisect_left(_BUCKETS, each)] += operations
        self._seconds += seconds
        self._operations += operations

    def quantiles(self) -> Quantiles | None:
        """Seconds per operation; None before the first job."""
        if not self._window:
            return None
        return Quantiles(p50=self._quantile(0.5), p95=self._quantile(0.95), p99=self._quantile(0.99))

    def mean(self) -> float:
        """Seconds per operation; a guess before the first job."""
        if self._mean is None:
            self._mean = math.fsum(self._window) / len(self._window)
        return self._mean

    def wait(self, operations: int, *, boxes: int = 1, own: int = 0) -> Expected:
        """How long operations take that several boxes share, and then those of one job in one box.

        Times add up, their deviations do so by their squares: of many operations the sum is nearly certain, of one
        it is what was measured.

        Args:
            operations: served before.
            boxes: that share them; 0 counts as 1.
            own: operations of the job itself.
        """
        boxes = max(1, boxes)
        mean = self.mean()
        certain = mean * (operations / boxes + own)
        spread = math.sqrt(operations / boxes**2 + own)
        p50, p95 = self._quantile(0.5), self._quantile(0.95)
        return Expected(
            p50=certain + (p50 - mean) * spread, p95=certain + (max(p50, p95, mean) - mean) * spread
        )

    def histogram(self) -> Histogram:
        """All operations since the beginning."""
        total = 0
        buckets: list[tuple[float, int]] = []
        for bound, count in zip((*_BUCKETS, math.inf), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return Histogram(buckets=tuple(buckets), seconds=self._seconds, operations=self._operations)

    def _quantile(self, share: float) -> float:
        """The smallest measured time that so large a share of the jobs kept."""
        if not self._window:
            return self._guess
        if self._sorted is None:
            self._sorted = sorted(self._window)
        return self._sorted[math.ceil(share * len(self._sorted)) - 1]


class Utilisation:
    """Which share of the last minute a box worked. Jobs may be begun before the last one has ended."""

    def __init__(self) -> None:
        # (moment, seconds worked until then); in between the box worked evenly.
        self._points: deque[tuple[float, float]] = deque()
        self._last = 0.0
        self._worked = 0.0
        self._running = 0

    def begin(self, at: float) -> None:
        """The box was given a job."""
        self._advance(at)
        self._running += 1

    def end(self, at: float) -> None:
        """The box has one job less."""
        self._advance(at)
        self._running -= 1

    def share(self, at: float) -> float:
        """Of the last 60 seconds (0–1); what was before the first job counts as idle."""
        worked = self._worked + (max(0.0, at - self._last) if self._running else 0.0)
        return min(
            1.0, max(0.0, worked - self._worked_until(at - _UTILISATION_SECONDS)) / _UTILISATION_SECONDS
        )

    def _advance(self, at: float) -> None:
        if self._running:
            self._worked += max(0.0, at - self._last)
        self._last = max(at, self._last)
        points = self._points
        if len(points) > 1 and self._last - points[-2][0] < _POINT_SECONDS:
            points[-1] = (self._last, self._worked)
        else:
            points.append((self._last, self._worked))
        while len(points) > 1 and points[1][0] <= self._last - _UTILISATION_SECONDS:
            points.popleft()

    def _worked_until(self, moment: float) -> float:
        index = bisect_left(self._points, moment, key=_moment)
        if index == len(self._points):
            return self._worked
        later, worked = self._points[index]
        if index == 0:
            return worked
        earlier, before = self._points[index - 1]
        return before + (worked - before) * (moment - earlier) / (later - earlier)


def _moment(point: tuple[float, float]) -> float:
    return point[0]

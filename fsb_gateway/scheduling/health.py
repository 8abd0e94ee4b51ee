"""Whether a box may be given work, from what it did with the last jobs. Pure.

in ── 3 failures in a row, or 5 within a minute ──► out until `retry_at`
▲                                                    │            ▲
│                                                    ▼            │
└───────────── success ───────── probing: ONE job or self-test ── failure: twice as long, 10 minutes at most
"""

from __future__ import annotations

from collections import deque

# A single failure happens, three in a row do not by chance; five in a minute catch a box that fails now and then.
_FAILURES_IN_A_ROW = 3
_FAILURES_IN_WINDOW = 5
_WINDOW_SECONDS = 60.0
# A dongle that was pulled and put back answers within seconds; one that is broken is not asked all the time.
_FIRST_RETRY_SECONDS = 5.0
_LAST_RETRY_SECONDS = 600.0


class BoxHealth:
    """What is known of one box. Times are seconds of one clock that does not go back.

    Attributes:
        consecutive: failures since the last success.
        reason: code of the failure that put it out; None while it is in.
        retry_at: from when on one job may try it; None while it is in, or while one tries.
    """

    def __init__(self) -> None:
        self.consecutive = 0
        self.reason: str | None = None
        self.retry_at: float | None = None
        self._failed_at: deque[float] = deque(maxlen=_FAILURES_IN_WINDOW)
        self._pause = 0.0
        self._back_at: float | None = None

    @property
    def is_in(self) -> bool:
        """Whether it takes any work."""
        return self.reason is None

    @property
    def is_probing(self) -> bool:
        """Whether one job or self-test is trying it now."""
        return self.reason is not None and self.retry_at is None

    def may_try(self, at: float) -> bool:
        """Whether it is out, and one job may try it now."""
        return self.retry_at is not None and at >= self.retry_at

    def probe(self) -> None:
        """One job tries it: the next success or failure decides. Nothing happens while it is in."""
        if self.reason is not None:
            self.retry_at = None

    def abandon(self, at: float) -> None:
        """The probing job came to nothing for another reason: the next one may try at once."""
        if self.is_probing:
            self.retry_at = at

    def succeed(self, at: float) -> None:
        """It did a job. One that it was given before it was put out brings it back no sooner."""
        self.consecutive = 0
        if self.is_probing:
            self.reason = None
            self._failed_at.clear()
            self._back_at = at

    def fail(self, code: str, at: float) -> bool:
        """It could not do a job; whether that put it out.

        Only what was the box's fault counts. While it is out, failures of jobs that it was given before count no more.
        """
        self.consecutive += 1
        if self.is_probing:
            self._put_out(code, at)
            return False
        if self.reason is not None:
            return False
        self._failed_at.append(at)
        if self.consecutive < _FAILURES_IN_A_ROW and not self._fails_often(at):
            return False
        if self._back_at is None or at - self._back_at >= _WINDOW_SECONDS:
            self._pause = 0.0
        self._put_out(code, at)
        return True

    def reset(self) -> None:
        """Somebody has mended it: it is in, and nothing is held against it."""
        self.consecutive = 0
        self.reason = self.retry_at = self._back_at = None
        self._failed_at.clear()

    def _fails_often(self, at: float) -> bool:
        failed = self._failed_at
        return len(failed) == _FAILURES_IN_WINDOW and at - failed[0] <= _WINDOW_SECONDS

    def _put_out(self, code: str, at: float) -> None:
        self._pause = min(_LAST_RETRY_SECONDS, self._pause * 2) if self._pause else _FIRST_RETRY_SECONDS
        self.reason = code
        self.retry_at = at + self._pause

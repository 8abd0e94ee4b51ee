"""How a line leaves its front, so that no request is lost.

    told ──► unready; each answer is the last of its connection ──► no request for a while: the front has noticed
         ──► nothing runs: the socket loses its name ──► nobody comes any more ──► the servers end

A front that does not find the socket takes the line for dead after two checks, and cuts what it has there. So the name
is away for good only while nothing runs. A sticky caller is sent to a line that is unready, too; where such ones keep
it busy, the name is away for less than one check: whoever comes then is sent to another line, and stays there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

from app.core.clock import Clock
from app.http.request_gate import RequestGate

ENDS_WITHIN: Final = timedelta(seconds=40)
"""A caller waits 25 s for a slow box at most; the rest is for the front to notice and for writing down."""
_NOTICED_AFTER: Final = 3
"""Check intervals without a request after which the front has noticed: one until its next check, which hears of it, and
two for that check's time limit (`lb.front.settings`)."""
_LONGEST_NOTICE: Final = 10
"""Check intervals; whoever sends requests all the same is no front that asks for health. Our own decision."""
_AWAY: Final = 0.5
"""Check intervals without the name while something runs: one check may fail, and two would end it."""
_SHOWN: Final = 2.0
"""Check intervals with the name, so that one check is answered for certain before the next may fail."""
_LAST_SECONDS: Final = 1.0
"""Without a request, after which nobody has one left to send on a connection that he made before the socket lost its
name. Our own decision: many times what a busy machine makes a front wait between the two."""
_WRITES_WITHIN_SECONDS: Final = 5.0
"""For counted calls, once nothing runs any more. Our own decision."""
_STEP_SECONDS: Final = 0.02


class Ending:
    """When a line is to have ended; whoever wants it soonest decides, also while it ends already. For one event loop.

    Attributes:
        told: it is to end.
        at_once: somebody wants that at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = 0.0
        self._deadline = float("inf")
        self._is_signalled = False
        self.told, self.at_once = asyncio.Event(), asyncio.Event()

    def tell(self, within: timedelta) -> None:
        """End in an orderly way, in this time at most."""
        now = self._clock.monotonic()
        if not self.told.is_set():
            self._began = now
        self._deadline = min(self._deadline, now + within.total_seconds())
        self.told.set()

    def signal(self) -> None:
        """The same as every process is told; a second time: at once."""
        if self._is_signalled:
            self.at_once.set()
        self._is_signalled = True
        self.tell(ENDS_WITHIN)

    def notice(self, longest: float) -> float:
        """How long the front may take to notice, on the monotonic clock."""
        return self._began + min(longest, (self._deadline - self._began) / 2)

    def requests(self) -> float:
        """How long requests may run."""
        return self._deadline - min(_WRITES_WITHIN_SECONDS, (self._deadline - self._began) / 4)

    def writes(self) -> float:
        """How long counted calls may be written down, seen from now."""
        soonest = self._clock.monotonic() + _WRITES_WITHIN_SECONDS
        return max(self._deadline, soonest) if self.told.is_set() else soonest

    async def until(self, is_so: Callable[[], bool], latest: Callable[[], float]) -> bool:
        """Wait for a condition; False: it is late, or the end is wanted at once."""
        while not is_so():
            if self.at_once.is_set() or self._clock.monotonic() >= latest():
                return False
            await asyncio.sleep(_STEP_SECONDS)
        return True


class SocketName:
    """The name of a socket that is listened at: without it nobody makes a new connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._away = path.with_name(f".{path.name}")

    def hide(self) -> None:
        """Take it away; who has a connection, or waits for one, has it still."""
        with suppress(OSError):
            self._path.rename(self._away)

    def show(self) -> None:
        """Put it back."""
        with suppress(OSError):
            self._away.rename(self._path)

    def remove(self) -> None:
        """Nobody listens there any more; also what a killed process has left."""
        for each in (self._path, self._away):
            each.unlink(missing_ok=True)


class LineDrain:
    """One line's way out of its front.

    Args:
        interval: between two checks of the front, in seconds.
        last: seconds without a request, after which nobody has one left.
    """

    def __init__(
        self,
        gate: RequestGate,
        name: SocketName,
        ending: Ending,
        *,
        interval: float,
        clock: Clock,
        last: float = _LAST_SECONDS,
    ) -> None:
        self._gate = gate
        self._name = name
        self._ending = ending
        self._interval = interval
        self._last = last
        self._clock = clock
        self._since = clock.monotonic()

    async def leave(self) -> None:
        """Serve until nobody comes any more, or it is late."""
        ending, longest = self._ending, _LONGEST_NOTICE * self._interval
        self._gate.closing = True
        noticed = _NOTICED_AFTER * self._interval
        await ending.until(lambda: self._quiet() >= noticed, lambda: ending.notice(longest))
        self._since = self._clock.monotonic()
        while await ending.until(self._may_hide, ending.requests):
            self._name.hide()
            self._since = self._clock.monotonic()
            await ending.until(lambda: self._has_left() or self._is_missed(), ending.requests)
            if not self._gate.running:
                return
            self._name.show()
            self._since = self._clock.monotonic()

    def _quiet(self) -> float:
        """Seconds without a request, since the last change."""
        return self._clock.monotonic() - max(self._since, self._gate.last_at)

    def _may_hide(self) -> bool:
        """Nothing runs; or who comes again and again would keep it so for ever."""
        is_shown = self._clock.monotonic() - self._since >= _SHOWN * self._interval
        return not self._gate.running or (is_shown and self._gate.last_at > self._since)

    def _has_left(self) -> bool:
        return not self._gate.running and self._quiet() >= self._last

    def _is_missed(self) -> bool:
        """Something runs, and the front must not take the line for dead."""
        return bool(self._gate.running) and self._clock.monotonic() - self._since >= _AWAY * self._interval

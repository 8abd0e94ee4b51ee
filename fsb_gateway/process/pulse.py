"""Whether the other end of a connection still lives: it is asked now and then, and answers at once if it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_BEAT_SECONDS: Final = 1.0
# Five seconds. A process that gets a share of a processor answers within milliseconds, and its thread that talks waits
# for neither the disk nor the device; a machine that lets it wait for so long does no work either. Our own decision.
_BEATS_MISSED_MAX: Final = 5


class Pulse:
    """Asks once a second, from the moment it is made to `stop`. Used on one event loop.

    What counts is beats, not time: while this process stands still itself, the other one misses nothing.
    """

    def __init__(self, ask: Callable[[], None], *, silent: Callable[[], None]) -> None:
        """Ask for the first time in a second.

        Args:
            ask: sends something that is answered.
            silent: called once when nothing has been heard since the last five times or more.
        """
        self._ask = ask
        self._silent = silent
        self._loop = asyncio.get_running_loop()
        self._missed = 0
        self._timer = self._loop.call_later(_BEAT_SECONDS, self._beat)

    def heard(self) -> None:
        """Something came from the other end."""
        self._missed = 0

    def stop(self) -> None:
        """Ask no more."""
        self._timer.cancel()

    def _beat(self) -> None:
        if self._missed >= _BEATS_MISSED_MAX:
            self._silent()
            return
        self._missed += 1
        self._timer = self._loop.call_later(_BEAT_SECONDS, self._beat)
        self._ask()

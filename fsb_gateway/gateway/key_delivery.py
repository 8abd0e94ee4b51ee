"""Firm keys that boxes are owed, because they were away or out when the key was brought to their pool.

A box gets them, wrapped from another one, as soon as it works again, without anybody asking for it. On the event loop's
thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from app.core.clock import Clock
from fsb_gateway.gateway.box_set import BoxSet
from fsb_gateway.gateway.dispatch import Dispatcher
from fsb_gateway.gateway.firm_key import FirmKeys
from fsb_gateway.gateway.seat import Seat

# After a failure: the box that has the key may be the one that is away now.
_PAUSE_SECONDS = (5.0, 60.0)


class KeyDelivery:
    """Brings boxes what they are owed."""

    def __init__(
        self, boxes: BoxSet, keys: FirmKeys, dispatcher: Dispatcher, *, setup: asyncio.Lock, clock: Clock
    ) -> None:
        """Bring nothing yet.

        Args:
            setup: held while keys are moved.
        """
        self._boxes = boxes
        self._keys = keys
        self._dispatcher = dispatcher
        self._setup = setup
        self._clock = clock
        self._under_way: set[str] = set()
        # By box: the last pause, and until when.
        self._pauses: dict[str, tuple[float, float]] = {}

    def look(self) -> None:
        """Begin with every box that works, is owed something, and is not to be left alone for a moment."""
        at = self._clock.monotonic()
        for seat in self._owed():
            if not seat.box.ready:
                # It is tried at once when it is back.
                self._pauses.pop(seat.name, None)
            elif seat.name not in self._under_way and at >= self._pauses.get(seat.name, (0.0, at))[1]:
                self._under_way.add(seat.name)
                self._dispatcher.start(self._deliver(seat))

    def next_times(self, at: float) -> Iterator[float]:
        """In how many seconds a box is to be tried again."""
        for seat in self._owed():
            if seat.box.ready and seat.name in self._pauses:
                yield self._pauses[seat.name][1] - at

    def _owed(self) -> list[Seat]:
        return [seat for name, seat in self._boxes.seats.items() if name in self._keys.owed]

    async def _deliver(self, seat: Seat) -> None:
        try:
            async with self._setup:
                is_done = await self._keys.complete(seat)
        finally:
            self._under_way.discard(seat.name)
        if is_done:
            self._pauses.pop(seat.name, None)
        else:
            shortest, longest = _PAUSE_SECONDS
            pause = min(longest, 2 * self._pauses.get(seat.name, (shortest / 2, 0.0))[0])
            self._pauses[seat.name] = pause, self._clock.monotonic() + pause
            self._dispatcher.wait()
        self._dispatcher.dispatch_all()

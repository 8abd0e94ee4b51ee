"""Which jobs the gateway does not take at the moment, so that they are not sent at every sweep. Pure.

Of one process and forgotten with it: in the books stands only when a transfer is due again.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from app.core.ids import TransferId


class _Refusal(NamedTuple):
    pause: float
    until: float


class Refusals:
    """What did not reach a box, by transfer. Belongs to one event loop; times are monotonic seconds.

    Args:
        first: pause after the first refusal, in seconds; it doubles with each.
        longest: where that ends.
    """

    def __init__(self, *, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._known: dict[TransferId, _Refusal] = {}

    def note(self, transfer_id: TransferId, *, at: float, holds: bool) -> bool:
        """Note one more; returns whether it is the first in a row.

        Args:
            holds: the gateway itself said no: sending the job again at once shows nothing new.
        """
        known = self._known.get(transfer_id)
        pause, until = known or _Refusal(0.0, at)
        if holds:
            pause = min(max(2 * pause, self._first), self._longest)
            until = at + pause
        self._known[transfer_id] = _Refusal(pause, until)
        return known is None

    def is_held(self, transfer_id: TransferId, *, at: float) -> bool:
        """Whether it is too early to send a job again that nobody has asked for."""
        known = self._known.get(transfer_id)
        return known is not None and at < known.until

    def forget(self, transfer_id: TransferId) -> None:
        """It was taken, or has ended."""
        self._known.pop(transfer_id, None)

    def forget_all_but(self, still_open: Container[TransferId]) -> None:
        """Forget what others have ended."""
        self._known = {each: known for each, known in self._known.items() if each in still_open}

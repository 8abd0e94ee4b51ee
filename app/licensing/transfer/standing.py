"""Where the job of a reserved transfer stands, as its caller may learn it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fsb_gateway import JobPending, JobState

SOONEST: Final = timedelta(seconds=1)
"""Asking more often shows nothing new: waiting is measured in whole seconds."""
LATEST: Final = timedelta(seconds=60)
"""However long the queue: boxes join, and others cancel. Our own decision."""
_NOTHING_KNOWN: Final = timedelta(seconds=2)
"""Until a gateway that restarts has been sent the job again; see `TransferSweep.drive_forgotten`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A job that is not finished. What only the gateway knows is None while it says nothing.

    Attributes:
        state: `unknown` while a box that worked on it is away, or the gateway is; `reason` tells which.
        position: jobs served before it; 0 while a box works on it.
        expected_wait: until its result in half of all cases, from measured service times.
        expected_wait_p95: the same in 19 of 20 cases.
        others_share: of the operations before it, how much is other instances' work (0–1).
        reason: code of what keeps it waiting besides its turn.
        waited: until now, without the time in which a box worked on it.
        caused_by_others: the part of it during which boxes worked for other instances.
    """

    state: JobState
    position: int | None = None
    expected_wait: timedelta | None = None
    expected_wait_p95: timedelta | None = None
    others_share: float | None = None
    reason: str | None = None
    waited: timedelta | None = None
    caused_by_others: timedelta | None = None

    @property
    def ask_again_after(self) -> timedelta:
        """When it is worth asking again: when the result is expected, within a second and a minute."""
        if self.expected_wait is None:
            return _NOTHING_KNOWN
        return min(max(self.expected_wait, SOONEST), LATEST)


def standing_of(pending: JobPending) -> Standing:
    """As the gateway tells it."""
    return Standing(
        state=pending.state,
        position=pending.position,
        expected_wait=pending.expected_wait,
        expected_wait_p95=pending.expected_wait_p95,
        others_share=pending.others_share,
        reason=pending.reason,
        waited=pending.waited,
        caused_by_others=pending.caused_by_others,
    )


def not_known(reason: str) -> Standing:
    """Where nobody can say where the job stands.

    Args:
        reason: code of why not: `fsb_unavailable`, or `job_unknown` until a gateway has been sent the job again.
    """
    return Standing(state="unknown", reason=reason)

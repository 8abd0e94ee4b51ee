"""Slowing callers down who keep sending wrong credentials. Pure core: seconds are passed in.

    failures of a client from a network within 10 min: 1 … 4   nothing
                                                       5, 6 …  nothing is looked at for 1, 2, 4 … 60 s
    one success, or 10 min without a failure: forgotten

Names that nobody has are always answered as if there were no such instance; they are just not looked up while they
are slowed down. They share one entry per network, and what is kept is bounded: under a flood from everywhere the
entry used longest ago goes first. A client is not slowed down from one network by what happens in another.

Secrets have 256 bits: nobody guesses one, slowed down or not. This keeps a mistaken or hostile caller from costing
more than a look-up, and shows him that something is wrong.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from functools import lru_cache
from threading import Lock
from typing import Final, NamedTuple

from tenancy.access.policy import Address

FREE_FAILURES: Final = 5
WINDOW_SECONDS: Final = 600.0
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
"""Five mistakes are a person's, a minute stops a program; our own decision."""
MOST_ENTRIES: Final = 2000
"""Per instance and line: some 400 KB. Our own decision."""
UNKNOWN: Final = "-"
"""Stands for all names and certificates that an instance does not know."""
_IPV6_SITE: Final = 64
"""One subscriber's network. **Source:** RFC 6177; whoever has one can call from each of its addresses."""


class Suspect(NamedTuple):
    """Who is slowed down: a client of the instance, or `UNKNOWN`, as seen from one network."""

    client: str
    network: str


class _Entry(NamedTuple):
    failures: int
    last_at: float
    closed_until: float


class FailureGate:
    """Remembers failures. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: OrderedDict[Suspect, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def pause(self, suspect: Suspect, now: float) -> float:
        """Seconds for which nothing of this suspect is looked at; 0: go on. Costs a look-up."""
        entry = self._entries.get(suspect)
        return 0.0 if entry is None else max(0.0, entry.closed_until - now)

    def note_failure(self, suspect: Suspect, now: float) -> None:
        """Count a failure.

        Args:
            now: seconds of a clock that never jumps.
        """
        with self._lock:
            entry = self._entries.pop(suspect, None)
            if entry is None or now - entry.last_at >= WINDOW_SECONDS:
                entry = _Entry(0, now, now)
            failures = entry.failures + 1
            self._entries[suspect] = _Entry(failures, now, now + _pause_after(failures))
            while len(self._entries) > MOST_ENTRIES:
                self._entries.popitem(last=False)

    def note_success(self, suspect: Suspect) -> None:
        """Forget a suspect who has proved himself."""
        if suspect in self._entries:
            with self._lock:
                self._entries.pop(suspect, None)

    def forget_old(self, now: float) -> None:
        """Forget everybody whose last failure is too long ago to matter; call it now and then."""
        with self._lock:
            old = [name for name, entry in self._entries.items() if now - entry.last_at >= WINDOW_SECONDS]
            for suspect in old:
                del self._entries[suspect]


def _pause_after(failures: int) -> float:
    if failures < FREE_FAILURES:
        return 0.0
    doubled = min(failures - FREE_FAILURES, 30)
    return float(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**doubled))


@lru_cache(maxsize=1024)
def network_of(peer: Address) -> str:
    """The network that a caller is taken together with: his address, or the /64 of an IPv6 address."""
    if isinstance(peer, ipaddress.IPv6Address):
        if peer.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((peer.packed[:8] + bytes(8), _IPV6_SITE)))
        peer = peer.ipv4_mapped
    return f"{peer}/32"

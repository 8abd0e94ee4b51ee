"""Refused callers, noted in memory and written down every minute, for the customer to see. Pure values and counting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Final, NamedTuple

MOST_ROWS: Final = 500
"""Per instance, in memory and in its database. Our own decision: more than a person reads."""
OTHERS: Final = "others"
"""Network under which is counted what finds no place of its own any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessFailure:
    """How often somebody was refused for one reason.

    Attributes:
        client: user name of a client of the instance, or `-`.
        network: where from; `others` when too many networks were seen at a time.
        code: of the refusal.
    """

    client: str
    network: str
    code: str
    failures: int
    first_at: datetime
    last_at: datetime


class FailureKey(NamedTuple):
    """What is counted together."""

    client: str
    network: str
    code: str


class FailureCount(NamedTuple):
    """How often, and when first and last."""

    failures: int
    first_at: datetime
    last_at: datetime


class FailureLog:
    """Counts refusals until they are written down. Thread-safe, bounded."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[FailureKey, FailureCount] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def note(self, key: FailureKey, now: datetime) -> None:
        """Count a refusal."""
        with self._lock:
            self._add(key, FailureCount(1, now, now))

    def put_back(self, taken: Iterable[AccessFailure]) -> None:
        """Count again what `take` gave and nobody could write down."""
        with self._lock:
            for each in taken:
                key = FailureKey(each.client, each.network, each.code)
                self._add(key, FailureCount(each.failures, each.first_at, each.last_at))

    def _add(self, key: FailureKey, more: FailureCount) -> None:
        if key not in self._counts and len(self._counts) >= MOST_ROWS - 1:
            # One of the codes at most; the rest of a flood is one number.
            key = FailureKey("-", OTHERS, "access_denied")
        known = self._counts.get(key)
        self._counts[key] = (
            more
            if known is None
            else FailureCount(
                known.failures + more.failures,
                min(known.first_at, more.first_at),
                max(known.last_at, more.last_at),
            )
        )

    def take(self) -> list[AccessFailure]:
        """Everything counted since the last time."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return [
            AccessFailure(
                client=key.client,
                network=key.network,
                code=key.code,
                failures=count.failures,
                first_at=count.first_at,
                last_at=count.last_at,
            )
            for key, count in counts.items()
        ]

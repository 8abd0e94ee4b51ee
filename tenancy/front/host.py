"""A host name of its own. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NewType

from app.core.ids import InstanceId

HostId = NewType("HostId", str)

MOST_HOSTS: Final = 20
"""Per instance; each is a certificate that every load balancer holds in memory. Our own decision."""
EXPIRY_WARNING: Final = timedelta(days=30)
"""From when on lists warn. **Source:** certificates for 90 days are renewed when a third is left (Let's Encrypt,
integration guide)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """A host name and its certificate; never its key.

    Attributes:
        host: A-labels in small letters.
        instance_id: the instance that is served there; None: the whole platform.
        chain: PEM; its own certificate first.
        not_before: the latest of the chain.
        not_after: the earliest of the chain.
        version: for If-Match.
    """

    host_id: HostId
    host: str
    instance_id: InstanceId | None
    chain: str
    fingerprint: str
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    version: int
    created_at: datetime
    changed_at: datetime

    def is_early(self, now: datetime) -> bool:
        """Whether its certificate is not valid yet."""
        return now < self.not_before

    def expires_in(self, now: datetime) -> timedelta:
        """How long its certificate lasts; below zero once it has run out."""
        return self.not_after - now

    def expires_soon(self, now: datetime) -> bool:
        """Whether people should be warned."""
        return self.expires_in(now) < EXPIRY_WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedHost:
    """A host name with its private key in the clear; for the front alone."""

    record: HostRecord
    key: str = field(repr=False)

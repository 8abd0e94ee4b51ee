"""An API client and what it proves itself with. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from app.core.ids import ApiClientId
from tenancy.access.policy import Scope

PinKind = Literal["fingerprint", "issuer_subject"]

OVERLAP: Final = timedelta(hours=24)
"""How long the old secret goes on beside the new one, unless the customer says otherwise. Our own decision: a day is
enough to reach whoever looks after the ERP."""
LONGEST_OVERLAP: Final = timedelta(hours=168)
"""**Source:** issue on real customers and instances, as for support access."""
MOST_CLIENTS: Final = 200
MOST_CERTIFICATES: Final = 20
"""Per instance, and per client: a line holds all of them in memory. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How fast somebody may call one line.

    Attributes:
        per_second: requests in the long run.
        burst: requests at once.
    """

    per_second: int
    burst: int


DEFAULT_RATE: Final = Rate(per_second=50, burst=50)
"""Of every client that has none of its own, and of every network that is let in. Our own decision: with it a
client uses up a month of the smallest quota in 83 minutes, and a line serves thirty of them at once."""
HIGHEST_RATE: Final = 10_000
"""More than one line answers; what staff can set at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """A secret as it may be shown.

    Attributes:
        secret_id: made from the client's id if an older wops has given the secret.
        ends_at: None: not before another one takes its place.
    """

    secret_id: str
    created_at: datetime
    ends_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether it lets its client in."""
        return self.ends_at is None or now < self.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePin:
    """By which certificates a client is known.

    Attributes:
        kind: `fingerprint`: this one certificate; `issuer_subject`: whatever this CA certifies for this subject.
        fingerprint: SHA-256 of the certificate, or of the CA's; lower-case hexadecimal.
        issuer: the CA's certificate (PEM); None for the kind `fingerprint`.
        subject: RFC 4514.
        not_after: when the pinned certificate, or the CA's, runs out.
    """

    certificate_id: str
    client_id: ApiClientId
    kind: PinKind
    fingerprint: str
    issuer: str | None
    subject: str
    not_after: datetime
    created_at: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClient:
    """A program of the customer that calls the web services.

    Attributes:
        rate_per_second, burst: None: the platform's own.
        secrets: newest first; three at most.
        version: for If-Match.
    """

    client_id: ApiClientId
    name: str
    username: str
    scopes: frozenset[Scope]
    created_at: datetime
    disabled_at: datetime | None
    last_used_at: datetime | None
    expires_at: datetime | None = None
    rate_per_second: int | None = None
    burst: int | None = None
    version: int = 1
    secrets: tuple[ClientSecret, ...] = ()
    certificates: tuple[CertificatePin, ...] = ()

    @property
    def rate(self) -> Rate:
        """How fast it may call."""
        if self.rate_per_second is None and self.burst is None:
            return DEFAULT_RATE
        return Rate(
            per_second=self.rate_per_second or DEFAULT_RATE.per_second, burst=self.burst or DEFAULT_RATE.burst
        )

    def is_live(self, now: datetime) -> bool:
        """Whether it is neither disabled nor expired."""
        return self.disabled_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownClient:
    """An API client with what is needed to check its secrets; never leaves this package.

    Attributes:
        hashes: of `client.secrets`, in the same order.
        rate: `client.rate`, made once.
    """

    client: ApiClient
    hashes: tuple[str, ...] = field(repr=False)
    rate: Rate = DEFAULT_RATE

"""Own host names, revocation lists and denied networks as the APIs show and take them. No answer holds a key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field, SecretStr, StrictBool

from app.http.schema.model import AnswerModel, Moment, RequestModel
from tenancy.access.revocation.revocation_list import LONGEST_LIST, RevocationList
from tenancy.front.denied import LONGEST_REASON, DeniedNetwork
from tenancy.front.host import HostRecord
from tenancy.front.host_name import LONGEST_HOST
from tenancy.front.host_service import HostCertificate
from tenancy.front.server_certificate import LONGEST_CHAIN, LONGEST_KEY

_DAY_SECONDS: Final = 86_400


class HostCertificateBody(RequestModel):
    """With what a host name is proven."""

    certificate: str = Field(
        max_length=LONGEST_CHAIN, description="PEM: the host's own certificate, then those that certify it."
    )
    key: SecretStr = Field(
        max_length=LONGEST_KEY,
        description="PEM: its private key, without a password. Stored encrypted, never shown.",
    )

    def given(self) -> HostCertificate:
        """As the domain takes it."""
        return HostCertificate(chain=self.certificate, key=self.key.get_secret_value())


class HostCreate(HostCertificateBody):
    """A host name of its own."""

    host: str = Field(max_length=LONGEST_HOST, examples=["licenses.acme.example"])


class HostRead(AnswerModel):
    """A host name and its certificate; never its key."""

    host_id: str
    host: str = Field(description="As in DNS: small letters, A-labels.")
    instance_id: str | None = Field(description="Null: the whole platform is served there.")
    fingerprint: str = Field(description="SHA-256 of its certificate.")
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime = Field(description="The earliest of its chain.")
    expires_in_days: int = Field(description="Whole days; below zero once it has run out.")
    warnings: list[str] = Field(
        description="`certificate_expires_soon` (30 days), `certificate_expired`, `certificate_not_yet_valid`."
    )
    version: int
    created_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, host: HostRecord, *, now: datetime) -> HostRead:
        """From the domain's value."""
        return cls(
            host_id=host.host_id,
            host=host.host,
            instance_id=host.instance_id,
            fingerprint=host.fingerprint,
            subject=host.subject,
            issuer=host.issuer,
            not_before=host.not_before,
            not_after=host.not_after,
            expires_in_days=int(host.expires_in(now).total_seconds() // _DAY_SECONDS),
            warnings=warnings_of(host, now=now),
            version=host.version,
            created_at=host.created_at,
            changed_at=host.changed_at,
        )


def warnings_of(host: HostRecord, *, now: datetime) -> list[str]:
    """What is to be said of a host's certificate."""
    found = []
    if host.not_after <= now:
        found.append("certificate_expired")
    elif host.expires_soon(now):
        found.append("certificate_expires_soon")
    if host.is_early(now):
        found.append("certificate_not_yet_valid")
    return found


class RevocationListBody(RequestModel):
    """The newest list of an authority; whose it is, its signature says."""

    list: Annotated[str, Field(max_length=LONGEST_LIST, description="PEM, or DER in base64.")]


class RevocationListRead(AnswerModel):
    """A revocation list that is kept."""

    authority: str = Field(description="SHA-256 of the authority's subject and key.")
    issuer: str
    number: str | None = Field(description="Of the list, decimal; null: the authority does not count.")
    entries: int = Field(description="How many certificates it takes back.")
    this_update: datetime
    next_update: datetime
    outdated: bool = Field(
        description="It has run out: no certificate of the authority is accepted until there is a newer list."
    )
    version: int
    changed_at: datetime

    @classmethod
    def of(cls, kept: RevocationList, *, now: datetime) -> RevocationListRead:
        """From the domain's value."""
        return cls(
            authority=kept.authority,
            issuer=kept.issuer,
            number=None if kept.number is None else str(kept.number),
            entries=kept.entries,
            this_update=kept.this_update,
            next_update=kept.next_update,
            outdated=kept.is_outdated(now),
            version=kept.version,
            changed_at=kept.changed_at,
        )


class DeniedNetworkCreate(RequestModel):
    """A network from which nobody is answered."""

    network: str = Field(max_length=64, examples=["203.0.113.0/24"])
    reason: str = Field(min_length=1, max_length=LONGEST_REASON, examples=["flood of wrong credentials"])
    until: Moment | None = Field(default=None, description="Null: until it is removed.")
    confirm_wide_network: StrictBool = Field(
        default=False, description="Needed for networks larger than /16, or /32 of IPv6."
    )


class DeniedNetworkRead(AnswerModel):
    """A network from which nobody is answered."""

    denied_id: str
    network: str
    reason: str
    until: datetime | None
    in_force: bool
    created_at: datetime

    @classmethod
    def of(cls, denied: DeniedNetwork, *, now: datetime) -> DeniedNetworkRead:
        """From the domain's value."""
        return cls(
            denied_id=denied.denied_id,
            network=str(denied.network),
            reason=denied.reason,
            until=denied.until,
            in_force=denied.is_in_force(now),
            created_at=denied.created_at,
        )


HOST_EXAMPLE: Final[dict[str, Any]] = {
    "host_id": "hst_019b0a3c7d1b7c2d8e9f0a1b2c3d4e5f",
    "host": "licenses.acme.example",
    "instance_id": "ins_019b0a3c4b1b7c2d8e9f0a1b2c3d4e5f",
    "fingerprint": "5c1f8e0c2a7d4b9e6f3a1c8d7e5b2f4a9c0d6e3b8a7f1c2d5e4b9a8f7c6d3e21",
    "subject": "CN=licenses.acme.example",
    "issuer": "CN=Example CA,O=Example,C=DE",
    "not_before": "2026-11-01T00:00:00Z",
    "not_after": "2027-01-30T00:00:00Z",
    "expires_in_days": 69,
    "warnings": [],
    "version": 1,
    "created_at": "2026-11-21T10:15:00Z",
    "changed_at": "2026-11-21T10:15:00Z",
}
REVOCATION_LIST_EXAMPLE: Final[dict[str, Any]] = {
    "authority": "9d2b6c1f0a7e4d3c8b5a6f9e1d2c3b4a5f6e7d8c9b0a1f2e3d4c5b6a7f8e9d0c",
    "issuer": "CN=ACME CA,O=ACME Drawing GmbH,C=DE",
    "number": "42",
    "entries": 3,
    "this_update": "2026-11-21T00:00:00Z",
    "next_update": "2026-11-28T00:00:00Z",
    "outdated": False,
    "version": 7,
    "changed_at": "2026-11-21T10:15:00Z",
}
DENIED_NETWORK_EXAMPLE: Final[dict[str, Any]] = {
    "denied_id": "dny_019b0a3c7e1b7c2d8e9f0a1b2c3d4e5f",
    "network": "203.0.113.0/24",
    "reason": "flood of wrong credentials",
    "until": "2026-11-28T00:00:00Z",
    "in_force": True,
    "created_at": "2026-11-21T10:15:00Z",
}

"""What the front has to know of who may call an instance. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tenancy.access.policy import AccessPolicy, Network


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedAuthority:
    """An authority that clients of an instance are pinned to.

    Attributes:
        key: `authority_of` it: the same over its renewals.
        subject: RFC 4514.
        fingerprint: of its certificate.
    """

    key: str
    subject: str
    fingerprint: str
    pem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptList:
    """A revocation list that the front may hold."""

    pem: str
    this_update: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontAccess:
    """What matters of an instance's access.

    Attributes:
        revision: of the access rules that it was made of.
        client_certificates: fingerprints of API clients' own certificates, by user name.
        networks: who comes from elsewhere and shows no credentials is refused; None: not by his network alone.
        lists: by key of the authority.
    """

    revision: int
    client_certificates: Mapping[str, tuple[str, ...]]
    networks: tuple[Network, ...] | None
    authorities: tuple[PinnedAuthority, ...]
    lists: Mapping[str, KeptList]


def edge_networks(policy: AccessPolicy) -> tuple[Network, ...] | None:
    """The networks without which nobody keeps a policy; None if there are other ways in."""
    needed = "network" in policy.methods and (policy.mode == "all" or len(policy.methods) == 1)
    return policy.networks if needed else None

"""Whether a call is let in. Pure.

    credentials sent ──► unknown here? ─► 404    wrong, ended, disabled, run out? ─► 401, 403      whatever else the
           │ right, or none sent                                     policy says: what is sent must be right
           ▼
    network → certificate → Basic, in this order; `all`: the first that fails refuses; `any`: one that holds admits

A user name or a certificate that an instance does not know looks like an instance that does not exist, so that one
customer's credentials learn nothing about another; this comes before the network check because otherwise the
answer would differ. A certificate is looked at only if the policy asks for certificates: programs send theirs to
whoever asks. Then it must not stand on a revocation list that the instance's customer has brought; the front's word
on that counts only if there is such a list, for it knows other customers' authorities, too. With `all`, certificate
and Basic credentials must belong to the same client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.core.ids import ApiClientId
from tenancy.access.client.certificate import ClientCertificate, read_certificate
from tenancy.access.client.record import DEFAULT_RATE, ClientSecret, KnownClient, Rate
from tenancy.access.errors import CertificateMalformed
from tenancy.access.policy import AccessPolicy, Address, Method, Network, Scope
from tenancy.access.revocation.revocation_list import Listing
from tenancy.access.revocation.verification import Verification
from tenancy.access.rule import AccessRules, PinnedClient
from tenancy.credential import CredentialKey
from tenancy.errors import ScopeMissing

BasicCredentials = tuple[str, str]
DenialKind = Literal[
    "access_closed",
    "network_not_allowed",
    "certificate_missing",
    "certificate_outdated",
    "certificate_not_for_clients",
    "certificate_of_closed_client",
    "certificate_of_other_client",
    "certificate_revoked",
    "revocation_list_outdated",
    "certificate_not_verified",
    "credentials_missing",
    "credentials_invalid",
    "instance_not_found",
]
Use = tuple[ApiClientId, str, str]
"""Client, secret and certificate that let somebody in; what was not looked at is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerCredentials:
    """What a call carries to be let in.

    Attributes:
        peer: the caller's address as the outermost trusted hop saw it.
        basic: user name and secret, if the call carries them.
        certificate: the client certificate (DER) whose key the caller holds, as the trusted front says.
        verification: what the front found when it checked it.
    """

    peer: Address
    basic: BasicCredentials | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    verification: Verification = "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is calling, as it is written into ledger, log and audit.

    Attributes:
        name: the user name, or `network:192.0.2.0/24`.
        client_id: None when a network alone was let in.
    """

    kind: Literal["client", "network"]
    name: str
    client_id: ApiClientId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The call is let in.

    Attributes:
        rate: how fast the principal may call one line.
        use: what let him in; None if his network alone did.
        valid_until: when one of his credentials ends by itself; None: none does.
    """

    principal: Principal
    scopes: frozenset[Scope]
    rate: Rate = DEFAULT_RATE
    use: Use | None = None
    valid_until: datetime | None = None

    def may(self, scope: Scope) -> bool:
        """Whether the caller has the scope; `admin` has every one."""
        return scope in self.scopes or "admin" in self.scopes

    def require(self, scope: Scope) -> None:
        """Refuse unless the caller has the scope.

        Raises:
            ScopeMissing: he has not.
        """
        if not self.may(scope):
            raise ScopeMissing(
                f"These credentials lack the scope {scope}.", scope=scope, scopes=sorted(self.scopes)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The call is not let in."""

    kind: DenialKind


Decision = Admitted | Denied


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenSecret:
    """Basic credentials that are right."""

    known: KnownClient
    secret: ClientSecret


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenCertificate:
    """A certificate that is right.

    Attributes:
        listed_until: until when the revocation list holds on which it does not stand; None: there is none.
    """

    pinned: PinnedClient
    certificate: ClientCertificate
    listed_until: datetime | None = None


def decide(rules: AccessRules, call: CallerCredentials, *, key: CredentialKey, now: datetime) -> Decision:
    """Decide about one call.

    Args:
        rules: the instance's.
        call: what the caller sends.
        key: checks secrets.
        now: judges dates.
    """
    secret = judge_basic(rules, call.basic, key=key, now=now)
    certificate = judge_certificate(rules, call.certificate, verification=call.verification, now=now)
    refused = first_denial(certificate, secret)
    if refused is not None:
        return refused
    if isinstance(secret, Denied) or isinstance(certificate, Denied):
        raise AssertionError("a denial was passed over")
    policy = rules.policy
    if not policy.methods:
        return Denied(kind="access_closed")
    network = policy.find_network(call.peer)
    denied = weigh(policy, network, certificate, secret)
    return denied if denied is not None else admit(policy, network, certificate, secret)


def judge_basic(
    rules: AccessRules, basic: BasicCredentials | None, *, key: CredentialKey, now: datetime
) -> ProvenSecret | Denied | None:
    """Whose secret this is; None if none was sent."""
    if basic is None:
        return None
    username, secret = basic
    known = rules.clients.get(username)
    if known is None:
        # As long as for somebody who exists.
        key.matches(secret, None, owner=username)
        return Denied(kind="instance_not_found")
    owner = known.client.client_id
    for each, stored in zip(known.client.secrets, known.hashes, strict=True):
        if each.is_live(now) and key.matches(secret, stored, owner=owner) and known.client.is_live(now):
            return ProvenSecret(known=known, secret=each)
    return Denied(kind="credentials_invalid")


def judge_certificate(
    rules: AccessRules, der: bytes | None, *, now: datetime, verification: Verification = "good"
) -> ProvenCertificate | Denied | None:
    """Whose certificate this is; None if none was sent or none is asked for.

    The first pin that it fits decides, its own fingerprint before a CA and subject: whoever disables that client shuts
    the certificate out, whomever else it would fit.
    """
    if der is None or "certificate" not in rules.policy.methods:
        return None
    try:
        certificate = read_certificate(der)
    except CertificateMalformed:
        return Denied(kind="instance_not_found")
    pins = rules.find_pins(certificate)
    if not pins:
        return Denied(kind="instance_not_found")
    if verification == "not_verified":
        return Denied(kind="certificate_not_verified")
    listings = rules.find_listings(certificate, pins)
    revoked = _judge_listings(listings, verification, now=now)
    if revoked is not None:
        return revoked
    until = min((listing.next_update for listing, _ in listings), default=None)
    return _judge_pins(certificate, pins, listed_until=until, now=now)


def _judge_pins(
    certificate: ClientCertificate,
    pins: Sequence[PinnedClient],
    *,
    listed_until: datetime | None,
    now: datetime,
) -> ProvenCertificate | Denied:
    if not certificate.is_valid(now):
        return Denied(kind="certificate_outdated")
    if not certificate.for_clients:
        return Denied(kind="certificate_not_for_clients")
    # A CA may be pinned twice, before and after it was renewed.
    pinned = next((each for each in pins if now <= each.pin.not_after), None)
    if pinned is None:
        return Denied(kind="certificate_outdated")
    if not pinned.known.client.is_live(now):
        return Denied(kind="certificate_of_closed_client")
    return ProvenCertificate(pinned=pinned, certificate=certificate, listed_until=listed_until)


def _judge_listings(
    listings: Sequence[tuple[Listing, ClientCertificate]], verification: Verification, *, now: datetime
) -> Denied | None:
    """Whether a certificate has been revoked, by the lists that are about it."""
    if not listings:
        return None
    if verification == "revoked" or any(listing.has_revoked(each) for listing, each in listings):
        return Denied(kind="certificate_revoked")
    if any(now > listing.next_update for listing, _ in listings):
        return Denied(kind="revocation_list_outdated")
    return None


def first_denial(
    certificate: ProvenCertificate | Denied | None, secret: ProvenSecret | Denied | None
) -> Denied | None:
    """What to say of credentials that are wrong: that the instance does not know them goes before everything else."""
    denials = [each for each in (certificate, secret) if isinstance(each, Denied)]
    unknown = [each for each in denials if each.kind == "instance_not_found"]
    return next(iter(unknown or denials), None)


_DENIALS: Mapping[Method, DenialKind] = {
    "network": "network_not_allowed",
    "certificate": "certificate_missing",
    "basic": "credentials_missing",
}


def weigh(
    policy: AccessPolicy,
    network: Network | None,
    certificate: ProvenCertificate | None,
    secret: ProvenSecret | None,
) -> Denied | None:
    """None if the policy is kept; otherwise what to tell the caller."""
    methods = policy.methods
    held: dict[Method, bool] = {
        "network": network is not None,
        "certificate": certificate is not None,
        "basic": secret is not None,
    }
    missing = [method for method, holds in held.items() if method in methods and not holds]
    if missing and (policy.mode == "all" or len(missing) == len(methods)):
        # With `any`, credentials are the one thing that the caller can still send.
        asked: Method = "basic" if policy.mode == "any" and "basic" in missing else missing[0]
        return Denied(kind=_DENIALS[asked])
    if policy.mode == "all" and {"certificate", "basic"} <= methods and not _is_same(certificate, secret):
        return Denied(kind="certificate_of_other_client")
    return None


def _is_same(certificate: ProvenCertificate | None, secret: ProvenSecret | None) -> bool:
    return certificate is not None and secret is not None and certificate.pinned.known is secret.known


def admit(
    policy: AccessPolicy,
    network: Network | None,
    certificate: ProvenCertificate | None,
    secret: ProvenSecret | None,
) -> Admitted:
    """As whom a call is let in that keeps the policy: Basic before certificate before network."""
    named = secret if secret is not None and "basic" in policy.methods else None
    known = (
        named.known if named is not None else certificate.pinned.known if certificate is not None else None
    )
    until = _valid_until(certificate, secret)
    if known is None:
        return Admitted(
            principal=Principal(kind="network", name=f"network:{network}"),
            scopes=policy.network_scopes,
            valid_until=until,
        )
    client = known.client
    # A certificate of another client was not what let this one in.
    own = certificate if certificate is not None and certificate.pinned.known is known else None
    return Admitted(
        principal=Principal(kind="client", name=client.username, client_id=client.client_id),
        scopes=client.scopes,
        rate=known.rate,
        use=(
            client.client_id,
            named.secret.secret_id if named is not None else "",
            own.pinned.pin.certificate_id if own is not None else "",
        ),
        valid_until=until,
    )


def _valid_until(certificate: ProvenCertificate | None, secret: ProvenSecret | None) -> datetime | None:
    ends: list[datetime | None] = []
    if secret is not None:
        ends += [secret.secret.ends_at, secret.known.client.expires_at]
    if certificate is not None:
        pinned = certificate.pinned
        ends += [certificate.certificate.not_after, pinned.pin.not_after, pinned.known.client.expires_at]
        ends.append(certificate.listed_until)
    return min((each for each in ends if each is not None), default=None)

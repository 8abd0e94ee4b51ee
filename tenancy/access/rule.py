"""Everything that decides who is let in, put together so that a call is judged by look-ups. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenancy.access.client.certificate import (
    ClientCertificate,
    read_stored,
    was_issued_by,
)
from tenancy.access.client.record import CertificatePin, KnownClient
from tenancy.access.errors import CertificateMalformed
from tenancy.access.policy import AccessPolicy, InstanceProfile
from tenancy.access.revocation.revocation_list import Listing, RevocationList


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedClient:
    """A pin and the client that it belongs to."""

    known: KnownClient
    pin: CertificatePin


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRules:
    """A policy and whom it is about; made by `make_rules`.

    Attributes:
        clients: by user name.
        by_fingerprint: clients pinned by a certificate of their own; a certificate belongs to one client.
        by_subject: clients pinned by an issuing CA, by the subject that it must have certified.
        listings: revocation lists that the instance has.
    """

    policy: AccessPolicy
    clients: Mapping[str, KnownClient]
    by_fingerprint: Mapping[str, PinnedClient]
    by_subject: Mapping[str, tuple[PinnedClient, ...]]
    listings: tuple[Listing, ...] = ()

    def find_pins(self, certificate: ClientCertificate) -> list[PinnedClient]:
        """All pins that a certificate fits, its own fingerprint first."""
        own = self.by_fingerprint.get(certificate.fingerprint)
        found = [] if own is None else [own]
        return found + [
            each
            for each in self.by_subject.get(certificate.subject, ())
            if _has_issued(each.pin, certificate)
        ]

    def find_listings(
        self, certificate: ClientCertificate, pins: Sequence[PinnedClient]
    ) -> list[tuple[Listing, ClientCertificate]]:
        """The lists that say something of a certificate, or of a CA that it is pinned by, each with what it is of."""
        if not self.listings:
            return []
        issuers = (
            read_stored(each.pin.issuer, each.pin.fingerprint) for each in pins if each.pin.issuer is not None
        )
        return [
            (listing, each)
            for each in (certificate, *issuers)
            for listing in self.listings
            if listing.has_issued(each)
        ]

    def find_claimed(self, certificate: ClientCertificate) -> PinnedClient | None:
        """Whom a certificate would belong to if it were genuine; costs no signature check."""
        own = self.by_fingerprint.get(certificate.fingerprint)
        return own or next(iter(self.by_subject.get(certificate.subject, ())), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSnapshot:
    """Everything that a line holds about access to an instance, as of one revision."""

    revision: int
    rules: AccessRules
    profile: InstanceProfile


def make_rules(
    policy: AccessPolicy, clients: Iterable[KnownClient], *, lists: Iterable[RevocationList] = ()
) -> AccessRules:
    """Put a policy, the instance's clients and its revocation lists together."""
    known = {each.client.username: each for each in clients}
    pinned = [
        PinnedClient(known=each, pin=pin) for each in known.values() for pin in each.client.certificates
    ]
    by_subject: dict[str, tuple[PinnedClient, ...]] = {}
    for each in pinned:
        if each.pin.kind == "issuer_subject":
            by_subject[each.pin.subject] = (*by_subject.get(each.pin.subject, ()), each)
    return AccessRules(
        policy=policy,
        clients=known,
        by_fingerprint={each.pin.fingerprint: each for each in pinned if each.pin.kind == "fingerprint"},
        by_subject=by_subject,
        listings=tuple(map(Listing.of, lists)),
    )


def _has_issued(pin: CertificatePin, certificate: ClientCertificate) -> bool:
    if pin.issuer is None:
        return False
    try:
        return was_issued_by(certificate, read_stored(pin.issuer, pin.fingerprint))
    except CertificateMalformed:
        return False

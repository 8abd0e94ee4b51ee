"""What the front has to know of who may call an instance, out of the instance's own database."""

from __future__ import annotations

from collections.abc import Iterable

from app.core.db import Database, Reader
from tenancy.access import repository
from tenancy.access.client.certificate import ClientCertificate, read_stored
from tenancy.access.revocation.repository import list_lists
from tenancy.access.revocation.revocation_list import RevocationList, authority_of
from tenancy.access.rule import AccessRules
from tenancy.front.access_view import FrontAccess, KeptList, PinnedAuthority, edge_networks
from tenancy.rule.service import certificates_of


def read_access(db: Database, known: FrontAccess | None = None) -> FrontAccess:
    """Read it; what is known already is returned if nothing has changed.

    Raises:
        InstanceNotReady: the instance has not been configured yet.
        DatabaseUnavailable: its database does not answer.
    """

    def body(reader: Reader) -> FrontAccess:
        if known is not None and repository.find_revision(reader) == known.revision:
            return known
        held = repository.load_access(reader)
        return view_access(held.rules, list_lists(reader), revision=held.revision)

    return db.read(body)


def view_access(rules: AccessRules, lists: Iterable[RevocationList], *, revision: int) -> FrontAccess:
    """From an instance's rules and lists."""
    clients = [known.client for known in rules.clients.values()]
    pins = (pin for client in clients for pin in client.certificates)
    issuers = {pin.fingerprint: pin.issuer for pin in pins if pin.issuer is not None}
    return FrontAccess(
        revision=revision,
        client_certificates=certificates_of(clients),
        networks=edge_networks(rules.policy),
        authorities=tuple(
            _authority(read_stored(pem, fingerprint)) for fingerprint, pem in sorted(issuers.items())
        ),
        lists={each.authority: KeptList(pem=each.pem, this_update=each.this_update) for each in lists},
    )


def _authority(certificate: ClientCertificate) -> PinnedAuthority:
    return PinnedAuthority(
        key=authority_of(certificate),
        subject=certificate.subject,
        fingerprint=certificate.fingerprint,
        pem=certificate.to_pem(),
    )

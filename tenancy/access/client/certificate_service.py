"""What is done about the certificates of API clients."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.core.command import Command, Done
from app.core.db import Tx
from app.core.ids import ApiClientId, InstanceId, new_id
from app.core.json import JsonObject
from tenancy.access import repository as access
from tenancy.access.client import repository
from tenancy.access.client.certificate import (
    ClientCertificate,
    check_client_certificate,
    check_issuer,
    has_same_key,
    read_pem,
    read_stored,
    read_subject,
    was_issued_by,
)
from tenancy.access.client.lockout import CAREFUL, Insistence
from tenancy.access.client.record import MOST_CERTIFICATES, ApiClient, CertificatePin
from tenancy.access.client.service import ClientService
from tenancy.access.errors import CertificateNotFound, CertificatesTooMany, CertificateTaken
from tenancy.access.rule import AccessRules


@dataclass(frozen=True, slots=True, kw_only=True)
class PinDraft:
    """By which certificates a client is to be known.

    Attributes:
        certificate: PEM; of the client itself, or, if there is a subject, of the CA that issues its certificates.
        subject: RFC 4514; None: this one certificate.
    """

    certificate: str
    subject: str | None = None


class CertificateService:
    """Certificates of API clients. Each change is one transaction in the instance's database; thread-safe, blocking."""

    def __init__(self, clients: ClientService) -> None:
        self._clients = clients

    def add_certificate(
        self,
        instance_id: InstanceId,
        client_id: ApiClientId,
        draft: PinDraft,
        *,
        command: Command | None = None,
    ) -> Done[CertificatePin]:
        """Let a client be known by a certificate.

        Raises:
            CertificateMalformed, CertificateExpired, CertificateUnfit: the certificate or the subject.
            CertificateTaken: a client of the instance is known by it already.
            CertificatesTooMany: the client has as many as it can have.
            ClientNotFound, InstanceNotFound, InstanceNotReady: there is no such client.
        """
        certificate_id, certificate = new_id("crt"), read_pem(draft.certificate)
        subject = None if draft.subject is None else read_subject(draft.subject)

        def edit(tx: Tx, client: ApiClient) -> JsonObject:
            _check_fit(certificate, subject, tx.now)
            _check_room(access.load_rules(tx), client, certificate, subject)
            pin = CertificatePin(
                certificate_id=certificate_id,
                client_id=client.client_id,
                kind="fingerprint" if subject is None else "issuer_subject",
                fingerprint=certificate.fingerprint,
                issuer=None if subject is None else certificate.to_pem(),
                subject=subject or certificate.subject,
                not_after=certificate.not_after,
                created_at=tx.now,
            )
            repository.add_pin(tx, pin)
            tx.emit("access.certificate_added", subject=client.client_id, data=_describe(pin))
            return {"certificate_id": certificate_id}

        db, answer = self._clients.edit_client(
            instance_id, client_id, edit, insistence=CAREFUL, command=command
        )
        added = str(answer.value["certificate_id"])
        client = db.read(lambda reader: repository.get_client(reader, client_id))
        return Done(value=_find(client, added), replayed=answer.replayed, created=not answer.replayed)

    def remove_certificate(
        self,
        instance_id: InstanceId,
        client_id: ApiClientId,
        certificate_id: str,
        *,
        insistence: Insistence = CAREFUL,
        command: Command | None = None,
    ) -> Done[None]:
        """Let a client no longer be known by a certificate; at every line within a second.

        Raises:
            CertificateNotFound, ClientNotFound, InstanceNotFound, InstanceNotReady: there is nothing to remove.
            WouldLockOutCaller, WouldLockOutEverybody: and nobody insisted.
        """

        def edit(tx: Tx, client: ApiClient) -> JsonObject:
            removed = next(
                (each for each in client.certificates if each.certificate_id == certificate_id), None
            )
            repository.remove_pin(tx, client.client_id, certificate_id)
            before = {} if removed is None else _describe(removed)
            tx.emit("access.certificate_removed", subject=client.client_id, data={}, before=before)
            return {}

        _, answer = self._clients.edit_client(
            instance_id, client_id, edit, insistence=insistence, command=command
        )
        return Done(value=None, replayed=answer.replayed)


def _check_fit(certificate: ClientCertificate, subject: str | None, now: datetime) -> None:
    if subject is None:
        check_client_certificate(certificate, now)
    else:
        check_issuer(certificate, now)


def _check_room(
    rules: AccessRules, client: ApiClient, certificate: ClientCertificate, subject: str | None
) -> None:
    """One certificate is one client's: otherwise nobody could tell as whom a caller comes."""
    if len(client.certificates) >= MOST_CERTIFICATES:
        raise CertificatesTooMany(
            f"An API client has at most {MOST_CERTIFICATES} certificates.", most=MOST_CERTIFICATES
        )
    for each in (pin for other in rules.clients.values() for pin in other.client.certificates):
        if _is_same(each, certificate, subject) or (
            each.client_id != client.client_id and _overlaps(each, certificate, subject)
        ):
            raise CertificateTaken(
                "An API client of this instance is known by it already.", client_id=each.client_id
            )


def _is_same(pin: CertificatePin, certificate: ClientCertificate, subject: str | None) -> bool:
    named = pin.subject if pin.kind == "issuer_subject" else None
    return (pin.fingerprint, named) == (certificate.fingerprint, subject)


def _overlaps(pin: CertificatePin, certificate: ClientCertificate, subject: str | None) -> bool:
    """Whether one certificate would fit both: CA's key and subject are the same, or that CA has issued this one.

    Of a certificate that is pinned by its fingerprint only that is kept: that a CA which is pinned later has issued it
    cannot be known. There the fingerprint decides.
    """
    if pin.issuer is None or pin.subject != (certificate.subject if subject is None else subject):
        return False
    issuer = read_stored(pin.issuer, pin.fingerprint)
    return was_issued_by(certificate, issuer) if subject is None else has_same_key(certificate, issuer)


def _find(client: ApiClient, certificate_id: str) -> CertificatePin:
    for each in client.certificates:
        if each.certificate_id == certificate_id:
            return each
    # A repeat came after the certificate had been removed again.
    raise CertificateNotFound("The API client has no such certificate.")


def _describe(pin: CertificatePin) -> JsonObject:
    """What events say of a certificate; its subject may name a person."""
    return {
        "certificate_id": pin.certificate_id,
        "kind": pin.kind,
        "fingerprint": pin.fingerprint,
        "not_after": pin.not_after.isoformat(),
    }

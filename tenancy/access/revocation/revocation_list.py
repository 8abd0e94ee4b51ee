"""Revocation lists of customers' authorities: read, checked, compared with the one before. Pure.

**Source:** RFC 5280 §5.1.2.4–5 (thisUpdate, nextUpdate), §5.2.3 (numbers only grow), §5.2.4 (lists of changes),
§5.2.5 (lists of a part), §5.3.3 (lists of others).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from tenancy.access.client.certificate import ClientCertificate, read_pem, was_issued_by
from tenancy.access.errors import (
    RevocationListForeign,
    RevocationListMalformed,
    RevocationListOlder,
    RevocationListUnfit,
)

LONGEST_LIST: Final = 700_000
"""Characters of PEM or base64: some 10,000 revoked certificates, and a body of a request holds it. Our own decision."""
MOST_LISTS: Final = 20
"""Per instance. Our own decision."""
_MOST_NUMBER_BITS: Final = 160
"""Of a list's number. **Source:** RFC 5280 §5.2.3."""
_PARTIAL: Final = frozenset({ExtensionOID.DELTA_CRL_INDICATOR, ExtensionOID.ISSUING_DISTRIBUTION_POINT})
"""Extensions of lists that do not hold everything; they are critical, as is whatever else changes what a list means."""
_WEAK: Final = (hashes.MD5, hashes.SHA1)
"""Signatures that can be forged. **Source:** RFC 6151, RFC 9155."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """A list as it is kept.

    Attributes:
        authority: `authority_of` its issuer.
        issuer: RFC 4514.
        certificate: PEM of the pinned authority whose key has signed it.
        number: None: its authority does not count.
        entries: how many certificates it takes back.
        next_update: after it the list says nothing any more.
        version: how often it was put.
    """

    authority: str
    issuer: str
    certificate: str
    pem: str
    number: int | None
    entries: int
    this_update: datetime
    next_update: datetime
    version: int
    created_at: datetime
    changed_at: datetime

    def is_outdated(self, now: datetime) -> bool:
        """Whether it says nothing any more."""
        return now > self.next_update

    def is_same(self, other: RevocationList) -> bool:
        """Whether both are the same list, byte for byte."""
        return self.pem == other.pem


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list as calls are judged by it."""

    issuer: ClientCertificate
    revoked: x509.CertificateRevocationList
    next_update: datetime

    @classmethod
    def of(cls, kept: RevocationList) -> Listing:
        """From the list as it is kept."""
        return cls(
            issuer=read_pem(kept.certificate),
            revoked=x509.load_pem_x509_crl(kept.pem.encode()),
            next_update=kept.next_update,
        )

    def has_issued(self, certificate: ClientCertificate) -> bool:
        """Whether this is the list of whoever issued the certificate."""
        return was_issued_by(certificate, self.issuer)

    def has_revoked(self, certificate: ClientCertificate) -> bool:
        """Whether a certificate of that authority stands on it."""
        serial = certificate.parsed.serial_number
        return self.revoked.get_revoked_certificate_by_serial_number(serial) is not None


def authority_of(certificate: ClientCertificate) -> str:
    """Name of a CA over its renewals: SHA-256 of its subject and key, lower-case hexadecimal."""
    key = certificate.parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    subject = certificate.parsed.subject.public_bytes()
    return hashlib.sha256(len(subject).to_bytes(4, "big") + subject + key).hexdigest()


def read_list(text: str) -> x509.CertificateRevocationList:
    """Read a list.

    Args:
        text: PEM, or DER in base64.

    Raises:
        RevocationListMalformed: it is none, there are several, or it is too long.
    """
    if len(text) > LONGEST_LIST:
        raise _malformed()
    try:
        if "-----BEGIN " not in text:
            found = x509.load_der_x509_crl(base64.b64decode("".join(text.split()), validate=True))
        elif text.count("-----BEGIN ") == 1:
            found = x509.load_pem_x509_crl(text.encode())
        else:
            raise _malformed()
        # What is read late would fail late.
        _ = (found.extensions, found.issuer, len(found), found.signature_hash_algorithm)
    except RevocationListMalformed:
        raise
    except Exception:
        # A parser of foreign bytes raises whatever its parts raise; all of it means the same here.
        raise _malformed() from None
    return found


def find_issuer(
    revoked: x509.CertificateRevocationList, authorities: Iterable[ClientCertificate]
) -> ClientCertificate:
    """Whose list it is, of the authorities that clients of the instance are pinned to.

    Raises:
        RevocationListForeign: none of them has signed it.
    """
    for each in authorities:
        if each.parsed.subject == revoked.issuer and _is_signed_by(revoked, each.parsed):
            return each
    raise RevocationListForeign(
        "None of the authorities that this instance's API clients are pinned to has signed this list.",
        issuer=revoked.issuer.rfc4514_string()[:200],
    )


def make_list(
    revoked: x509.CertificateRevocationList, issuer: ClientCertificate, *, now: datetime
) -> RevocationList:
    """The list as it is kept, if it can be.

    Raises:
        RevocationListUnfit: it is not in force now, or no whole list, or its signature can be forged.
    """
    until = _check_fit(revoked, now=now)
    return RevocationList(
        authority=authority_of(issuer),
        issuer=issuer.subject,
        certificate=issuer.to_pem(),
        pem=revoked.public_bytes(Encoding.PEM).decode(),
        number=_number_of(revoked),
        entries=len(revoked),
        this_update=revoked.last_update_utc,
        next_update=until,
        version=1,
        created_at=now,
        changed_at=now,
    )


def _check_fit(revoked: x509.CertificateRevocationList, *, now: datetime) -> datetime:
    """Until when a list holds that can be kept."""
    until = revoked.next_update_utc
    if until is None or until <= now:
        raise RevocationListUnfit("The list has run out, or does not say until when it holds.", field="list")
    if revoked.last_update_utc > now:
        raise RevocationListUnfit("The list is not in force yet.", field="list")
    if isinstance(revoked.signature_hash_algorithm, _WEAK):
        raise RevocationListUnfit("The list is signed with MD5 or SHA-1, which can be forged.", field="list")
    if any(each.critical or each.oid in _PARTIAL for each in revoked.extensions):
        raise RevocationListUnfit(
            "Send the authority's whole list: not one of changes, of a part, or of other authorities.",
            field="list",
        )
    return until


def check_newer(new: RevocationList, old: RevocationList) -> None:
    """Refuse a list that is older than the one that is kept: what was revoked stays revoked.

    Raises:
        RevocationListOlder: it is, or it is another one of the same number and time.
    """
    went_back = new.number is not None and old.number is not None and new.number < old.number
    is_other = (new.this_update, new.number) == (old.this_update, old.number)
    if new.this_update < old.this_update or went_back or is_other:
        raise RevocationListOlder(
            "A newer list of this authority is kept already.",
            number=None if old.number is None else str(old.number),
            this_update=old.this_update.isoformat(),
        )


def _is_signed_by(revoked: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.crl_sign:
            return False
    except x509.ExtensionNotFound:
        pass
    try:
        key = issuer.public_key()
        return revoked.is_signature_valid(key)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _number_of(revoked: x509.CertificateRevocationList) -> int | None:
    try:
        number = revoked.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return None
    if number < 0 or number.bit_length() > _MOST_NUMBER_BITS:
        raise RevocationListUnfit("The list has a number below 0 or of more than 20 bytes.", field="list")
    return number


def _malformed() -> RevocationListMalformed:
    return RevocationListMalformed(
        f"Send one revocation list, in PEM or as DER in base64, of at most {LONGEST_LIST} characters.",
        field="list",
    )

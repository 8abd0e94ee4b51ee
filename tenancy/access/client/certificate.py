"""Client certificates: read once, judged at every call. Pure.

A certificate is a credential of an API client, pinned either by its own fingerprint or by the CA that issued it
and the subject that it names. Chains are not built: the CA must have signed the certificate itself.

**Source:** RFC 5280 §4.1.2.5 (validity), §4.2.1.9 (a CA says that it is one), §4.2.1.12 (extended key usage);
RFC 4514 (subjects as text).
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tenancy.access.errors import CertificateExpired, CertificateMalformed, CertificateUnfit

LONGEST_PEM: Final = 16 * 1024
"""Characters. Certificates in use have 1 to 4 KiB. Our own decision."""
_MOST_REMEMBERED: Final = 1024
"""Certificates, and answers about who issued what, kept in memory per process: some 4 MB at most."""
_WEAK: Final = (hashes.MD5, hashes.SHA1)
"""Signatures that can be forged. **Source:** RFC 6151, RFC 9155."""
_LEAST_RSA_BITS: Final = 2048
"""**Source:** NIST SP 800-131A rev. 2 §3; BSI TR-02102-1."""
_PIECE: Final = re.compile(r"((?:[^\\,+]|\\.)+)([,+]|\Z)", re.DOTALL)
"""One attribute of a subject and what stands behind it. **Source:** RFC 4514 §2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """What matters of a certificate.

    Attributes:
        fingerprint: SHA-256 of its DER, lower-case hexadecimal.
        subject: RFC 4514.
        for_clients: its extended key usage, if it has one, allows clients.
    """

    fingerprint: str
    subject: str
    not_before: datetime
    not_after: datetime
    for_clients: bool
    parsed: x509.Certificate = field(repr=False, compare=False)

    def is_valid(self, now: datetime) -> bool:
        """Whether now lies within its dates."""
        return self.not_before <= now <= self.not_after

    def to_pem(self) -> str:
        """The certificate as text."""
        return self.parsed.public_bytes(Encoding.PEM).decode()


class _Memory:
    """A bounded memory of answers that never change. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[object, object] = OrderedDict()

    def find(self, name: object) -> object | None:
        return self._known.get(name)

    def keep(self, name: object, answer: object) -> None:
        with self._lock:
            self._known[name] = answer
            if len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)


_read = _Memory()
_issued = _Memory()


def read_certificate(der: bytes) -> ClientCertificate:
    """Read a certificate; the same one is read once.

    Raises:
        CertificateMalformed: it is none.
    """
    digest = hashlib.sha256(der).digest()
    known = _read.find(digest)
    if known is None:
        known = _parse(der, digest.hex())
        _read.keep(digest, known)
    if not isinstance(known, ClientCertificate):
        raise CertificateMalformed("That is no X.509 certificate.")
    return known


def read_pem(text: str) -> ClientCertificate:
    """Read one certificate in PEM.

    Raises:
        CertificateMalformed: it is none, there are several, or it is too long.
    """
    return read_certificate(read_pem_der(text))


def read_stored(text: str, fingerprint: str) -> ClientCertificate:
    """As `read_pem`, for a certificate that we have stored: its fingerprint finds it in memory.

    Raises:
        CertificateMalformed: what is stored is no certificate.
    """
    known = _read.find(bytes.fromhex(fingerprint))
    return known if isinstance(known, ClientCertificate) else read_pem(text)


def read_pem_der(text: str) -> bytes:
    """The DER of one certificate in PEM.

    Raises:
        CertificateMalformed: it is none, there are several, or it is too long.
    """
    if len(text) > LONGEST_PEM or text.count("-----BEGIN ") != 1:
        raise CertificateMalformed(
            "Send exactly one certificate in PEM, without its chain and without its key."
        )
    try:
        return x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER)
    except Exception as error:
        raise CertificateMalformed("That is no X.509 certificate in PEM.") from error


def read_subject(text: str) -> str:
    """A subject in the one form in which subjects are compared; blanks around its parts mean nothing.

    Raises:
        CertificateUnfit: it is no RFC 4514 name, or empty.
    """
    try:
        subject = x509.Name.from_rfc4514_string(_tidy(text)).rfc4514_string()
    except Exception as error:
        raise CertificateUnfit(
            "Write the subject like CN=erp,O=ACME GmbH,C=DE (RFC 4514).", field="subject"
        ) from error
    if not subject:
        raise CertificateUnfit("Name the subject that the CA has certified.", field="subject")
    return subject


def check_client_certificate(certificate: ClientCertificate, now: datetime) -> None:
    """Refuse to pin a certificate with which nobody could call.

    Raises:
        CertificateExpired: it has run out.
        CertificateUnfit: it is not for clients but a CA's, or its signature can be forged, or its key broken.
    """
    _check_sound(certificate, now)
    if _is_issuer(certificate.parsed):
        raise CertificateUnfit(
            "This is the certificate of a CA: name the subject that it certifies.", field="subject"
        )
    if not certificate.for_clients:
        raise CertificateUnfit("The certificate is not for clients: its extended key usage lacks clientAuth.")


def check_issuer(certificate: ClientCertificate, now: datetime) -> None:
    """Refuse to pin a certificate as an issuer that is none.

    Raises:
        CertificateExpired: it has run out.
        CertificateUnfit: it is no CA's, or its signature can be forged, or its key broken.
    """
    _check_sound(certificate, now)
    if not _is_issuer(certificate.parsed):
        raise CertificateUnfit(
            "The certificate is not that of a CA (basic constraints, key usage).", field="issuer"
        )


def was_issued_by(certificate: ClientCertificate, issuer: ClientCertificate) -> bool:
    """Whether the issuer's key has signed the certificate. A signature is checked once."""
    pair = (certificate.fingerprint, issuer.fingerprint)
    known = _issued.find(pair)
    if known is None:
        known = _verify(certificate.parsed, issuer.parsed)
        _issued.keep(pair, known)
    return known is True


def has_same_key(one: ClientCertificate, other: ClientCertificate) -> bool:
    """Whether two certificates certify the same key, e.g. those of a CA before and after it was renewed."""
    return one.parsed.public_key() == other.parsed.public_key()


def _parse(der: bytes, fingerprint: str) -> ClientCertificate | CertificateMalformed:
    """The certificate, or what to say of it: what cannot be read is remembered as well."""
    try:
        parsed = x509.load_der_x509_certificate(der)
        # It is read on demand only, and OpenSSL takes no certificate whose issuer cannot be read.
        parsed.issuer.rfc4514_string()
        return ClientCertificate(
            fingerprint=fingerprint,
            subject=parsed.subject.rfc4514_string(),
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
            for_clients=_is_for_clients(parsed),
            parsed=parsed,
        )
    except Exception:
        # A parser of foreign bytes raises whatever its parts raise; all of it means the same here.
        return CertificateMalformed("That is no X.509 certificate.")


def _is_for_clients(parsed: x509.Certificate) -> bool:
    try:
        usage = parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage


def _is_issuer(parsed: x509.Certificate) -> bool:
    try:
        if not parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return parsed.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid


def _tidy(text: str) -> str:
    """Without the blanks that OpenSSL prints and RFC 4514 does not know: `CN = erp, O = ACME`."""
    pieces = _PIECE.findall(text)
    if "".join(map("".join, pieces)) != text:
        return text
    return "".join(_tidy_attribute(attribute) + separator for attribute, separator in pieces)


def _tidy_attribute(attribute: str) -> str:
    name, equals, value = attribute.partition("=")
    bare = value.strip(" ")
    is_escaped = (len(bare) - len(bare.rstrip("\\"))) % 2 == 1
    return name.strip(" ") + equals + bare + (" " if is_escaped else "")


def _check_sound(certificate: ClientCertificate, now: datetime) -> None:
    if certificate.not_after < now:
        raise CertificateExpired("The certificate has run out.", not_after=certificate.not_after.isoformat())
    if isinstance(certificate.parsed.signature_hash_algorithm, _WEAK):
        raise CertificateUnfit("The certificate is signed with MD5 or SHA-1, which can be forged.")
    key = certificate.parsed.public_key()
    if isinstance(key, RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        raise CertificateUnfit(
            f"The certificate's RSA key has fewer than {_LEAST_RSA_BITS} bits.", bits=key.key_size
        )


def _verify(parsed: x509.Certificate, issuer: x509.Certificate) -> bool:
    if isinstance(parsed.signature_hash_algorithm, _WEAK):
        return False
    try:
        parsed.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True

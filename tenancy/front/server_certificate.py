"""Certificates with which the front proves a host name: read once, checked before anything is stored. Pure.

**Source:** RFC 5280 §4.1.2.5 (validity), §4.2.1.6 (names), §4.2.1.12 (extended key usage); RFC 8446 §4.4.2 (each
certificate of a chain certifies the one before it); NIST SP 800-131A rev. 2 §3 and BSI TR-02102-1 (keys).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID

from tenancy.front.errors import (
    HostCertificateExpired,
    HostCertificateMalformed,
    HostCertificateUnfit,
    HostKeyUnfit,
)
from tenancy.front.host_name import fits

LONGEST_CHAIN: Final = 48 * 1024
"""Characters of PEM. Chains in use have 3 to 8 KiB. Our own decision."""
LONGEST_KEY: Final = 16 * 1024
"""Characters of PEM; an RSA key of 8,192 bits has 6,400. Our own decision."""
_MOST_CERTIFICATES: Final = 6
"""The host's own, and intermediates; more are sent with every handshake. Our own decision."""
_STRONG: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
"""What signatures are made over; HAProxy loads no certificate with a weaker one (OpenSSL's security level 2).
**Source:** RFC 8446 §4.2.3, RFC 9155, SSL_CTX_set_security_level(3)."""
_LEAST_RSA_BITS: Final = 2048
_MOST_RSA_BITS: Final = 8192
"""Longer keys cost more in each handshake than they protect; OpenSSL refuses those above 16,384."""
_CURVES: Final = (SECP256R1, SECP384R1, SECP521R1)
"""**Source:** RFC 8446 §4.2.3; clients offer no others for certificates."""

_ServerKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """A certificate, its chain and its private key, which fit each other.

    Attributes:
        chain: PEM; the host's own certificate first, without the root.
        key: PEM (PKCS #8), not encrypted.
        fingerprint: SHA-256 of the host's own, lower-case hexadecimal.
        subject: RFC 4514.
        issuer: of the host's own.
        names: DNS names that it certifies.
        not_before: the latest of the chain, the root included.
        not_after: the earliest of the chain, the root included.
    """

    chain: str
    key: str = field(repr=False)
    fingerprint: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime


def read_server_certificate(chain: str, key: str) -> ServerCertificate:
    """Read what somebody uploads.

    Args:
        chain: PEM; the host's own certificate, then those that certify it, in order. A root may stand at its
            end, and is left out: whoever trusts it has it.
        key: PEM, without a password.

    Raises:
        HostCertificateMalformed: there are no certificates, or too many, or what is there is none.
        HostCertificateUnfit: the chain is out of order, or a key or signature in it too weak.
        HostKeyUnfit: the key cannot be read, or is another certificate's.
    """
    certificates = _read_chain(chain)
    private = _read_key(key)
    own = certificates[0]
    if own.public_key() != private.public_key():
        raise HostKeyUnfit(
            "The private key does not belong to the first certificate of the chain.", field="key"
        )
    _check_order(certificates)
    shown = _without_root(certificates)
    for each in shown:
        _check_sound(each)
    return ServerCertificate(
        chain="".join(each.public_bytes(Encoding.PEM).decode() for each in shown),
        key=private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        fingerprint=own.fingerprint(hashes.SHA256()).hex(),
        subject=own.subject.rfc4514_string(),
        issuer=own.issuer.rfc4514_string(),
        names=_names_of(own),
        not_before=max(each.not_valid_before_utc for each in certificates),
        not_after=min(each.not_valid_after_utc for each in certificates),
    )


def check_for_host(certificate: ServerCertificate, host: str, *, now: datetime) -> None:
    """Refuse a certificate with which nobody would believe that he talks to the host.

    One that is not valid yet is no reason: it is uploaded before it begins; see `HostRecord.is_early`.

    Raises:
        HostCertificateExpired: it has run out, or its chain has.
        HostCertificateUnfit: it does not name the host.
    """
    if certificate.not_after <= now:
        raise HostCertificateExpired(
            "The certificate, or one of its chain, has run out.", not_after=certificate.not_after.isoformat()
        )
    if not any(fits(host, name) for name in certificate.names):
        raise HostCertificateUnfit(
            "The certificate does not name this host among its subject alternative names.",
            field="certificate",
            names=list(certificate.names[:10]),
        )


def _read_chain(text: str) -> list[x509.Certificate]:
    malformed = HostCertificateMalformed(
        f"Send 1 to {_MOST_CERTIFICATES} X.509 certificates in PEM, the host's own first, without the private key.",
        field="certificate",
    )
    if len(text) > LONGEST_CHAIN or text.count("-----BEGIN ") != text.count("-----BEGIN CERTIFICATE-----"):
        raise malformed
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        for each in found:
            # What is read late would fail late.
            _ = (each.extensions, each.public_key(), each.signature_hash_algorithm)
            _ = (each.subject.rfc4514_string(), each.issuer.rfc4514_string())
    except Exception:
        # A parser of foreign bytes raises whatever its parts raise; all of it means the same here.
        raise malformed from None
    if not 1 <= len(found) <= _MOST_CERTIFICATES:
        raise malformed
    return found


def _read_key(text: str) -> _ServerKey:
    # No cause and no excerpt: the text is secret.
    if len(text) > LONGEST_KEY:
        raise HostKeyUnfit("The private key is too long.", field="key")
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except TypeError:
        raise HostKeyUnfit(
            "The private key is protected by a password: send it without.", field="key"
        ) from None
    except Exception:
        raise HostKeyUnfit("That is no private key in PEM.", field="key") from None
    if not isinstance(key, (RSAPrivateKey, EllipticCurvePrivateKey, Ed25519PrivateKey)):
        raise HostKeyUnfit("The private key must be RSA, elliptic curve or Ed25519.", field="key")
    return key


def _check_order(chain: list[x509.Certificate]) -> None:
    for own, issuer in pairwise(chain):
        if not _is_issued_by(own, issuer):
            raise HostCertificateUnfit(
                "The chain is out of order: each certificate must be issued by the one after it.",
                field="certificate",
                subject=own.subject.rfc4514_string()[:200],
            )


def _is_issued_by(own: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        own.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _without_root(chain: list[x509.Certificate]) -> list[x509.Certificate]:
    """What is sent to callers: nobody looks at a root's signature, so it may be as weak as old ones are."""
    *before, last = chain
    return before if before and _is_root(last) else chain


def _is_root(certificate: x509.Certificate) -> bool:
    """Whether nobody needs it but as a root.

    What is named like its issuer may be an authority's new key, signed with its old one; not with a weak signature:
    nobody takes that.
    """
    is_own_issuer = certificate.subject == certificate.issuer
    return is_own_issuer and (_is_weak(certificate) or _is_issued_by(certificate, certificate))


def _is_weak(certificate: x509.Certificate) -> bool:
    digest = certificate.signature_hash_algorithm
    # Ed25519 and Ed448 name none.
    return digest is not None and not isinstance(digest, _STRONG)


def _check_sound(certificate: x509.Certificate) -> None:
    """Refuse what can be forged; HAProxy would not load it either."""
    if _is_weak(certificate):
        raise HostCertificateUnfit(
            "A certificate is signed over a digest that is not SHA-256, SHA-384 or SHA-512.",
            field="certificate",
        )
    if not _has_fit_key(certificate):
        raise HostCertificateUnfit(
            f"Keys are RSA of {_LEAST_RSA_BITS} to {_MOST_RSA_BITS} bits, P-256, P-384, P-521 or Ed25519.",
            field="certificate",
        )


def _has_fit_key(certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    if isinstance(key, RSAPublicKey):
        # A key for RSASSA-PSS alone (RFC 4055 §1.2) is read, and written again as one for everything: HAProxy then
        # finds that it does not fit its certificate.
        is_plain = certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5
        return is_plain and _LEAST_RSA_BITS <= key.key_size <= _MOST_RSA_BITS
    if isinstance(key, EllipticCurvePublicKey):
        return isinstance(key.curve, _CURVES)
    return isinstance(key, Ed25519PublicKey)


def _names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names of a certificate that may prove a server; none otherwise."""
    extensions = certificate.extensions
    try:
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.SERVER_AUTH not in usage:
            raise HostCertificateUnfit(
                "The certificate is not for servers: its extended key usage lacks serverAuth.",
                field="certificate",
            )
    except x509.ExtensionNotFound:
        pass
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.DNSName))

"""Certificates: platform root → instance CA → firm key. Pure; keys and the time are arguments.

The names that count are URIs in the subject alternative name: `urn:wops:instance:<id>` in the CA's certificate and
`urn:wops:firm-code:<number>` in the firm key's. A signature is good for exactly this instance and this firm code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from fsb_gateway.error import UpdateUntrusted
from fsb_gateway.file_format.key import PrivateKey, PublicKey
from fsb_gateway.job import FIRM_CODE_MAX, Algorithm

# A licence is often meant to live as long as the machine it runs on; ten years is the platform's promise.
LIFETIME = timedelta(days=3652)
# Container clocks run slow; a certificate made a moment ago must not lie in their future.
BACKDATED = timedelta(days=1)
_INSTANCE_URN = "urn:wops:instance:"
_FIRM_CODE_URN = "urn:wops:firm-code:"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmIdentity:
    """Whose signature a verified certificate chain stands for."""

    instance_id: str
    firm_code: int
    algorithm: Algorithm
    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A certificate together with its private key."""

    certificate: x509.Certificate
    key: PrivateKey


def issue_root(key: PrivateKey, *, at: datetime) -> x509.Certificate:
    """Make the self-signed platform root."""
    name = _common_name("wops platform root")
    builder = (
        _start(name, name, key.public_key()).not_valid_before(at - BACKDATED).not_valid_after(at + LIFETIME)
    )
    return _sign(_authority(builder, path_length=1), key)


def issue_instance_ca(
    root: Issuer, public_key: PublicKey, instance_id: str, *, at: datetime
) -> x509.Certificate:
    """Make an instance's certificate authority; it can issue firm key certificates and nothing below."""
    builder = _issued_by(root, _common_name(f"wops instance {instance_id}"), public_key, at)
    return _sign(_named(_authority(builder, path_length=0), f"{_INSTANCE_URN}{instance_id}"), root.key)


def issue_firm_certificate(
    ca: Issuer, public_key: PublicKey, firm_code: int, *, at: datetime
) -> x509.Certificate:
    """Make the certificate of a firm key."""
    builder = _issued_by(ca, _common_name(f"wops firm code {firm_code}"), public_key, at)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(sign_content=True), critical=True)
    return _sign(_named(builder, f"{_FIRM_CODE_URN}{firm_code}"), ca.key)


def verify_chain(chain: list[x509.Certificate], root: x509.Certificate, *, at: datetime) -> FirmIdentity:
    """Check a firm key certificate and its instance CA up to the root.

    Args:
        chain: the firm key's certificate, then the instance CA's; the root is not part of it.

    Raises:
        UpdateUntrusted: a signature, name, validity, key usage or constraint does not hold.
    """
    try:
        return _verify(chain, root, at)
    except (
        ValueError,
        TypeError,
        InvalidSignature,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
    ) as error:
        raise UpdateUntrusted("the signer's certificates do not lead to the expected root") from error


def _verify(chain: list[x509.Certificate], root: x509.Certificate, at: datetime) -> FirmIdentity:
    firm, ca = chain  # a chain of another length is a ValueError
    firm.verify_directly_issued_by(ca)
    ca.verify_directly_issued_by(root)
    for certificate in (firm, ca, root):
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            raise UpdateUntrusted("a certificate of the signer is not valid at this time", at=at.isoformat())
    _require(_is_authority(root, 1) and _is_authority(ca, 0) and _may_sign_content(firm))
    return _identity(firm, ca)


def _identity(firm: x509.Certificate, ca: x509.Certificate) -> FirmIdentity:
    firm_code = int(_urn(firm, _FIRM_CODE_URN))
    _require(1 <= firm_code <= FIRM_CODE_MAX)
    key = read_certificate_key(firm)
    return FirmIdentity(
        instance_id=_urn(ca, _INSTANCE_URN),
        firm_code=firm_code,
        algorithm=key_algorithm(key),
        public_key=key,
    )


def read_names(chain: Sequence[x509.Certificate]) -> FirmIdentity:
    """Whose key a chain is said to be for, without asking whether its signatures hold.

    Args:
        chain: the firm key's certificate, then the instance CA's.

    Raises:
        UpdateUntrusted: a name is missing or is no name of ours, or the key is of another kind.
    """
    try:
        return _identity(*chain)
    except (ValueError, TypeError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise UpdateUntrusted("the certificates do not name an instance and a firm code") from error


def read_certificate_key(certificate: x509.Certificate) -> PublicKey:
    """The firm key in a certificate.

    Raises:
        UpdateUntrusted: a kind of key that is not used here.
    """
    key = certificate.public_key()
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    raise UpdateUntrusted("the firm key is of a kind that is not used here")


def key_algorithm(key: PublicKey) -> Algorithm:
    """What a key signs with."""
    return "Ed25519" if isinstance(key, Ed25519PublicKey) else "ES256"


def _require(holds: bool) -> None:
    if not holds:
        raise UpdateUntrusted("a certificate of the signer may not be used for this")


def _is_authority(certificate: x509.Certificate, path_length: int) -> bool:
    constraint = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    value = constraint.value
    return constraint.critical and value.ca and value.path_length == path_length and usage.key_cert_sign


def _may_sign_content(certificate: x509.Certificate) -> bool:
    constraint = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    return not constraint.ca and usage.digital_signature and not usage.key_cert_sign


def _urn(certificate: x509.Certificate, prefix: str) -> str:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    _require(len(uris) == 1 and len(list(names)) == 1 and uris[0].startswith(prefix))
    return uris[0].removeprefix(prefix)


def _common_name(text: str) -> x509.Name:
    # X.520 limits a common name to 64 characters; the full id stands in the alternative name.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _start(subject: x509.Name, issuer: x509.Name, public_key: PublicKey) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)


def _issued_by(
    issuer: Issuer, subject: x509.Name, public_key: PublicKey, at: datetime
) -> x509.CertificateBuilder:
    parent = issuer.certificate
    builder = _start(subject, parent.subject, public_key)
    builder = builder.not_valid_before(max(at - BACKDATED, parent.not_valid_before_utc))
    builder = builder.not_valid_after(min(at + LIFETIME, parent.not_valid_after_utc))
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return builder.add_extension(identifier, critical=False)


def _authority(builder: x509.CertificateBuilder, *, path_length: int) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    return builder.add_extension(_usage(sign_content=False), critical=True)


def _named(builder: x509.CertificateBuilder, uri: str) -> x509.CertificateBuilder:
    return builder.add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False
    )


def _usage(*, sign_content: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign_content,
        key_cert_sign=not sign_content,
        crl_sign=not sign_content,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    return builder.sign(key, None if isinstance(key, Ed25519PrivateKey) else SHA256())

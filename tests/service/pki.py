"""Certificates for tests: CAs and what they issue, with small elliptic keys."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
"""A server's certificate is checked by the real time, so it is valid whenever a test runs."""


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()

    @property
    def subject(self) -> str:
        return self.certificate.subject.rfc4514_string()

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def header(self) -> str:
        """As the field Client-Cert (RFC 9440)."""
        return f":{base64.b64encode(self.der).decode()}:"


def make_authority(
    subject: str = "CN=ACME CA,O=ACME",
    *,
    not_before: datetime = START,
    lasts: timedelta = 10 * YEAR,
    is_authority: bool = True,
) -> Issued:
    """A root, or, for tests of refusals, something that only looks like one."""
    return _issue(
        subject,
        issuer=None,
        not_before=not_before,
        lasts=lasts,
        extensions=[
            (x509.BasicConstraints(ca=is_authority, path_length=None), True),
            (_key_usage(signs=is_authority), True),
        ],
    )


def renew(authority: Issued, *, not_before: datetime = START, lasts: timedelta = 10 * YEAR) -> Issued:
    """A root's next certificate, for the same key."""
    return _issue(
        authority.subject,
        issuer=None,
        not_before=not_before,
        lasts=lasts,
        key=authority.key,
        extensions=[
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (_key_usage(signs=True), True),
        ],
    )


def issue(
    subject: str = "CN=erp,O=ACME",
    *,
    issuer: Issued | None = None,
    not_before: datetime = START,
    lasts: timedelta = YEAR,
    usage: ObjectIdentifier | None = CLIENT_AUTH,
) -> Issued:
    """A client's certificate; self-signed without an issuer."""
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True)
    ]
    if usage is not None:
        extensions.append((x509.ExtendedKeyUsage([usage]), False))
    return _issue(subject, issuer=issuer, not_before=not_before, lasts=lasts, extensions=extensions)


def make_server_authority() -> Issued:
    """A root for servers."""
    return make_authority("CN=Test authority", not_before=_LONG_AGO, lasts=100 * YEAR)


def issue_for_server(address: str, *, issuer: Issued) -> Issued:
    """The certificate of the server at an IP address."""
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
    return _issue(
        "CN=Test server",
        issuer=issuer,
        not_before=_LONG_AGO,
        lasts=100 * YEAR,
        extensions=[(names, False), (x509.ExtendedKeyUsage([SERVER_AUTH]), False)],
    )


def issue_for_host(
    *hosts: str,
    issuer: Issued | None = None,
    not_before: datetime = START,
    lasts: timedelta = YEAR,
    usage: ObjectIdentifier | None = SERVER_AUTH,
) -> Issued:
    """The certificate of a server by its names; self-signed without an issuer."""
    names = x509.SubjectAlternativeName([x509.DNSName(each) for each in hosts])
    extensions: list[tuple[x509.ExtensionType, bool]] = [(names, False)]
    if usage is not None:
        extensions.append((x509.ExtendedKeyUsage([usage]), False))
    if issuer is not None:
        key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        extensions.append((key_id, False))
    return _issue(f"CN={hosts[0]}", issuer=issuer, not_before=not_before, lasts=lasts, extensions=extensions)


def make_revocation_list(
    authority: Issued,
    *revoked: Issued,
    number: int | None = 1,
    this_update: datetime = START,
    lasts: timedelta = YEAR,
    more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> str:
    """A revocation list of an authority, in PEM."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(this_update)
        .next_update(this_update + lasts)
    )
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(this_update).build())
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _issue(
    subject: str,
    *,
    issuer: Issued | None,
    not_before: datetime,
    lasts: timedelta,
    extensions: list[tuple[x509.ExtensionType, bool]],
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Issued:
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string(subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_before + lasts)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signing = key if issuer is None else issuer.key
    return Issued(builder.sign(signing, hashes.SHA256()), key)


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )

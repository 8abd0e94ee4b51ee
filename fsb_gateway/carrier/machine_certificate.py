"""Certificates with which machines speak to a gateway by mutual TLS.

Three authorities, kept wrapped in the key directory, so that none can stand in for another: one for lines, one for
control, one for gateways. They have nothing to do with the platform root, which containers trust.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.core.clock import Clock
from app.core.file import create_file
from fsb_gateway.error import KeyDamaged
from fsb_gateway.file_format.key import PrivateKey
from fsb_gateway.job import check_name
from fsb_gateway.key.wrap import KeyWrap

Role = Literal["line", "control", "gateway"]
ROLES: tuple[Role, ...] = get_args(Role)

AUTHORITY_LIFETIME = timedelta(days=3652)
"""As long as the platform root's (`file_format.certificate`)."""
MACHINE_LIFETIME = timedelta(days=397)
"""**Source:** CA/Browser Forum baseline requirements 2.0, §6.3.2 (limit until 2026): a year, and time to renew."""
# Another machine's clock may run slow.
_BACKDATED = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCertificate:
    """What a machine needs: PEM each, and the private key in clear."""

    certificate: bytes
    key: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Authority:
    certificate: x509.Certificate
    key: PrivateKey


class _AuthorityFile(msgspec.Struct, forbid_unknown_fields=True):
    wrapped: bytes
    certificate: bytes


class MachineAuthorities:
    """The three authorities; each is made when it is first asked for. Safe to use from several processes."""

    def __init__(self, directory: Path, wrap: KeyWrap, *, clock: Clock) -> None:
        self._directory = directory
        self._wrap = wrap
        self._clock = clock

    def certificate(self, role: Role) -> bytes:
        """An authority's own certificate, PEM: what the other side trusts.

        Raises:
            KeyDamaged: it cannot be opened.
        """
        return self._authority(role).certificate.public_bytes(Encoding.PEM)

    def issue(self, name: str, role: Role, *, lifetime: timedelta = MACHINE_LIFETIME) -> MachineCertificate:
        """Make a key and certify it.

        Args:
            name: of the machine; a gateway's is the host name or address by which it is called.

        Raises:
            JobMalformed: that is no name.
            KeyDamaged: the authority cannot be opened.
        """
        alternative_name = _alternative_name(name)
        authority = self._authority(role)
        key = generate_private_key(SECP256R1())
        now = self._clock.now()
        expires_at = min(now + lifetime, authority.certificate.not_valid_after_utc)
        builder = _begin(_subject(name), authority.certificate.subject, key.public_key())
        builder = builder.not_valid_before(now - _BACKDATED).not_valid_after(expires_at)
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative_name]), critical=False)
        certificate = _sign(_for_machine(builder, authority.certificate, role), authority.key)
        return MachineCertificate(
            certificate=certificate.public_bytes(Encoding.PEM),
            key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            expires_at=expires_at,
        )

    def _authority(self, role: Role) -> _Authority:
        path = self._directory / f"{role}.json"
        if not path.exists():
            self._make(path, role)
        name = f"machine-ca/{role}"
        try:
            record = msgspec.json.decode(path.read_bytes(), type=_AuthorityFile)
            certificate = x509.load_der_x509_certificate(record.certificate)
        except (msgspec.MsgspecError, ValueError) as error:
            raise KeyDamaged(f"the key file {path.name} cannot be read", key=name) from error
        return _Authority(certificate=certificate, key=self._wrap.unwrap(name, record.wrapped))

    def _make(self, path: Path, role: Role) -> None:
        key = generate_private_key(SECP256R1())
        name = _subject(f"wops {role} CA")
        now = self._clock.now()
        builder = _begin(name, name, key.public_key())
        builder = builder.not_valid_before(now - _BACKDATED).not_valid_after(now + AUTHORITY_LIFETIME)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(is_authority=True), critical=True)
        record = _AuthorityFile(
            wrapped=self._wrap.wrap(f"machine-ca/{role}", key),
            certificate=_sign(builder, key).public_bytes(Encoding.DER),
        )
        # If another process was faster, its authority counts.
        create_file(path, msgspec.json.encode(record))


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        check_name("name", name)
        return x509.DNSName(name)


def _subject(text: str) -> x509.Name:
    # X.520 limits a common name to 64 characters; the whole name is the alternative name.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _begin(
    subject: x509.Name, issuer: x509.Name, public_key: EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)


def _for_machine(
    builder: x509.CertificateBuilder, authority: x509.Certificate, role: Role
) -> x509.CertificateBuilder:
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if role == "gateway" else ExtendedKeyUsageOID.CLIENT_AUTH
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(is_authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.add_extension(identifier, critical=False)


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    return builder.sign(key, SHA256())

"""The certificate for whoever names no host that is known: given by an operator, or made here.

    given: read anew when a file changes; what cannot be used is said, and the one before stays in use
    made:  an authority of the platform's own (`ca.pem`, for clients to trust), which certifies the names and addresses
           that load balancers listen at; a new certificate when a third of its time is left

**Source:** RFC 5280; lifetimes: the authority's is our own decision, 397 days is what browsers take at most
(CA/Browser Forum Baseline Requirements §6.3.2).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.core.clock import Clock
from app.core.errors import DomainError
from app.core.file import replace_file
from tenancy.front.errors import HostCertificateExpired, HostCertificateMalformed
from tenancy.front.server_certificate import ServerCertificate, read_server_certificate

UNREADABLE: Final = "front_certificate_unreadable"
"""Code: files of a certificate cannot be read."""
AUTHORITY_FILE: Final = "ca.pem"
_AUTHORITY_KEY: Final = "ca.key"
_SERVER_FILE: Final = "server.pem"
_SERVER_KEY: Final = "server.key"
_AUTHORITY_LASTS: Final = timedelta(days=3650)
_SERVER_LASTS: Final = timedelta(days=397)
_RENEWED_BEFORE: Final = _SERVER_LASTS / 3
_BACKDATED: Final = timedelta(hours=1)
"""For clients whose clocks are behind. Our own decision."""
_ALWAYS: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFiles:
    """An operator's files: PEM of certificate and chain, PEM of the key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultPem:
    """What is in use, and what is wrong with what should be.

    Attributes:
        problem: code; None: nothing.
    """

    certificate: ServerCertificate
    self_made: bool
    problem: str | None = None

    @property
    def pem(self) -> str:
        """Certificate, chain and key."""
        return self.certificate.chain + self.certificate.key


class DefaultCertificate:
    """Reads or makes it. Blocking; for one thread.

    Args:
        folder: where what is made here lies.
        names: that a made one certifies besides those of this machine: host names and addresses.
        given: an operator's; None: one is made.
        clock: judges dates.
    """

    def __init__(
        self, folder: Path, *, names: Collection[str], given: GivenFiles | None, clock: Clock
    ) -> None:
        self._folder = folder
        self._names = tuple(dict.fromkeys((*_ALWAYS, *names)))
        self._given = given
        self._clock = clock
        self._known: DefaultPem | None = None
        self._seen: tuple[float, ...] = ()

    @property
    def authority_file(self) -> Path:
        """PEM of the platform's own authority, for clients to trust; not there if a certificate was given."""
        return self._folder / AUTHORITY_FILE

    def read(self) -> DefaultPem:
        """What is in use now.

        Raises:
            DomainError, OSError: there is none yet, and what was given cannot be used.
        """
        self._known = self._made() if self._given is None else self._read_given(self._given)
        return self._known

    def _read_given(self, given: GivenFiles) -> DefaultPem:
        known = self._known
        try:
            seen = tuple(path.stat().st_mtime for path in (given.certificate, given.key))
            if known is not None and seen == self._seen:
                return replace(known, problem=self._expired(known.certificate))
            found = DefaultPem(
                certificate=_read(given.certificate, given.key, clock=self._clock), self_made=False
            )
        except (DomainError, OSError) as error:
            if known is None:
                raise
            code = error.code if isinstance(error, DomainError) else UNREADABLE
            return DefaultPem(certificate=known.certificate, self_made=False, problem=code)
        self._seen = seen
        return found

    def _expired(self, used: ServerCertificate) -> str | None:
        """What is wrong with one that was good when it was read: there is nothing better than to go on with it."""
        return HostCertificateExpired.code if used.not_after <= self._clock.now() else None

    def _made(self) -> DefaultPem:
        now = self._clock.now()
        known = self._known
        if known is not None and now < known.certificate.not_after - _RENEWED_BEFORE:
            return known
        try:
            found = _read(self._folder / _SERVER_FILE, self._folder / _SERVER_KEY, clock=self._clock)
            if self._fits(found) and now < found.not_after - _RENEWED_BEFORE:
                return DefaultPem(certificate=found, self_made=True)
        except (DomainError, OSError):
            # Never made, half made, or run out: made anew.
            pass
        return DefaultPem(certificate=self._make(), self_made=True)

    def _fits(self, found: ServerCertificate) -> bool:
        own = x509.load_pem_x509_certificate(found.chain.encode())
        return set(_named(own)) >= set(self._names)

    def _make(self) -> ServerCertificate:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        authority, authority_key = self._authority()
        key = generate_private_key(SECP256R1())
        now = self._clock.now()
        certificate = (
            _builder("wops", authority.subject, key, now - _BACKDATED, now + _SERVER_LASTS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(list(map(_general, self._names))), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        # The key first: whoever is killed in between leaves a pair that does not fit, and the next start makes another.
        replace_file(self._folder / _SERVER_KEY, _key_pem(key))
        replace_file(self._folder / _SERVER_FILE, certificate.public_bytes(Encoding.PEM))
        return _read(self._folder / _SERVER_FILE, self._folder / _SERVER_KEY, clock=self._clock)

    def _authority(self) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        """The platform's own; a new one if there is none, or it runs out before what it would certify."""
        try:
            certificate = x509.load_pem_x509_certificate(self.authority_file.read_bytes())
            key = load_pem_private_key((self._folder / _AUTHORITY_KEY).read_bytes(), password=None)
            lasts = certificate.not_valid_after_utc > self._clock.now() + _SERVER_LASTS
            if (
                lasts
                and isinstance(key, EllipticCurvePrivateKey)
                and key.public_key() == certificate.public_key()
            ):
                return certificate, key
        except (OSError, ValueError, TypeError):
            pass
        return self._make_authority()

    def _make_authority(self) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        key = generate_private_key(SECP256R1())
        now = self._clock.now()
        common = f"wops platform {os.urandom(4).hex()}"
        certificate = (
            _builder(common, None, key, now - _BACKDATED, now + _AUTHORITY_LASTS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_signs(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        replace_file(self._folder / _AUTHORITY_KEY, _key_pem(key))
        replace_file(self.authority_file, certificate.public_bytes(Encoding.PEM))
        return certificate, key


def _read(certificate: Path, key: Path, *, clock: Clock) -> ServerCertificate:
    try:
        found = read_server_certificate(certificate.read_text("ascii"), key.read_text("ascii"))
    except UnicodeDecodeError as error:
        raise HostCertificateMalformed("That is no PEM file.") from error
    if found.not_after <= clock.now():
        raise HostCertificateExpired("The certificate has run out.", not_after=found.not_after.isoformat())
    return found


def _builder(
    common: str,
    issuer: x509.Name | None,
    key: EllipticCurvePrivateKey,
    begins: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _named(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _signs() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )

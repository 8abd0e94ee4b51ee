"""Certificates for machines: whose they are, what they are for, and that one authority is not another."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from fsb_gateway.carrier.machine_certificate import MACHINE_LIFETIME, ROLES, MachineAuthorities, Role
from fsb_gateway.error import JobMalformed, KeyDamaged
from fsb_gateway.key.wrap import KeyWrap
from tests.fake.clock import FakeClock

KEY = bytes(range(32))
SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def authorities(tmp_path: Path, clock: FakeClock) -> MachineAuthorities:
    return MachineAuthorities(tmp_path / "machine-ca", KeyWrap(KEY), clock=clock)


def issue(authorities: MachineAuthorities, name: str, role: Role) -> x509.Certificate:
    made = authorities.issue(name, role)
    certificate = x509.load_pem_x509_certificate(made.certificate)
    key = load_pem_private_key(made.key, None)
    assert certificate.public_key().public_bytes(*SPKI) == key.public_key().public_bytes(*SPKI)
    return certificate


@pytest.mark.parametrize("role", ROLES)
def test_certificate_is_its_own_authoritys_and_no_others(authorities: MachineAuthorities, role: Role) -> None:
    certificate = issue(authorities, "machine-1", role)
    for each in ROLES:
        authority = x509.load_pem_x509_certificate(authorities.certificate(each))
        if each == role:
            certificate.verify_directly_issued_by(authority)
            assert certificate.not_valid_after_utc < authority.not_valid_after_utc
        else:
            with pytest.raises((ValueError, InvalidSignature)):
                certificate.verify_directly_issued_by(authority)
    purpose = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    wanted = ExtendedKeyUsageOID.SERVER_AUTH if role == "gateway" else ExtendedKeyUsageOID.CLIENT_AUTH
    assert list(purpose) == [wanted]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_gateway_is_named_by_host_name_or_address(authorities: MachineAuthorities) -> None:
    def names(name: str) -> x509.SubjectAlternativeName:
        certificate = issue(authorities, name, "gateway")
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names("boxes.example.com").get_values_for_type(x509.DNSName) == ["boxes.example.com"]
    for address in ("192.0.2.7", "2001:db8::7"):
        assert names(address).get_values_for_type(x509.IPAddress) == [ip_address(address)]
    for wrong in ("", "a b", "../x", "*.example.com"):
        with pytest.raises(JobMalformed):
            authorities.issue(wrong, "gateway")


def test_authority_outlives_whoever_made_it(
    authorities: MachineAuthorities, tmp_path: Path, clock: FakeClock
) -> None:
    before = authorities.certificate("line")
    clock.advance(timedelta(days=300))
    again = MachineAuthorities(tmp_path / "machine-ca", KeyWrap(KEY), clock=clock)
    assert again.certificate("line") == before
    made = again.issue("line-1", "line")
    assert made.expires_at == clock.now() + MACHINE_LIFETIME


def test_authoritys_key_is_wrapped(authorities: MachineAuthorities, tmp_path: Path, clock: FakeClock) -> None:
    authorities.certificate("line")
    other = MachineAuthorities(tmp_path / "machine-ca", KeyWrap(bytes(32)), clock=clock)
    with pytest.raises(KeyDamaged):
        other.issue("line-1", "line")
    (tmp_path / "machine-ca" / "control.json").write_bytes(
        (tmp_path / "machine-ca" / "line.json").read_bytes()
    )
    with pytest.raises(KeyDamaged):
        authorities.issue("control-1", "control")
    (tmp_path / "machine-ca" / "line.json").write_text("{")
    with pytest.raises(KeyDamaged):
        authorities.certificate("line")

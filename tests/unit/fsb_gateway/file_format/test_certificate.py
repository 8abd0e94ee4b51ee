from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from fsb_gateway.error import UpdateUntrusted
from fsb_gateway.file_format.certificate import (
    LIFETIME,
    Issuer,
    issue_firm_certificate,
    issue_instance_ca,
    read_names,
    verify_chain,
)
from tests.fake.clock import START
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, make_authority, p256

AUTHORITY = make_authority()
FIRM_CONSTRAINT = AUTHORITY.firm.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
FIRM_USAGE = AUTHORITY.firm.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
EVERY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def test_identity_is_read_from_the_names() -> None:
    identity = verify_chain(AUTHORITY.chain, AUTHORITY.root.certificate, at=START)
    assert (identity.instance_id, identity.firm_code) == (INSTANCE, FIRM_CODE)
    assert identity.public_key == AUTHORITY.firm.key.public_key()


def test_certificates_end_with_the_root_at_the_latest() -> None:
    late = START + timedelta(days=3000)
    ca = issue_instance_ca(AUTHORITY.root, p256("late").public_key(), "ins_9", at=late)
    firm = issue_firm_certificate(
        Issuer(certificate=ca, key=p256("late")), p256("f").public_key(), 5, at=late
    )
    root_end = AUTHORITY.root.certificate.not_valid_after_utc
    assert root_end == START + LIFETIME
    assert ca.not_valid_after_utc == firm.not_valid_after_utc == root_end


def test_firm_certificate_cannot_issue_another() -> None:
    mallory = p256("mallory")
    issued = issue_firm_certificate(AUTHORITY.firm, mallory.public_key(), 7, at=START)
    with pytest.raises(UpdateUntrusted):
        verify_chain([issued, AUTHORITY.firm.certificate], AUTHORITY.root.certificate, at=START)


def test_authority_below_an_instance_ca_is_refused() -> None:
    mallory = p256("mallory")
    below = issue_instance_ca(AUTHORITY.ca, mallory.public_key(), "ins_2", at=START)
    firm = issue_firm_certificate(Issuer(certificate=below, key=mallory), p256("f").public_key(), 7, at=START)
    with pytest.raises(UpdateUntrusted):
        verify_chain([firm, below], AUTHORITY.root.certificate, at=START)


def test_key_on_another_curve_is_refused() -> None:
    other = generate_private_key(SECP384R1())
    firm = issue_firm_certificate(AUTHORITY.ca, other.public_key(), FIRM_CODE, at=START)
    with pytest.raises(UpdateUntrusted):
        verify_chain([firm, AUTHORITY.ca.certificate], AUTHORITY.root.certificate, at=START)


@pytest.mark.parametrize(
    "uri", ["urn:wops:firm-code:x", "urn:wops:firm-code:0", "urn:wops:instance:ins_1", "https://x"]
)
def test_other_name_in_the_firm_certificate_is_refused(uri: str) -> None:
    with pytest.raises(UpdateUntrusted):
        verify_chain(
            [firm_certificate([uri]), AUTHORITY.ca.certificate], AUTHORITY.root.certificate, at=START
        )


def test_second_name_in_the_firm_certificate_is_refused() -> None:
    firm = firm_certificate(["urn:wops:firm-code:1", "urn:wops:firm-code:2"])
    with pytest.raises(UpdateUntrusted):
        verify_chain([firm, AUTHORITY.ca.certificate], AUTHORITY.root.certificate, at=START)


def test_certificate_without_extensions_is_refused() -> None:
    firm = bare_certificate().sign(AUTHORITY.ca.key, SHA256())
    with pytest.raises(UpdateUntrusted):
        verify_chain([firm, AUTHORITY.ca.certificate], AUTHORITY.root.certificate, at=START)


def test_firm_certificate_that_could_issue_others_is_refused() -> None:
    proper = AUTHORITY.ca.certificate.extensions
    for constraint, usage in (
        (proper.get_extension_for_class(x509.BasicConstraints).value, FIRM_USAGE),
        (FIRM_CONSTRAINT, proper.get_extension_for_class(x509.KeyUsage).value),
        (FIRM_CONSTRAINT, EVERY_USAGE),
    ):
        builder = (
            bare_certificate().add_extension(constraint, critical=True).add_extension(usage, critical=True)
        )
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:wops:firm-code:5")])
        firm = builder.add_extension(names, critical=False).sign(AUTHORITY.ca.key, SHA256())
        with pytest.raises(UpdateUntrusted):
            verify_chain([firm, AUTHORITY.ca.certificate], AUTHORITY.root.certificate, at=START)


@pytest.mark.parametrize(
    ("constraint", "critical"),
    [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.BasicConstraints(ca=True, path_length=3), True),
        (x509.BasicConstraints(ca=True, path_length=0), False),
    ],
    ids=["no authority", "any length", "longer", "not critical"],
)
def test_instance_ca_with_other_constraints_is_refused(
    constraint: x509.BasicConstraints, critical: bool
) -> None:
    proper = AUTHORITY.ca.certificate
    builder = (
        x509.CertificateBuilder().subject_name(proper.subject).issuer_name(proper.issuer).serial_number(5)
    )
    builder = builder.public_key(AUTHORITY.ca.key.public_key()).not_valid_before(START)
    builder = builder.not_valid_after(START + timedelta(days=1)).add_extension(constraint, critical=critical)
    for kind in (x509.KeyUsage, x509.SubjectAlternativeName):
        found = proper.extensions.get_extension_for_class(kind)
        builder = builder.add_extension(found.value, critical=found.critical)
    ca = builder.sign(AUTHORITY.root.key, SHA256())
    with pytest.raises(UpdateUntrusted):
        verify_chain([AUTHORITY.firm.certificate, ca], AUTHORITY.root.certificate, at=START)


def firm_certificate(uris: list[str]) -> x509.Certificate:
    proper = AUTHORITY.firm.certificate.extensions
    builder = bare_certificate()
    for kind in (x509.BasicConstraints, x509.KeyUsage):
        builder = builder.add_extension(proper.get_extension_for_class(kind).value, critical=True)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
    return builder.add_extension(names, critical=False).sign(AUTHORITY.ca.key, SHA256())


def bare_certificate() -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    )
    builder = builder.issuer_name(AUTHORITY.ca.certificate.subject).serial_number(5)
    builder = builder.public_key(AUTHORITY.firm.key.public_key())
    return builder.not_valid_before(START).not_valid_after(START + timedelta(days=1))


def test_names_are_read_without_asking_who_signed() -> None:
    foreign = make_authority(root="foreign root")
    names = read_names([AUTHORITY.firm.certificate, foreign.ca.certificate])
    assert (names.instance_id, names.firm_code, names.algorithm) == (INSTANCE, FIRM_CODE, "ES256")
    for chain in (
        [],
        AUTHORITY.chain[:1],
        AUTHORITY.chain[::-1],
        [*AUTHORITY.chain, AUTHORITY.root.certificate],
    ):
        with pytest.raises(UpdateUntrusted):
            read_names(chain)

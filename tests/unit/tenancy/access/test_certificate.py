from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from tenancy.access.client.certificate import (
    check_client_certificate,
    check_issuer,
    read_certificate,
    read_pem,
    read_subject,
    was_issued_by,
)
from tenancy.access.errors import CertificateExpired, CertificateMalformed, CertificateUnfit
from tests.service.pki import Issued, issue, make_authority
from tests.unit.tenancy.access.material import DAY, NOW, certificates


def test_certificate_is_read_once() -> None:
    made = certificates()["erp"]
    assert read_certificate(made.der) is read_certificate(bytes(made.der))
    assert read_pem(made.pem).fingerprint == made.fingerprint
    assert read_pem(made.pem).subject == "CN=erp,O=ACME"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        certificates()["erp"].pem + certificates()["crm"].pem,
        certificates()["erp"].pem + "x" * 16_384,
        "MIIB",
        "ü",
    ],
)
def test_text_that_is_not_one_certificate_is_refused(text: str) -> None:
    with pytest.raises(CertificateMalformed):
        read_pem(text)


@pytest.mark.parametrize("name", [b"the-sub", b"the-root"])
def test_name_that_cannot_be_read_is_refused_whosever_it_is(name: bytes) -> None:
    der = issue("CN=the-sub", issuer=make_authority("CN=the-root")).der
    assert read_certificate(der).subject == "CN=the-sub"
    with pytest.raises(CertificateMalformed):
        read_certificate(der.replace(name, name[:-1] + b"\xff"))


@given(
    damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 400),
)
def test_damaged_certificate_is_refused_or_read_but_never_fails(
    damage: list[tuple[int, int]], cut: int
) -> None:
    der = bytearray(certificates()["erp"].der)
    for place, value in damage:
        der[place % len(der)] = value
    with contextlib.suppress(CertificateMalformed):
        assert read_certificate(bytes(der[: len(der) - cut])).fingerprint


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("erp", None),
        ("no_usage", None),
        ("early", None),
        ("outdated", CertificateExpired),
        ("server", CertificateUnfit),
    ],
)
def test_only_what_a_client_could_call_with_is_pinned(name: str, error: type[Exception] | None) -> None:
    certificate = read_certificate(certificates()[name].der)
    expect(error, lambda: check_client_certificate(certificate, NOW))


@pytest.mark.parametrize(
    ("authority", "error"),
    [
        (make_authority(), None),
        (make_authority(is_authority=False), CertificateUnfit),
        (issue(), CertificateUnfit),
        (make_authority(not_before=NOW - 9 * DAY, lasts=DAY), CertificateExpired),
    ],
)
def test_only_an_authority_is_pinned_as_issuer(authority: Issued, error: type[Exception] | None) -> None:
    expect(error, lambda: check_issuer(read_certificate(authority.der), NOW))


def test_same_name_is_not_the_same_authority() -> None:
    made = certificates()
    issued, forged = read_certificate(made["issued"].der), read_certificate(made["forged"].der)
    ca, other = read_certificate(made["acme_ca"].der), read_certificate(made["other_ca"].der)
    assert ca.subject == other.subject
    assert [was_issued_by(issued, ca), was_issued_by(forged, other)] == [True, True]
    assert [was_issued_by(issued, other), was_issued_by(forged, ca)] == [False, False]


def test_subject_is_compared_in_one_form() -> None:
    assert read_subject("CN=erp,O=ACME") == "CN=erp,O=ACME"
    assert read_subject("2.5.4.3=erp,O=ACME") == "CN=erp,O=ACME"


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("CN = erp, O = ACME GmbH, C=DE", "CN=erp,O=ACME GmbH,C=DE"),
        (" CN=erp + OU=shop ,O=ACME ", "CN=erp+OU=shop,O=ACME"),
        ("CN=a\\, b, O=ACME\\ ", "CN=a\\, b,O=ACME\\ "),
    ],
)
def test_blanks_around_the_parts_of_a_subject_mean_nothing(text: str, subject: str) -> None:
    assert read_subject(text) == subject


def test_authority_is_not_pinned_by_its_own_fingerprint() -> None:
    authority = read_certificate(make_authority().der)
    with pytest.raises(CertificateUnfit, match="name the subject") as refused:
        check_client_certificate(authority, NOW)
    assert refused.value.detail == {"field": "subject"}


@pytest.mark.parametrize(("bits", "error"), [(1024, CertificateUnfit), (2048, None)])
def test_certificate_with_a_short_rsa_key_is_not_pinned(bits: int, error: type[Exception] | None) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    name = x509.Name.from_rfc4514_string("CN=erp")
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .sign(key, hashes.SHA256())
    )
    certificate = read_certificate(made.public_bytes(Encoding.DER))
    expect(error, lambda: check_client_certificate(certificate, NOW))


@pytest.mark.parametrize("text", ["", "erp", "CN", "=", "CN=a=b,,", "1.2.3.x=y"])
def test_text_that_is_no_subject_is_refused(text: str) -> None:
    with pytest.raises(CertificateUnfit):
        read_subject(text)


def expect(error: type[Exception] | None, call: Callable[[], None]) -> None:
    if error is None:
        call()
        return
    with pytest.raises(error):
        call()

from __future__ import annotations

import base64
from ipaddress import ip_address

import pytest

from app.core.errors import DomainError
from app.http.front_header import read_front, refuse_certificate

FROM = (b"forwarded", b"for=192.0.2.7")


def refused(*headers: tuple[bytes, bytes]) -> str:
    with pytest.raises(DomainError) as error:
        read_front(headers)
    return error.value.code


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b"for=192.0.2.7", "192.0.2.7"),
        (b'For="192.0.2.7:4711"', "192.0.2.7"),
        (b"for=192.0.2.7;proto=https;by=203.0.113.1", "192.0.2.7"),
        (b'proto=https; for="[2001:db8::7]:4711"', "2001:db8::7"),
        (b'for="[2001:db8::7]"', "2001:db8::7"),
    ],
)
def test_address_is_what_the_front_says(value: bytes, address: str) -> None:
    assert read_front([(b"forwarded", value)]).peer == ip_address(address)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"for=unknown",
        b"for=_hidden",
        b"for=192.0.2.7, for=198.51.100.7",
        b"for=192.0.2.7;for=198.51.100.7",
        b"for=999.0.2.7",
        b"for=[2001:db8::7]",
        b"by=192.0.2.7",
        b'for="192.0.2.7',
        b"192.0.2.7",
    ],
)
def test_anything_but_one_address_is_refused(value: bytes) -> None:
    assert refused((b"forwarded", value)) == "forwarded_invalid"


def test_front_that_names_no_address_or_two_is_refused() -> None:
    assert refused((b"x-forwarded-for", b"192.0.2.7")) == "forwarded_invalid"
    assert refused(FROM, FROM) == "forwarded_invalid"


def test_certificate_is_a_byte_sequence() -> None:
    der = bytes(range(200))
    field = b":" + base64.b64encode(der) + b":"
    assert read_front([FROM, (b"client-cert", field)]).certificate == der
    assert read_front([FROM, (b"client-cert-chain", field + b", " + field)]).certificate is None
    assert read_front([FROM]).certificate is None


@pytest.mark.parametrize(
    "value", [b"", b"::", b":", b"YQ==", b":YQ==", b":Y!==:", b":YQ=:", b":" + b"A" * 40_000 + b":"]
)
def test_certificate_that_is_none_is_refused(value: bytes) -> None:
    assert refused(FROM, (b"client-cert", value)) == "client_cert_malformed"


def test_two_certificates_are_refused() -> None:
    assert refused(FROM, (b"client-cert", b":YQ==:"), (b"client-cert", b":YQ==:")) == "client_cert_malformed"


def test_front_says_what_it_found() -> None:
    shown = (b"client-cert", b":YQ==:")
    assert read_front([FROM, shown]).verification == "good", (
        "a front that says nothing lets only good ones pass"
    )
    for codes, found in (
        (b"0,0", "good"),
        (b"23,0", "revoked"),
        (b"12,12", "good"),
        (b"34,0", "not_verified"),
    ):
        assert read_front([FROM, shown, (b"client-cert-verify", codes)]).verification == found


@pytest.mark.parametrize(
    "value", [b"", b"0", b"0,", b"a,b", b"0,0,0", b"-1,0", b"1000,0", "²,0".encode("latin-1")]
)
def test_what_it_found_is_two_codes(value: bytes) -> None:
    assert refused(FROM, (b"client-cert-verify", value)) == "client_cert_malformed"
    twice = ((b"client-cert-verify", b"0,0"),) * 2
    assert refused(FROM, *twice) == "client_cert_malformed"


@pytest.mark.parametrize("name", [b"client-cert", b"client-cert-chain", b"client-cert-verify"])
def test_certificate_of_a_caller_himself_is_refused(name: bytes) -> None:
    with pytest.raises(DomainError) as error:
        refuse_certificate([(b"host", b"x"), (name, b"")])
    assert error.value.code == "client_cert_not_accepted"
    refuse_certificate([(b"host", b"x"), (b"forwarded", b"for=192.0.2.7")])

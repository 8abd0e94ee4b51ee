from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from tenancy.access.client.certificate import read_pem
from tenancy.access.errors import (
    RevocationListForeign,
    RevocationListMalformed,
    RevocationListOlder,
    RevocationListUnfit,
)
from tenancy.access.revocation.revocation_list import (
    Listing,
    RevocationList,
    authority_of,
    check_newer,
    find_issuer,
    make_list,
    read_list,
)
from tests.service.pki import START, YEAR, Issued, issue, make_authority, make_revocation_list, renew

NOW = START + timedelta(days=100)
CA = make_authority()
MINE, OTHER = issue("CN=mine", issuer=CA), issue("CN=other", issuer=CA)


def kept(text: str, authority: Issued = CA) -> RevocationList:
    return make_list(read_list(text), read_pem(authority.pem), now=NOW)


def der_of(text: str) -> bytes:
    return x509.load_pem_x509_crl(text.encode()).public_bytes(Encoding.DER)


def test_list_is_read_as_pem_or_as_der_in_base64() -> None:
    text = make_revocation_list(CA, MINE, number=42)
    wrapped = base64.encodebytes(der_of(text)).decode()
    for given_text in (text, wrapped, base64.b64encode(der_of(text)).decode()):
        found = kept(given_text)
        assert (found.number, found.entries, found.issuer) == (42, 1, CA.subject)
        assert (found.this_update, found.next_update) == (START, START + YEAR)
        assert found.pem == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAAA",
        "%%%",
        "ü",
        CA.pem,
        make_revocation_list(CA) * 2,
        make_revocation_list(CA)[:-200],
        "A" * 10_000_000,
    ],
    ids=["empty", "zeros", "signs", "umlaut", "certificate", "two", "cut", "long"],
)
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(RevocationListMalformed):
        read_list(text)


@given(place=st.integers(0, 400), value=st.integers(0, 255))
def test_damaged_list_is_refused_and_never_fails(place: int, value: int) -> None:
    der = bytearray(der_of(make_revocation_list(CA, MINE)))
    if der[place % len(der)] == value:
        return
    der[place % len(der)] = value
    text = base64.b64encode(bytes(der)).decode()
    with pytest.raises((RevocationListMalformed, RevocationListForeign)):
        find_issuer(read_list(text), [read_pem(CA.pem)])


def test_list_belongs_to_the_authority_that_signed_it() -> None:
    namesake = make_authority()
    found = read_list(make_revocation_list(CA))
    assert find_issuer(found, [read_pem(namesake.pem), read_pem(CA.pem)]).fingerprint == CA.fingerprint
    for strangers in ([], [read_pem(namesake.pem)], [read_pem(make_authority("CN=x").pem)]):
        with pytest.raises(RevocationListForeign):
            find_issuer(found, strangers)


def test_renewed_authority_is_the_same_and_its_namesake_is_not() -> None:
    ours, renewed, namesake = (read_pem(each.pem) for each in (CA, renew(CA), make_authority()))
    assert authority_of(ours) == authority_of(renewed) != authority_of(namesake)


@pytest.mark.parametrize(
    "text",
    [
        make_revocation_list(CA, lasts=timedelta(days=99)),
        make_revocation_list(CA, this_update=NOW + timedelta(hours=1)),
        make_revocation_list(CA, more=((x509.DeltaCRLIndicator(1), True),)),
        make_revocation_list(
            CA,
            more=(
                (
                    x509.IssuingDistributionPoint(None, None, True, False, None, False, False),
                    True,
                ),
            ),
        ),
        make_revocation_list(CA, number=1 << 16_000),
        make_revocation_list(CA, number=1 << 160),
    ],
    ids=["run out", "early", "of changes", "of a part", "endless number", "long number"],
)
def test_list_that_does_not_hold_everything_now_is_refused(text: str) -> None:
    with pytest.raises(RevocationListUnfit):
        kept(text)


@pytest.mark.parametrize(
    ("number", "days", "wanted"),
    [
        (6, 11, "newer"),
        (6, 10, "newer"),
        (5, 11, "newer"),
        (None, 11, "newer"),
        (5, 10, "revocation_list_older"),
        (4, 11, "revocation_list_older"),
        (6, 9, "revocation_list_older"),
        (None, 9, "revocation_list_older"),
    ],
)
def test_lists_never_go_back(number: int | None, days: int, wanted: str) -> None:
    old = kept(make_revocation_list(CA, MINE, number=5, this_update=START + timedelta(days=10)))
    new = kept(make_revocation_list(CA, number=number, this_update=START + timedelta(days=days)))
    if wanted == "newer":
        check_newer(new, old)
        return
    with pytest.raises(RevocationListOlder):
        check_newer(new, old)


def test_listing_says_who_is_revoked() -> None:
    listing = Listing.of(kept(make_revocation_list(CA, MINE)))
    mine, other, stranger = (read_pem(each.pem) for each in (MINE, OTHER, issue("CN=mine")))
    assert listing.has_issued(mine)
    assert listing.has_issued(other)
    assert not listing.has_issued(stranger)
    assert listing.has_revoked(mine)
    assert not listing.has_revoked(other)

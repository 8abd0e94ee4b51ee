from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.front.errors import HostUnfit
from tenancy.front.host_name import LONGEST_HOST, fits, read_host


@pytest.mark.parametrize(
    ("typed", "host"),
    [
        ("Licenses.ACME.example", "licenses.acme.example"),
        ("  erp.example.com ", "erp.example.com"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("a.b", "a.b"),
    ],
)
def test_host_name_is_kept_as_dns_has_it(typed: str, host: str) -> None:
    assert read_host(typed) == host


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "localhost",
        "192.0.2.1",
        "2001:db8::1",
        "[2001:db8::1]",
        "*.example.com",
        "example.com.",
        ".example.com",
        "a..b",
        "-a.example",
        "a-.example",
        "a_b.example",
        "a b.example",
        "a.example;b",
        "a.example\nset server",
        "a.example\x00",
        "a.example'",
        'a.example"',
        "a.$HOME",
        "%[env(HOME)].example",
        "a.example/path",
        "a.example:443",
        "x" * 64 + ".example",
        "a." * 100 + "example",
        "xn--a.example",
        "\udcff.example",
        "a" * 10_000_000,
    ],
)
def test_what_is_no_host_name_is_refused(typed: str) -> None:
    with pytest.raises(HostUnfit):
        read_host(typed)


@given(st.text(max_size=300))
def test_whatever_is_typed_ends_as_letters_digits_hyphens_and_dots_or_is_refused(typed: str) -> None:
    try:
        host = read_host(typed)
    except HostUnfit:
        return
    assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert 3 <= len(host) <= LONGEST_HOST
    assert read_host(host) == host


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [
        ("erp.example.com", True),
        ("ERP.example.com", True),
        ("*.example.com", True),
        ("*.com", False),
        ("*.erp.example.com", False),
        ("crm.example.com", False),
        ("example.com", False),
        ("*", False),
    ],
)
def test_wildcard_of_a_certificate_stands_for_one_label(pattern: str, holds: bool) -> None:
    assert fits("erp.example.com", pattern) is holds

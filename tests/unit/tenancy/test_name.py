from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.errors import NameUnfit
from tenancy.name import NAME_PATTERN, RESERVED_NAMES, check_name, is_name, make_username


@pytest.mark.parametrize("name", ["abc", "a1b", "acme-software", "0-0", "a" * 40, "a--b"])
def test_fit_name_is_returned(name: str) -> None:
    assert check_name(name) == name
    assert is_name(name)


@given(st.one_of(st.text(max_size=45), st.sampled_from(sorted(RESERVED_NAMES)), st.from_regex(NAME_PATTERN)))
def test_is_name_agrees_with_check_name(name: str) -> None:
    try:
        check_name(name)
    except NameUnfit:
        assert not is_name(name)
    else:
        assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "ab",
        "a" * 41,
        "-ab",
        "ab-",
        "Abc",
        "a_b",
        "a.b",
        "a b",
        "ä-bc",
        "abc\n",
        "a/b",
        "a;b",
        "a\x00b",
        "...",
    ],
)
def test_name_that_breaks_the_rules_is_unfit(name: str) -> None:
    with pytest.raises(NameUnfit) as refused:
        check_name(name)
    assert refused.value.code == "name_unfit"


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_reserved_name_is_unfit(name: str) -> None:
    with pytest.raises(NameUnfit):
        check_name(name)


def test_every_first_url_segment_of_the_platform_is_reserved() -> None:
    segments = {
        "admin",
        "portal",
        "console",
        "status",
        "livez",
        "readyz",
        "metrics",
        "problems",
        "docs",
        "static",
        "api",
    }
    assert segments <= RESERVED_NAMES


@given(st.text(max_size=45))
def test_whatever_passes_is_a_plain_url_segment_and_fits_the_published_pattern(name: str) -> None:
    try:
        check_name(name)
    except NameUnfit:
        assert name in RESERVED_NAMES or not re.fullmatch(NAME_PATTERN[1:-1], name)
    else:
        assert re.fullmatch(r"[a-z0-9-]{3,40}", name)
        assert re.fullmatch(NAME_PATTERN[1:-1], name)


def test_user_name_says_where_it_belongs() -> None:
    assert make_username("acme", "erp") == "acme.erp"

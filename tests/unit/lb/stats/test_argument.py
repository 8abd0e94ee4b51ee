"""Arguments before they are sent: what is let through can be no second command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.errors import HaproxyArgumentInvalid
from lb.stats.argument import (
    require_address,
    require_crt_option,
    require_int,
    require_ip,
    require_key,
    require_name,
    require_path,
    require_pattern,
    require_sni_filter,
    require_time,
    require_value,
    require_word,
)

NO_WORD = set("; \t\r\n\v\f\\\"'`$<>&(){}?^\0")
ON_THE_LINE: tuple[Callable[[str, str], str], ...] = (
    require_word,
    require_name,
    require_path,
    require_pattern,
    require_ip,
    require_address,
)


@pytest.mark.parametrize("require", ON_THE_LINE)
@given(value=st.text())
def test_what_goes_on_the_line_is_one_word(require: Callable[[str, str], str], value: str) -> None:
    try:
        passed = require("field", value)
    except HaproxyArgumentInvalid:
        return
    assert passed
    assert passed.isascii()
    assert not NO_WORD & set(passed)


@given(value=st.text(min_size=1))
def test_key_and_value_are_one_line_and_keep_their_blanks(value: str) -> None:
    for require, blanks in ((require_key, 0), (require_value, value.count(" "))):
        try:
            passed = require("field", value)
        except HaproxyArgumentInvalid:
            continue
        assert passed == value
        assert len(passed.splitlines()) == 1
        assert passed.count(" ") == blanks
        assert passed == passed.strip()
        assert passed.encode()


@pytest.mark.parametrize("value", ["l1", "set_a", "a.b:c-d", "x" * 128])
def test_names_that_haproxy_allows_pass(value: str) -> None:
    assert require_name("name", value) == value


@pytest.mark.parametrize("value", ["", "a b", "a/b", "a;b", "ä", "a\n", "x" * 129, "#1", "@1"])
def test_other_names_are_refused(value: str) -> None:
    with pytest.raises(HaproxyArgumentInvalid) as refused:
        require_name("server", value)
    assert (refused.value.field, refused.value.code) == ("server", "haproxy_argument_invalid")


@pytest.mark.parametrize("value", ["/a/b-c_d.pem", "maps/x.map", "/a+b@c=d,e~f"])
def test_paths_pass(value: str) -> None:
    assert require_path("file", value) == value


@pytest.mark.parametrize(
    "value", ["", "#1", "@1", "*x", "-f", "/a b", "/ä", "/a\nb", "/a;b", "/" + "x" * 512]
)
def test_what_a_command_would_read_otherwise_is_no_path(value: str) -> None:
    with pytest.raises(HaproxyArgumentInvalid):
        require_path("file", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("unix@/run/l1.sock", "unix@/run/l1.sock"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[::1]:080", "[::1]:80"),
        ("line-1.example:65535", "line-1.example:65535"),
    ],
)
def test_addresses_pass_in_the_one_form(value: str, expected: str) -> None:
    assert require_address("address", value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *("", "host", "host:", "host:0", "host:65536", "host:-1", "host:1a", ":80", "a b:80", "host:٣"),
        *(
            "::1:80",
            "[::g]:80",
            "[fe80::1%eth0]:80",
            "unix@",
            "unix@rel",
            "unix@/" + "x" * 107,
            "fd@3",
            "-h:1",
        ),
    ],
)
def test_other_addresses_are_refused(value: str) -> None:
    with pytest.raises(HaproxyArgumentInvalid):
        require_address("address", value)


@pytest.mark.parametrize("value", ["a.example", "*.a.example", "!x.a.example", "xn--bcher-kva.example"])
def test_filters_pass(value: str) -> None:
    assert require_sni_filter("filter", value) == value


@pytest.mark.parametrize("value", ["", "*", "a b", "a]", "[a", "a..b", "a\n", "x" * 256, "a.*.b"])
def test_other_filters_are_refused(value: str) -> None:
    with pytest.raises(HaproxyArgumentInvalid):
        require_sni_filter("filter", value)


@pytest.mark.parametrize("value", ["a]", "[", "alpn  h2", " alpn", "alpn h2;x", "a\nb", "", "#x"])
def test_options_that_end_the_bracket_or_the_line_are_refused(value: str) -> None:
    with pytest.raises(HaproxyArgumentInvalid):
        require_crt_option("option", value)


def test_times_are_whole_milliseconds_up_to_a_day() -> None:
    assert require_time("inter", timedelta(milliseconds=300)) == "300ms"
    assert require_time("inter", timedelta(hours=24)) == "86400000ms"
    for value in (timedelta(0), timedelta(microseconds=999), timedelta(seconds=-1), timedelta(hours=25)):
        with pytest.raises(HaproxyArgumentInvalid):
            require_time("inter", value)


def test_truth_is_no_number() -> None:
    assert require_int("weight", 0, low=0, high=256) == 0
    for value in (True, -1, 257):
        with pytest.raises(HaproxyArgumentInvalid):
            require_int("weight", value, low=0, high=256)


@pytest.mark.parametrize("key", ["ins_1|3", "ins_1.0a1b|p|/erp/", "10.0.0.0/8", "2001:db8::/32"])
def test_keys_of_rules_and_networks_are_plain_words(key: str) -> None:
    assert require_pattern("key", key) == key

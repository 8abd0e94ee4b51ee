"""PEM as a payload: only whole blocks of the expected kinds, and no line that would end it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.errors import HaproxyArgumentInvalid, HaproxyTooLarge
from lb.stats.pem import (
    LONGEST,
    count_distinct,
    require_authorities,
    require_certificate,
    require_revocation_lists,
)
from tests.service.pki import issue_for_host, make_authority, make_revocation_list

AUTHORITY = make_authority("CN=One")
OTHER = make_authority("CN=Two")
HOST = issue_for_host("a.example", issuer=AUTHORITY)
LIST = make_revocation_list(AUTHORITY)
REQUIRES = (require_certificate, require_authorities, require_revocation_lists)


def test_certificate_with_chain_and_key_passes_whatever_stands_between() -> None:
    text = f"subject: a\r\n\n{HOST.pem}\n\n; set server x\n{AUTHORITY.pem}{HOST.key_pem}".replace(
        "\n", "\r\n"
    )
    assert require_certificate("pem", text) == HOST.pem + AUTHORITY.pem + HOST.key_pem


@pytest.mark.parametrize(
    "text",
    [
        "",
        HOST.pem,
        HOST.key_pem,
        HOST.pem + HOST.key_pem + HOST.key_pem,
        HOST.pem + LIST + HOST.key_pem,
        HOST.pem + HOST.key_pem.replace("EC PRIVATE", "ENCRYPTED PRIVATE"),
        HOST.pem + HOST.key_pem.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n", 1),
        HOST.pem.replace("-----END CERTIFICATE-----\n", "") + HOST.key_pem,
        HOST.pem.replace("-----END CERTIFICATE", "-----END PRIVATE KEY") + HOST.key_pem,
        HOST.pem.replace("MII", "M;I", 1) + HOST.key_pem,
        HOST.pem.replace("MII", "MI", 1) + HOST.key_pem,
    ],
)
def test_other_material_for_a_host_is_refused(text: str) -> None:
    with pytest.raises(HaproxyArgumentInvalid) as refused:
        require_certificate("pem", text)
    assert refused.value.field == "pem"
    assert "KEY-----" not in str(refused.value)


def test_each_kind_of_file_takes_its_own_blocks_only() -> None:
    assert require_authorities("pem", AUTHORITY.pem + OTHER.pem) == AUTHORITY.pem + OTHER.pem
    assert require_revocation_lists("pem", LIST) == LIST
    for require, text in (
        (require_authorities, LIST),
        (require_authorities, AUTHORITY.pem + AUTHORITY.key_pem),
        (require_revocation_lists, AUTHORITY.pem),
        (require_revocation_lists, ""),
    ):
        with pytest.raises(HaproxyArgumentInvalid):
            require("pem", text)


def test_the_same_block_counts_once() -> None:
    assert count_distinct(AUTHORITY.pem + OTHER.pem + AUTHORITY.pem) == 2


def test_more_than_anybody_has_is_not_even_looked_at() -> None:
    with pytest.raises(HaproxyTooLarge):
        require_authorities("pem", "\n" * (LONGEST + 1))


@pytest.mark.parametrize("require", REQUIRES)
@given(
    pieces=st.lists(
        st.one_of(
            st.sampled_from(
                [AUTHORITY.pem, HOST.pem, HOST.key_pem, LIST, "\n", "\n\n", "-----BEGIN CERTIFICATE-----\n"]
            ),
            st.sampled_from(
                ["-----END CERTIFICATE-----\n", "set server main/l1 weight 9\n", "AAAA\n", "\0", "\r"]
            ),
            st.text(max_size=10),
        ),
        max_size=8,
    )
)
def test_what_passes_is_blocks_without_an_empty_line(
    require: Callable[[str, str], str], pieces: list[str]
) -> None:
    try:
        payload = require("pem", "".join(pieces))
    except HaproxyArgumentInvalid:
        return
    assert payload.isascii()
    assert payload.endswith("-----\n")
    assert "\n\n" not in payload
    assert not any(line.isspace() for line in payload.split("\n")[:-1])
    assert "set server" not in payload

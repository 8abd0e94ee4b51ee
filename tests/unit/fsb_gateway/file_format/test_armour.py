from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsb_gateway.error import FileMalformed
from fsb_gateway.file_format.armour import SIZE_LIMIT, read_armour, write_armour
from fsb_gateway.file_format.base64url import decode_base64url, encode_base64url

TOKEN = ".".join(encode_base64url(bytes([letter]) * 70) for letter in b"abc")


@given(st.binary(max_size=400))
def test_base64url_gives_back_what_it_was_given(data: bytes) -> None:
    assert decode_base64url(encode_base64url(data)) == data


@pytest.mark.parametrize("text", ["A", "AB", "AA==", "A+A", "A/A", "A A", "é", "AAA\n", "AB-_="])
def test_base64url_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(FileMalformed):
        decode_base64url(text)


def test_token_survives_armour_with_lines_of_64() -> None:
    text = write_armour("CONTEXT", TOKEN)
    assert read_armour(text, "CONTEXT") == ("CONTEXT", TOKEN)
    assert max(map(len, text.splitlines())) == 64
    assert text.startswith("-----BEGIN WOPS CONTEXT-----\n")
    assert text.endswith("\n-----END WOPS CONTEXT-----\n")


def test_windows_line_ends_and_blank_space_around_are_accepted() -> None:
    text = "\r\n \t" + write_armour("CONTEXT", TOKEN).replace("\n", "\r\n") + "\r\n\r\n"
    assert read_armour(text, "CONTEXT") == ("CONTEXT", TOKEN)


ARMOURED = write_armour("CONTEXT", TOKEN)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(ARMOURED.replace("END WOPS CONTEXT", "END WOPS UPDATE"), id="two labels"),
        pytest.param(ARMOURED.replace("WOPS", "PGP"), id="other product"),
        pytest.param(ARMOURED.replace("CONTEXT", "UPDATE"), id="other kind"),
        pytest.param(ARMOURED + ARMOURED, id="twice"),
        pytest.param(ARMOURED.replace("\n", "\n\n", 1), id="empty line"),
        pytest.param(ARMOURED[:70] + "\n" + ARMOURED[70:], id="other folding"),
        pytest.param(ARMOURED.replace("Y", "*", 1), id="other character"),
        pytest.param(ARMOURED[:60] + "\0" + ARMOURED[61:], id="zero byte"),
        pytest.param(write_armour("CONTEXT", TOKEN.replace(".", "", 1)), id="two segments"),
        pytest.param("x" * (SIZE_LIMIT + 1), id="too large"),
        pytest.param("-----BEGIN WOPS CONTEXT-----\n\n-----END WOPS CONTEXT-----\n", id="no content"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(FileMalformed):
        read_armour(text, "CONTEXT")


def test_other_kind_is_refused_and_named() -> None:
    with pytest.raises(FileMalformed) as caught:
        read_armour(write_armour("RECEIPT", TOKEN), "CONTEXT")
    assert caught.value.detail == {"kind": "receipt"}

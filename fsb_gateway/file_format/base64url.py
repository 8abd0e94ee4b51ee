"""Base64url without padding, in its canonical form only. **Source:** RFC 7515 §2, RFC 4648 §3.5."""

from __future__ import annotations

import binascii

from fsb_gateway.error import FileMalformed

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def encode_base64url(data: bytes) -> str:
    """Write bytes as base64url."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def decode_base64url(text: str) -> bytes:
    """Undo `encode_base64url`.

    Raises:
        FileMalformed: the text is not base64url, or not in the form that `encode_base64url` writes: several texts for
            one content would give one file several digests.
    """
    try:
        standard = text.encode("ascii").translate(_FROM_URL)
        data = binascii.a2b_base64(standard + b"=" * (-len(standard) % 4))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise FileMalformed("the content of the file is not base64url") from error
    if encode_base64url(data) != text:
        raise FileMalformed("the content of the file is not canonical base64url")
    return data

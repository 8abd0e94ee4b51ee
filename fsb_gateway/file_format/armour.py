"""The text form of a file: a label line, compact JOSE folded at 64 characters, an end line.

It survives mail, copy and paste and a text editor; anything else is refused rather than repaired.
"""

from __future__ import annotations

import re
from typing import Literal

from fsb_gateway.error import FileMalformed
from fsb_gateway.file_format.base64url import decode_base64url

Kind = Literal["CONTEXT", "UPDATE", "RECEIPT"]

# **Source:** RFC 7468 §2 folds at 64. The limit holds about 1,000 licences and bounds what a stranger makes us parse.
LINE_LENGTH = 64
SIZE_LIMIT = 256 * 1024

_FILE = re.compile(
    r"-----BEGIN WOPS (CONTEXT|UPDATE|RECEIPT)-----\n([A-Za-z0-9_.\n-]+)\n-----END WOPS \1-----\Z"
)
_SEGMENTS = {"CONTEXT": 3, "RECEIPT": 3, "UPDATE": 5}


def write_armour(kind: Kind, token: str) -> str:
    """Wrap a compact JOSE token; the text ends with a newline."""
    lines = [token[start : start + LINE_LENGTH] for start in range(0, len(token), LINE_LENGTH)]
    return "\n".join((f"-----BEGIN WOPS {kind}-----", *lines, f"-----END WOPS {kind}-----", ""))


def read_armour(text: str, *kinds: Kind) -> tuple[Kind, str]:
    """Take the compact token out of a file of one of the kinds.

    Windows line ends and blank space around the file are accepted, nothing else.

    Raises:
        FileMalformed: too large, another kind, other folding, other characters, not canonical base64url.
    """
    if len(text) > SIZE_LIMIT:
        raise FileMalformed(f"the file is larger than {SIZE_LIMIT} characters", limit=SIZE_LIMIT)
    match = _FILE.match(text.replace("\r\n", "\n").strip(" \t\r\n"))
    if match is None:
        raise FileMalformed("this is not a context, update or receipt of wops")
    kind: Kind = match[1]  # type: ignore[assignment]  # the pattern allows these three only
    if kind not in kinds:
        raise FileMalformed(
            f"this is a {kind.lower()}, expected: {', '.join(kinds).lower()}", kind=kind.lower()
        )
    lines = match[2].split("\n")
    if any(len(line) != LINE_LENGTH for line in lines[:-1]) or not 0 < len(lines[-1]) <= LINE_LENGTH:
        raise FileMalformed(f"the lines of the file are not folded at {LINE_LENGTH} characters")
    token = "".join(lines)
    _check_segments(kind, token)
    return kind, token


def _check_segments(kind: Kind, token: str) -> None:
    segments = token.split(".")
    if len(segments) != _SEGMENTS[kind]:
        raise FileMalformed("the content of the file is not a compact JOSE token")
    for segment in segments:
        decode_base64url(segment)

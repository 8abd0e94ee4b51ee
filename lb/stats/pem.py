"""PEM as a payload, checked before it is sent. Pure.

HAProxy skips what it does not look for: a file of certificates given as a revocation list makes an empty list and
counts as success. So each kind of file says which blocks it has.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from lb.errors import HaproxyArgumentInvalid, HaproxyTooLarge

CERTIFICATE: Final = "CERTIFICATE"
REVOCATION_LIST: Final = "X509 CRL"
KEYS: Final = frozenset({"PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"})
LONGEST: Final = 4 * 1024 * 1024
"""Characters that are looked at; no HAProxy that also serves requests has a buffer of that size."""
_PARAMETERS: Final = frozenset({"EC PARAMETERS", "DH PARAMETERS"})

_BLOCK = re.compile(
    r"-----BEGIN (?P<label>[A-Z0-9 ]{1,40})-----\n(?P<body>[A-Za-z0-9+/=\n]+)-----END (?P=label)-----\n"
)


def require_certificate(field: str, text: str) -> str:
    """Certificate, chain and exactly one key that needs no passphrase: HAProxy would ask its terminal for one.

    Raises:
        HaproxyArgumentInvalid: it is something else.
    """
    payload, labels = _blocks(field, text, KEYS | _PARAMETERS | {CERTIFICATE})
    if CERTIFICATE not in labels or sum(label in KEYS for label in labels) != 1:
        raise HaproxyArgumentInvalid(field, "has a certificate, its chain and one private key")
    return payload


def require_authorities(field: str, text: str) -> str:
    """One certificate or more, and nothing else."""
    payload, _ = _blocks(field, text, frozenset({CERTIFICATE}))
    return payload


def require_revocation_lists(field: str, text: str) -> str:
    """One revocation list or more, and nothing else."""
    payload, _ = _blocks(field, text, frozenset({REVOCATION_LIST}))
    return payload


def count_distinct(payload: str) -> int:
    """Different blocks: HAProxy keeps each once."""
    return len({match["body"].replace("\n", "") for match in _BLOCK.finditer(payload)})


def _blocks(field: str, text: str, allowed: frozenset[str]) -> tuple[str, list[str]]:
    """The blocks in their order, without the empty lines and the words between them, and their labels."""
    if len(text) > LONGEST:
        raise HaproxyTooLarge(field, f"has at most {LONGEST} characters")
    lines = [line.rstrip(" \t\r") for line in text.split("\n")]
    joined = "".join(f"{line}\n" for line in _within_blocks(lines))
    matches = list(_BLOCK.finditer(joined))
    if not matches or "".join(match[0] for match in matches) != joined:
        raise HaproxyArgumentInvalid(field, "is PEM: whole blocks of base64, none encrypted")
    labels = [match["label"] for match in matches]
    if not allowed.issuperset(labels) or not all(_is_base64(match["body"]) for match in matches):
        raise HaproxyArgumentInvalid(field, f"is PEM of {', '.join(sorted(allowed))} only")
    return joined, labels


def _within_blocks(lines: list[str]) -> list[str]:
    """Lines from a BEGIN to its END; what stands outside is prose, and empty lines mean nothing."""
    kept: list[str] = []
    inside = False
    for line in lines:
        inside = inside or line.startswith("-----BEGIN ")
        if inside and line:
            kept.append(line)
        inside = inside and not line.startswith("-----END ")
    return kept


def _is_base64(body: str) -> bool:
    try:
        base64.b64decode(body.replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True

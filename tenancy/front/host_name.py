"""Host names as the front compares them: A-labels in small letters. Pure.

**Source:** RFC 5890 §2.3.2.1 (A-labels), RFC 5891 §4 (registration), RFC 1123 §2.1 (letters, digits, hyphens),
RFC 6066 §3 (no addresses in SNI).
"""

from __future__ import annotations

import re
from typing import Final

import idna

from tenancy.front.errors import HostUnfit

LONGEST_HOST: Final = 191
"""Characters as A-labels. DNS allows 253; names in use are far shorter, and this many fit an index."""
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def read_host(text: str) -> str:
    """A host name as somebody typed it, in the one form in which host names are compared.

    Raises:
        HostUnfit: it is none, or an address, or has one label only, or is too long.
    """
    if len(text) > LONGEST_HOST:
        raise _unfit()
    try:
        host = idna.encode(text.strip(), uts46=True, std3_rules=True).decode("ascii").lower()
    except UnicodeError:
        raise _unfit() from None
    labels = host.split(".")
    is_name = len(labels) > 1 and all(map(_LABEL.fullmatch, labels))
    # Whoever writes four numbers means an address; no top-level domain begins with a digit.
    if not is_name or len(host) > LONGEST_HOST or labels[-1][0].isdigit():
        raise _unfit()
    return host


def fits(host: str, pattern: str) -> bool:
    """Whether a name of a certificate, maybe `*.example.com`, stands for a host. **Source:** RFC 6125 §6.4.3."""
    pattern = pattern.lower()
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return host == pattern


def _unfit() -> HostUnfit:
    return HostUnfit(
        f"Name a host such as licenses.example.com, at most {LONGEST_HOST} characters; no address and no wildcard.",
        field="host",
    )

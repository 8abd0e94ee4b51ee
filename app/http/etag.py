"""Versions as strong ETags; a change needs the version it is based on (RFC 9110 §13.1.1, RFC 6585 §3)."""

from __future__ import annotations

import re
from typing import Final

from app.core.errors import DomainError

IF_MATCH: Final = 'The ETag that you read, for example `"3"`.'
_ETAG: Final = re.compile(r'"(\d{1,9})"')


class IfMatchMissing(DomainError):
    """A change of configuration has to say which version it is based on."""

    code = "if_match_missing"


class IfMatchStale(DomainError):
    """The ETag names no version of this resource."""

    code = "if_match_stale"


def etag_of(version: int) -> str:
    """The strong ETag of a version."""
    return f'"{version}"'


def version_of(if_match: str | None) -> int:
    """The version that a change is based on.

    Raises:
        IfMatchMissing: none given, or `*`, which protects nobody.
        IfMatchStale: not an ETag of ours.
    """
    if if_match is None or if_match.strip() == "*":
        raise IfMatchMissing("Read the resource first and send its ETag as If-Match.", header="If-Match")
    match = _ETAG.fullmatch(if_match.strip())
    if match is None:
        raise IfMatchStale("This ETag is not one of this resource; read it again.", header="If-Match")
    return int(match[1])

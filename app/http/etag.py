"""Versions as strong ETags; a change needs the version it is based on (RFC 9110 §13.1.1, RFC 6585 §3)."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Header

from app.core.errors import DomainError

IfMatch = Annotated[str | None, Header(description='The ETag that you read, for example `"3"`.')]
_ETAG: Final = re.compile(r'"(\d{1,9})"')
_LIST: Final = re.compile(r'\s*(?:W/)?"[^"]*"\s*(?:,\s*(?:W/)?"[^"]*"\s*)*')
_ANY_ETAG: Final = re.compile(r'(?:W/)?"[^"]*"')


class IfMatchMissing(DomainError):
    """A change of configuration has to say which version it is based on."""

    code = "if_match_missing"


class IfMatchAny(DomainError):
    """`*` matches whatever is there: that protects nobody from overwriting what he has not read."""

    code = "if_match_any"


class IfMatchStale(DomainError):
    """The ETag names no version of this resource."""

    code = "if_match_stale"


def etag_of(version: int) -> str:
    """The strong ETag of a version."""
    return f'"{version}"'


def version_of(if_match: str | None) -> int:
    """The version that a change is based on. In a list, weak ETags and those that are none of ours match nothing.

    Raises:
        IfMatchMissing: none given.
        IfMatchAny: `*`, which protects nobody.
        IfMatchStale: no ETag of ours, or several: a change is based on one version.
    """
    if if_match is None:
        raise IfMatchMissing("Read the resource first and send its ETag as If-Match.", header="If-Match")
    if if_match.strip() == "*":
        raise IfMatchAny("Send the ETag of the version that you have read, not `*`.", header="If-Match")
    given = _ANY_ETAG.findall(if_match) if _LIST.fullmatch(if_match) else []
    versions = {int(match[1]) for match in map(_ETAG.fullmatch, given) if match is not None}
    if len(versions) != 1:
        raise IfMatchStale("This ETag is not one of this resource; read it again.", header="If-Match")
    return versions.pop()

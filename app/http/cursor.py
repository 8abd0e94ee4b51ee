"""Cursors of lists: opaque, and of use only where they were made.

A cursor carries the id after which the next page starts, and a keyed digest over it, the list and its
filter: one made at another instance, for another list or another filter is refused, and so is one that
somebody made up.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from app.core.errors import DomainError

_TAG_BYTES: Final = 12


class CursorInvalid(DomainError):
    """Not a cursor of this list."""

    code = "cursor_invalid"


class CursorCodec:
    """Makes and reads cursors under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, after: str, *, scope: str) -> str:
        """A cursor to the page after an id.

        Args:
            after: the last id of this page.
            scope: instance, list and filter, as one text.
        """
        return base64.urlsafe_b64encode(self._tag(after, scope) + after.encode()).decode().rstrip("=")

    def decode(self, cursor: str | None, *, scope: str) -> str:
        """The id in a cursor; empty for the first page.

        Raises:
            CursorInvalid: not made here for this list.
        """
        if cursor is None:
            return ""
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            after = raw[_TAG_BYTES:].decode()
        except (binascii.Error, ValueError):
            raise _invalid() from None
        if not hmac.compare_digest(raw[:_TAG_BYTES], self._tag(after, scope)):
            raise _invalid()
        return after

    def _tag(self, after: str, scope: str) -> bytes:
        return hmac.new(self._key, f"{scope}\x00{after}".encode(), hashlib.sha256).digest()[:_TAG_BYTES]


def _invalid() -> CursorInvalid:
    return CursorInvalid("This cursor belongs to another list or filter. Start again without one.")

"""The audit chain: each entry's hash covers its predecessor's.

Nothing can be changed, removed or put in between unseen by anybody who holds one later hash.

    hash(n) = SHA-256(hash(n-1) ":" SHA-256(entry n))

An entry is hashed as the JSON array of its fields as they are stored, texts as texts: no parsing, no sorting, no
second form. Pure.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Final, NamedTuple

GENESIS: Final = "0" * 64
"""Stands before the first entry."""

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class ChainEntry(NamedTuple):
    """An event as it is hashed; the order of the fields is part of the format.

    Attributes:
        data, actor, before_change: JSON texts, as stored.
        actor, action, request_id, reason, before_change: None in entries older than the chain.
    """

    sequence: int
    event_id: str
    type: str
    subject: str
    data: str
    op_id: str
    occurred_at_us: int
    actor: str | None
    action: str | None
    request_id: str | None
    reason: str | None
    before_change: str | None


def entry_digest(entry: ChainEntry) -> str:
    """SHA-256 of one entry in hexadecimal digits; stands for the entry where it must not be shown."""
    return sha256(_encode(entry).encode()).hexdigest()


def link_digest(previous: str, digest: str) -> str:
    """The hash of the entry with that digest, after the one with the previous hash."""
    return sha256(f"{previous}:{digest}".encode()).hexdigest()


def link_hash(previous: str, entry: ChainEntry) -> str:
    """The hash of an entry after the one with the previous hash."""
    return link_digest(previous, entry_digest(entry))

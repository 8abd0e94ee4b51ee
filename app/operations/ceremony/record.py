"""The record of a key ceremony: a document that never changes, and its digest. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from app.core.json import JsonObject, dump_json


@dataclass(frozen=True, slots=True, kw_only=True)
class CeremonyRecord:
    """A record and the names that go with it.

    Attributes:
        document: everything that is stored; people by id alone, so that forgetting one changes nothing here.
        people: names of the people in it, by id, as long as they are known.
    """

    document: JsonObject
    people: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of the document's canonical text, 64 hex digits."""
        return sha256(dump_json(self.document).encode()).hexdigest()

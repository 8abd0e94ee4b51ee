"""The record of a key ceremony as the admin API shows it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from app.http.schema.model import AnswerModel
from app.operations.ceremony.record import CeremonyRecord


class CeremonyRead(AnswerModel):
    """What was done to firm keys in one operation."""

    document: dict[str, Any] = Field(
        description="Operation, approval, keys, steps, log and audit entries; people by id alone. It never changes."
    )
    sha256: str = Field(
        description="Of the document as JSON with sorted keys, without spaces, in UTF-8: the record's own digest."
    )
    people: dict[str, str] = Field(
        description="Names of the people in it, by id, as long as they are known; not part of the digest."
    )

    @classmethod
    def of(cls, record: CeremonyRecord) -> CeremonyRead:
        """From the domain's value."""
        return cls(document=record.document, sha256=record.digest, people=dict(record.people))

"""What probes have found, as staff see it."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Self

from pydantic import Field

from app.http.schema.model import AnswerModel
from app.operations.probe.isolation import Check, ProbeResult


class CheckRead(AnswerModel):
    """One thing that was tried."""

    check: str = Field(description="What was tried.")
    instance: str = Field(description="Who tried it.")
    other: str = Field(description="What must have stayed closed.")
    outcome: str = Field(description="held, broken, not_applicable (another kind of database), unknown.")
    detail: str

    @classmethod
    def of(cls, check: Check) -> Self:
        """Show a check."""
        return cls(
            check=check.check,
            instance=check.instance,
            other=check.other,
            outcome=check.outcome,
            detail=check.detail,
        )


class ProbeResultRead(AnswerModel):
    """One round of a probe."""

    probe: str
    started_at: datetime
    finished_at: datetime
    held: bool = Field(description="Nothing was broken, and of each kind of check something was proved.")
    checks: list[CheckRead]

    @classmethod
    def of(cls, result: ProbeResult) -> Self:
        """Show a round."""
        return cls(
            probe=result.probe,
            started_at=result.started_at,
            finished_at=result.finished_at,
            held=result.held,
            checks=[CheckRead.of(each) for each in result.checks],
        )


PROBE_RESULT: Final = {
    "probe": "isolation",
    "started_at": "2026-11-21T10:00:00Z",
    "finished_at": "2026-11-21T10:00:02Z",
    "held": True,
    "checks": [
        {
            "check": "foreign_database",
            "instance": "acme-hp",
            "other": "bravo-ha",
            "outcome": "held",
            "detail": "refused",
        }
    ],
}

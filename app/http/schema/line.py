"""Lines as the admin API and the portal show and take them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field, StrictInt

from app.core.clock import to_text
from app.core.json import JsonObject
from app.http.schema.box import Why
from app.http.schema.model import AnswerModel, Moment, RequestModel
from tenancy.line.record import MOST_WEIGHT, LineRecord
from tenancy.runner.port import LineSeen

PhaseName = Literal["planned", "joining", "active", "leaving", "ended"]
UserName = Literal["staff", "customer", "reconciler"]
StateName = Literal["starting", "ready", "draining", "waiting", "frozen", "absent"]

_FRONT_KNOWS_SECONDS: Final = 2
"""The front follows changes within a second; until then it may send one more request. Our own decision."""

LINE: Final[dict[str, Any]] = {
    "line_id": "acme-ha-1",
    "number": 1,
    "weight": 100,
    "phase": "active",
    "in_service": True,
    "out_by": None,
    "out_reason": None,
    "out_since": None,
    "temporary": False,
    "starts_at": None,
    "ends_at": None,
    "contract_id": None,
    "version": 1,
    "state": "ready",
    "process_id": 4711,
    "restarts": 0,
    "next_start_at": None,
    "running": 3,
    "applied_version": 12,
    "problem": None,
    "idle_within_seconds": None,
}
DRAINED: Final[dict[str, Any]] = {
    **LINE,
    "in_service": False,
    "out_by": "staff",
    "out_reason": "Ticket 4711: new memory.",
    "out_since": "2026-11-21T10:15:00Z",
    "version": 2,
    "idle_within_seconds": 30,
}
TEMPORARY: Final[dict[str, Any]] = {
    **LINE,
    "line_id": "acme-ha-3",
    "number": 3,
    "temporary": True,
    "starts_at": "2026-11-27T06:00:00Z",
    "ends_at": "2026-12-01T06:00:00Z",
    "contract_id": "ctr_019b0a3c3b2c7d3e8f9a0b1c2d3e4f5a",
}
_OF_PROCESS: Final = (
    "state",
    "process_id",
    "restarts",
    "next_start_at",
    "running",
    "applied_version",
    "problem",
    "idle_within_seconds",
)
EMBEDDED: Final[dict[str, Any]] = {**LINE, **dict.fromkeys(_OF_PROCESS)}
OWN: Final[dict[str, Any]] = {
    name: LINE[name]
    for name in (
        "line_id",
        "number",
        "weight",
        "phase",
        "in_service",
        "out_by",
        "out_since",
        "temporary",
        "starts_at",
        "ends_at",
        "state",
    )
}
ADD: Final[dict[str, Any]] = {
    "starts_at": "2026-11-27T06:00:00Z",
    "ends_at": "2026-12-01T06:00:00Z",
    "reason": "Ticket 4711: Black Friday.",
}


class LineAddBody(RequestModel):
    """A line for a time."""

    model_config = ConfigDict(json_schema_extra={"examples": [ADD]})

    starts_at: Moment | None = Field(
        default=None, description="From when on it takes requests; null: as soon as it is approved and ready."
    )
    ends_at: Moment = Field(description="When it ends by itself; within a year.")
    reason: Why

    def asked(self) -> JsonObject:
        """As the second person reads it, and the domain takes it."""
        return {
            "starts_at": None if self.starts_at is None else to_text(self.starts_at),
            "ends_at": to_text(self.ends_at),
        }


class LineChangeBody(RequestModel):
    """How many requests a line gets."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"weight": 50}]})

    weight: StrictInt = Field(
        description=f"0 to {MOST_WEIGHT}, compared with the instance's other lines; 0: no requests.",
        ge=0,
        le=MOST_WEIGHT,
    )


class LineRead(AnswerModel):
    """A line, what is wanted of it beside what is seen of it. From `state` on: null where it has no process."""

    line_id: str
    number: int
    weight: int
    phase: PhaseName = Field(description="Permanent lines are always active.")
    in_service: bool = Field(description="Whether the front sends it requests, if it has any weight.")
    out_by: UserName | None = Field(description="Who has taken it out of service.")
    out_reason: str | None
    out_since: datetime | None
    temporary: bool
    starts_at: datetime | None
    ends_at: datetime | None
    contract_id: str | None = Field(description="Of a temporary line: the contract row that it stands for.")
    version: int
    state: StateName | None = Field(
        description="waiting: ended by itself, started again after a pause; frozen: lives and does not answer."
    )
    process_id: int | None
    restarts: int | None = Field(description="How often it has ended by itself.")
    next_start_at: datetime | None
    running: int | None = Field(description="Requests under way.")
    applied_version: int | None = Field(description="Of the list of instances that it serves.")
    problem: str | None = Field(description="What it complains of, or last ended with.")
    idle_within_seconds: int | None = Field(
        description="Out of service: after which time nothing runs any more, at the latest; in service: null."
    )

    @classmethod
    def of(cls, line: LineRecord, seen: LineSeen | None, *, longest_request: int, now: datetime) -> LineRead:
        """From the domain's values.

        Args:
            longest_request: seconds that a request may take.
        """
        return cls(
            line_id=line.line_id,
            number=line.number,
            weight=line.weight,
            phase=line.phase,
            in_service=line.in_service,
            out_by=line.out_by,
            out_reason=line.out_reason,
            out_since=line.out_since,
            temporary=line.is_temporary,
            starts_at=line.starts_at,
            ends_at=line.ends_at,
            contract_id=line.contract_id,
            version=line.version,
            state=None if seen is None else seen.state,
            process_id=None if seen is None else seen.process_id,
            restarts=None if seen is None else seen.restarts,
            next_start_at=None if seen is None else seen.next_start_at,
            running=None if seen is None else seen.running,
            applied_version=None if seen is None else seen.applied,
            problem=None if seen is None else seen.problem,
            idle_within_seconds=_idle_within(line, seen, longest_request, now=now),
        )


class OwnLineRead(AnswerModel):
    """A line as the customer sees it."""

    line_id: str
    number: int
    weight: int
    phase: PhaseName
    in_service: bool
    out_by: UserName | None
    out_since: datetime | None
    temporary: bool
    starts_at: datetime | None
    ends_at: datetime | None
    state: StateName | None = Field(description="Null where lines have no processes of their own.")

    @classmethod
    def of(cls, line: LineRecord, seen: LineSeen | None) -> OwnLineRead:
        """From the domain's values."""
        return cls(
            line_id=line.line_id,
            number=line.number,
            weight=line.weight,
            phase=line.phase,
            in_service=line.in_service,
            out_by=line.out_by,
            out_since=line.out_since,
            temporary=line.is_temporary,
            starts_at=line.starts_at,
            ends_at=line.ends_at,
            state=None if seen is None else seen.state,
        )


def _idle_within(
    line: LineRecord, seen: LineSeen | None, longest_request: int, *, now: datetime
) -> int | None:
    if line.in_service or seen is None:
        return None
    if seen.running is None or seen.running > 0:
        return longest_request
    is_known = line.out_since is None or now - line.out_since >= timedelta(seconds=_FRONT_KNOWS_SECONDS)
    return 0 if is_known else _FRONT_KNOWS_SECONDS

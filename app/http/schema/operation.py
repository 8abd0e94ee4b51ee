"""Long-running changes, as the admin API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field

from app.http.schema.model import AnswerModel, RequestModel
from tenancy import Decision, LogLine, Operation, Step

StateName = Literal["queued", "running", "succeeded", "failed", "recovering", "recovered", "fatal"]

LOG_LINE: Final[dict[str, Any]] = {
    "number": 3,
    "at": "2026-11-21T10:15:00Z",
    "event": "step_done",
    "step": "create_database",
    "message": "",
}


EVENTS: Final = """event: step_done
data: {"number":3,"at":"2026-11-21T10:15:00Z","event":"step_done","step":"create_database","message":""}
id: 3
"""


class DecisionBody(RequestModel):
    """Why somebody decides so."""

    reason: str = Field(
        min_length=3, max_length=500, description="For the log and the audit.", examples=["Server replaced."]
    )


class StepRead(AnswerModel):
    """One step of an operation."""

    name: str
    state: str
    attempts: int = Field(description="How often it was begun.")
    waiting_for: str | None = Field(description="Why it last said that it has to wait.")
    finished_at: datetime | None

    @classmethod
    def of(cls, step: Step) -> StepRead:
        """From the domain's value."""
        return cls(
            name=step.name,
            state=step.state,
            attempts=step.attempts,
            waiting_for=step.waiting_for,
            finished_at=step.finished_at,
        )


class OperationRead(AnswerModel):
    """A long-running change."""

    operation_id: str
    kind: str
    object_id: str
    state: str
    steps: list[StepRead]
    steps_done: int = Field(
        description="How many steps it is past; in recovery, how many are still in force."
    )
    attempts: int = Field(description="Of the current step.")
    due_at: datetime = Field(description="Nothing happens by itself before.")
    deadline_at: datetime = Field(description="When the present state ends at the latest.")
    error_code: str | None
    error_message: str | None
    created_at: datetime
    finished_at: datetime | None
    decisions: list[str] = Field(description="What staff may decide now.")

    @classmethod
    def of(cls, operation: Operation, decisions: Sequence[Decision]) -> OperationRead:
        """From the domain's value."""
        return cls(
            operation_id=operation.operation_id,
            kind=operation.kind,
            object_id=operation.object_id,
            state=operation.state,
            steps=[StepRead.of(step) for step in operation.steps],
            steps_done=operation.steps_done,
            attempts=operation.attempts,
            due_at=operation.due_at,
            deadline_at=operation.deadline_at,
            error_code=operation.error_code,
            error_message=operation.error_message,
            created_at=operation.created_at,
            finished_at=operation.finished_at,
            decisions=list(decisions),
        )


class LogLineRead(AnswerModel):
    """One line of an operation's log."""

    number: int = Field(description="1, 2, 3 … without gaps.")
    at: datetime
    event: str
    step: str
    message: str

    @classmethod
    def of(cls, line: LogLine) -> LogLineRead:
        """From the domain's value."""
        return cls(number=line.number, at=line.at, event=line.event, step=line.step, message=line.message)

"""What happened, and what was used: events and a month's usage."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from pydantic import Field, JsonValue

from app.core.outbox import Event
from app.http.schema.model import AnswerModel
from editions import Usage


class EventRead(AnswerModel):
    """Something that happened; sequences have no gaps."""

    sequence: int
    event_id: str
    type: str = Field(examples=["license.collected"])
    subject: str
    data: dict[str, JsonValue]
    occurred_at: datetime

    @classmethod
    def of(cls, event: Event) -> EventRead:
        """From the kernel's value."""
        return cls(
            sequence=event.sequence,
            event_id=event.event_id,
            type=event.type,
            subject=event.subject,
            data=cast(dict[str, JsonValue], event.data),
            occurred_at=event.occurred_at,
        )


class EventsRead(AnswerModel):
    """Events after a sequence number."""

    data: list[EventRead]
    last_sequence: int = Field(description="The newest number given so far.")
    has_more: bool


class MeterUsageRead(AnswerModel):
    """One meter of a month."""

    meter: str
    included: bool = Field(description="False: the edition does not have it.")
    used: int = Field(description="Counted, and not taken back.")
    voided: int = Field(description="Counted and taken back later.")
    open: int = Field(description="Reserved, not counted yet.")
    limit: int
    refusal_limit: int
    overage: str | None
    edition: str | None
    thresholds_reached: list[int] = Field(description="Per cent of the limit.")


class UsageRead(AnswerModel):
    """A quota month, Europe/Berlin."""

    period: str = Field(examples=["2026-11"])
    resets_at: datetime
    meters: list[MeterUsageRead]

    @classmethod
    def of(cls, usage: Usage) -> UsageRead:
        """From the meters' value."""
        return cls(
            period=str(usage.month),
            resets_at=usage.resets_at,
            meters=[
                MeterUsageRead(
                    meter=each.meter,
                    included=each.included,
                    used=each.used,
                    voided=each.voided,
                    open=each.open,
                    limit=each.contractual,
                    refusal_limit=each.refusal,
                    overage=each.overage,
                    edition=each.edition,
                    thresholds_reached=list(each.thresholds),
                )
                for each in usage.meters
            ],
        )

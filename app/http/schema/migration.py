"""Schemas of all instances, as the admin API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Self

from pydantic import Field

from app.http.schema.model import AnswerModel, RequestModel
from app.operations.migration.repository import LastMigration
from app.operations.migration.service import FleetSchema


class MigrationStart(RequestModel):
    """What is to be brought to the newest schema."""

    instances: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Names or ids; without it, every instance that has a database.",
        examples=[["acme-production"]],
    )


class FailedMigrationRead(AnswerModel):
    """An instance that the last run could not bring to the newest schema."""

    instance_id: str
    name: str
    error_code: str | None
    error_message: str | None
    attempts: int = Field(description="Runs that changed it or tried to, in all.")
    finished_at: datetime

    @classmethod
    def of(cls, last: LastMigration) -> Self:
        """From the domain's value."""
        return cls(
            instance_id=last.candidate.instance_id,
            name=last.candidate.name,
            error_code=last.error_code,
            error_message=last.error_message,
            attempts=last.attempts,
            finished_at=last.finished_at,
        )


class MigrationReportRead(AnswerModel):
    """What is known of the schemas of all instances."""

    target: str = Field(description="The newest revision of the instances' schema.")
    instances: int = Field(description="That have a database.")
    done: int = Field(description="Seen at the newest revision by a run, or brought to it.")
    not_checked: int = Field(
        description="Not looked at by any run of this release; new instances have the newest from the start."
    )
    failed: list[FailedMigrationRead]

    @classmethod
    def of(cls, found: FleetSchema) -> Self:
        """From the domain's value."""
        return cls(
            target=found.target,
            instances=found.instances,
            done=found.done,
            not_checked=found.not_checked,
            failed=[FailedMigrationRead.of(each) for each in found.failed],
        )


MIGRATION_REPORT: Final[dict[str, Any]] = {
    "target": "0045",
    "instances": 200,
    "done": 198,
    "not_checked": 1,
    "failed": [
        {
            "instance_id": "ins_019b0a3c",
            "name": "acme-production",
            "error_code": "schema_conflict",
            "error_message": "There is a table client_secret in the database that wops has not made.",
            "attempts": 1,
            "finished_at": "2026-11-21T10:15:00Z",
        }
    ],
}

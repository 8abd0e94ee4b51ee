"""Requests and answers about staff: people, tokens, approvals, support access."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt

from app.http.schema.model import AnswerModel, RequestModel
from tenancy import StaffCredentials, StaffToken
from tenancy.staff.record import Approval, Person
from tenancy.staff.support.record import SupportAccess, SupportUse

RoleName = Literal["operator", "support", "auditor", "admin"]
Reason = Annotated[str, Field(min_length=1, max_length=500, examples=["Ticket 4711: duplicate activation."])]


class StaffTokenCreate(RequestModel):
    """A new staff token."""

    name: str = Field(min_length=1, max_length=120, description="What it is for.", examples=["night shift"])
    person: str = Field(
        min_length=2,
        max_length=120,
        description="Whose it is, like an e-mail address; capitals do not matter.",
        examples=["mona@wibu.example"],
    )
    role: RoleName
    expires_in_days: Annotated[StrictInt, Field(ge=1, le=366)] = 90


class StaffTokenRotate(RequestModel):
    """How a staff token gets another secret."""

    overlap_hours: Annotated[StrictInt, Field(ge=0, le=168)] = Field(
        default=24, description="How long the secret before holds on."
    )


class StaffTokenRead(AnswerModel):
    """A staff token; never its secret."""

    token_id: str
    name: str
    role: str
    person_id: str | None = Field(
        description="Whose it is; null in tokens from before tokens belonged to people: they can neither ask for "
        "nor approve what needs two people."
    )
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    previous_ends_at: datetime | None = Field(
        description="Until when the secret before the last rotation holds."
    )

    @classmethod
    def of(cls, token: StaffToken) -> StaffTokenRead:
        """From the domain's value."""
        return cls(
            token_id=token.token_id,
            name=token.name,
            role=token.role,
            person_id=token.person_id,
            created_at=token.created_at,
            expires_at=token.expires_at,
            revoked_at=token.revoked_at,
            previous_ends_at=token.previous_ends_at,
        )


class StaffCredentialsRead(AnswerModel):
    """A staff token with its secret, shown this once."""

    token: StaffTokenRead
    secret: str | None = Field(
        description="Null when the request is a repeat: rotate it if the first answer was lost."
    )

    @classmethod
    def of(cls, credentials: StaffCredentials) -> StaffCredentialsRead:
        """From the domain's value."""
        return cls(token=StaffTokenRead.of(credentials.token), secret=credentials.secret)


class PersonRead(AnswerModel):
    """A member of staff."""

    person_id: str
    name: str | None = Field(description="Null once the person has been erased.")
    created_at: datetime
    erased_at: datetime | None

    @classmethod
    def of(cls, person: Person) -> PersonRead:
        """From the domain's value."""
        return cls(
            person_id=person.person_id,
            name=person.name,
            created_at=person.created_at,
            erased_at=person.erased_at,
        )


class GuardedAsk(RequestModel):
    """Asking for something that a second person has to approve."""

    reason: Reason


class QuotaCorrection(RequestModel):
    """Which counts shall be taken back."""

    month: str = Field(
        pattern=r"^\d{4}-\d{2}$", description="In which they were counted.", examples=["2026-03"]
    )
    effect_ids: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        min_length=1, max_length=500, description="As they stand in the ledger, phase `counted`."
    )
    reason: Reason


class ApprovalDecision(RequestModel):
    """Approving."""

    reason: str = Field(default="", max_length=500)


class ApprovalRead(AnswerModel):
    """A request that a second person has to approve."""

    approval_id: str
    action: str = Field(description="operationId of what is to be done.")
    object_id: str
    parameters: dict[str, Any] = Field(description="Exactly what will be done.")
    reason: str
    state: str
    requested_by: str = Field(description="Id of a person; see `listPeople`.")
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    operation_id: str | None = Field(description="What the approval has started.")
    version: int

    @classmethod
    def of(cls, approval: Approval) -> ApprovalRead:
        """From the domain's value."""
        return cls(
            approval_id=approval.approval_id,
            action=approval.action,
            object_id=approval.object_id,
            parameters=approval.parameters,
            reason=approval.reason,
            state=approval.state,
            requested_by=approval.requested_by,
            requested_at=approval.requested_at,
            expires_at=approval.expires_at,
            decided_by=approval.decided_by,
            decided_at=approval.decided_at,
            operation_id=approval.operation_id,
            version=approval.version,
        )


class SupportAsk(RequestModel):
    """Asking an instance's customer for support access."""

    instance_id: str = Field(max_length=64)
    reason: Reason
    hours: Annotated[StrictInt, Field(ge=3, le=168, description="From the customer's approval.")]
    scope: Literal["read", "write"] = "read"


class SupportAccessRead(AnswerModel):
    """A support access."""

    access_id: str
    instance_id: str
    person_id: str
    reason: str
    hours: int
    scope: str
    state: str
    requested_at: datetime
    expires_at: datetime = Field(
        description="Until when the customer may answer; once approved, until when the access holds."
    )
    decided_by: str | None
    decided_at: datetime | None
    version: int

    @classmethod
    def of(cls, access: SupportAccess) -> SupportAccessRead:
        """From the domain's value."""
        return cls(
            access_id=access.access_id,
            instance_id=access.instance_id,
            person_id=access.person_id,
            reason=access.reason,
            hours=access.hours,
            scope=access.scope,
            state=access.state,
            requested_at=access.requested_at,
            expires_at=access.expires_at,
            decided_by=access.decided_by,
            decided_at=access.decided_at,
            version=access.version,
        )


class SupportUseRead(AnswerModel):
    """That support was in the instance in an hour."""

    first_at: datetime = Field(description="When they came first in that hour.")
    action: str = Field(description="operationId of the first thing they did.")

    @classmethod
    def of(cls, use: SupportUse) -> SupportUseRead:
        """From the domain's value."""
        return cls(first_at=use.first_at, action=use.action)

"""Requests and answers of transfers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from app.core.ids import LicenseId
from app.http.schema.model import AnswerModel, RequestModel
from app.licensing import Transfer

ContextText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=262_144,
        description="Context file, armoured text.",
        examples=["-----BEGIN WOPS CONTEXT-----\neyJhbGciOiJFUzI1NiIs…\n-----END WOPS CONTEXT-----\n"],
    ),
]


class TransferCreate(RequestModel):
    """What to move into or out of a container.

    With `activate` and no `license_ids`, every licence of the ticket that can be collected now is.
    """

    action: Literal["activate", "deactivate", "auto_update"]
    context: ContextText
    ticket: str | None = Field(default=None, max_length=64, examples=["NFGSX-VWNYJ-T74CD-48H5B-7NEEJ"])
    container: str | None = Field(
        default=None, max_length=32, description="Serial; must be the context's own."
    )
    license_ids: list[str] | None = Field(default=None, min_length=1, max_length=100)
    deactivate_license_ids: list[str] = Field(
        default_factory=list,
        max_length=100,
        description="With `activate`: give these back in the same programming.",
    )


class TransferConfirm(RequestModel):
    """The container's receipt."""

    receipt: ContextText


class TransferLicense(AnswerModel):
    """One licence of a transfer."""

    license_id: str
    action: Literal["activate", "deactivate"]


class TransferRead(AnswerModel):
    """A transfer."""

    transfer_id: str
    container: str
    ticket: str | None = Field(
        description="Null if there is none, and where only the transfer's id was shown."
    )
    action: Literal["activate", "deactivate", "auto_update"]
    state: Literal["reserved", "issued", "confirmed", "rolled_back"]
    base_fuc: int = Field(description="Counter that the context reported.")
    fuc: int = Field(description="Counter after this programming.")
    licenses: list[TransferLicense]
    update: str | None = Field(description="Update file, armoured text; null until issued.")
    reason: str | None = Field(description="Why it was rolled back.")
    deadline_at: datetime
    created_at: datetime
    issued_at: datetime | None
    confirmed_at: datetime | None

    @classmethod
    def of(cls, transfer: Transfer) -> TransferRead:
        """From the domain's value."""
        return cls(
            transfer_id=transfer.transfer_id,
            container=transfer.container,
            ticket=transfer.ticket,
            action=transfer.action.value,
            state=transfer.state.value,
            base_fuc=transfer.base_fuc,
            fuc=transfer.fuc,
            licenses=[
                TransferLicense(license_id=each, action=action.value) for each, action in transfer.licenses
            ],
            update=transfer.update,
            reason=transfer.reason,
            deadline_at=transfer.deadline_at,
            created_at=transfer.created_at,
            issued_at=transfer.issued_at,
            confirmed_at=transfer.confirmed_at,
        )


def license_ids_of(ids: list[str]) -> tuple[LicenseId, ...]:
    """Ids as the domain takes them."""
    return tuple(LicenseId(each) for each in ids)

"""Requests and answers of transfers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.core.ids import LicenseId
from app.http.schema.model import AnswerModel, RequestModel
from app.licensing import Standing, Transfer

ContextText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=262_144,
        description="Context file, armoured text.",
        examples=["-----BEGIN WOPS CONTEXT-----\neyJhbGciOiJFUzI1NiIs…\n-----END WOPS CONTEXT-----\n"],
    ),
]


class HolderTransferCreate(RequestModel):
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


class TransferCreate(HolderTransferCreate):
    """What to move into or out of a container, and how urgent it is.

    With `activate` and no `license_ids`, every licence of the ticket that can be collected now is.
    """

    priority: Literal["interactive", "batch"] = Field(
        default="interactive",
        description="`batch` for mass work: interactive transfers of the same instance overtake it at the box, within "
        "limits, whatever the action. What ticket holders start is always interactive.",
    )


class HolderTransferCancel(RequestModel):
    """What shows that the caller may cancel: the transfer's ticket, or a context of its container."""

    ticket: str | None = Field(default=None, max_length=64, examples=["NFGSX-VWNYJ-T74CD-48H5B-7NEEJ"])
    context: ContextText | None = None

    @model_validator(mode="after")
    def _check_shown(self) -> HolderTransferCancel:
        if self.ticket is None and self.context is None:
            raise ValueError("send the transfer's ticket, or a context of its container")
        return self


class TransferConfirm(RequestModel):
    """The container's receipt."""

    receipt: ContextText


class TransferLicense(AnswerModel):
    """One licence of a transfer."""

    license_id: str
    action: Literal["activate", "deactivate"]


class TransferQueueRead(AnswerModel):
    """Where the job of a reserved transfer stands. What only the gateway knows is null while it says nothing."""

    state: Literal["waiting", "running", "unknown"] = Field(
        description="`unknown`: the box that worked on it, or the gateway, does not answer. It resolves by itself; "
        "nothing is programmed for two."
    )
    position: int | None = Field(description="Jobs served before it; 0 while a box works on it.")
    expected_wait_seconds: float | None = Field(
        description="Until the update, in half of all cases, from measured times."
    )
    expected_wait_p95_seconds: float | None = Field(description="The same in 19 of 20 cases.")
    others_share: float | None = Field(
        description="Of the operations served before it, how much is other customers' work, 0–1."
    )
    reason: str | None = Field(
        description="Code of what it waits for besides its turn, such as `pool_without_box`; `fsb_unavailable` while "
        "the gateway cannot be asked."
    )
    waited_seconds: float | None = Field(
        description="Until now, without the time in which a box worked on it."
    )
    caused_by_others_seconds: float | None = Field(
        description="The part of it during which boxes worked for other customers."
    )

    @classmethod
    def of(cls, standing: Standing) -> TransferQueueRead:
        """From the domain's value."""
        return cls(
            state=standing.state,
            position=standing.position,
            expected_wait_seconds=_seconds(standing.expected_wait),
            expected_wait_p95_seconds=_seconds(standing.expected_wait_p95),
            others_share=standing.others_share,
            reason=standing.reason,
            waited_seconds=_seconds(standing.waited),
            caused_by_others_seconds=_seconds(standing.caused_by_others),
        )


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
    queue: TransferQueueRead | None = Field(description="While it is reserved.")
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
            queue=None if transfer.standing is None else TransferQueueRead.of(transfer.standing),
            deadline_at=transfer.deadline_at,
            created_at=transfer.created_at,
            issued_at=transfer.issued_at,
            confirmed_at=transfer.confirmed_at,
        )


def _seconds(wait: timedelta | None) -> float | None:
    return None if wait is None else round(wait.total_seconds(), 3)


def license_ids_of(ids: list[str]) -> tuple[LicenseId, ...]:
    """Ids as the domain takes them."""
    return tuple(LicenseId(each) for each in ids)

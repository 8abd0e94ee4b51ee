"""Support access as values. Pure.

requested ──approve──► approved ──revoke, by the customer──► revoked
│ ├───refuse────► refused       └──────its time is over──────► expired
│ └───no answer in 7 days──► expired
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from app.core.ids import InstanceId

SupportScope = Literal["read", "write"]
"""May look, or may also act on the customer's behalf."""
SUPPORT_SCOPES: Final[tuple[SupportScope, ...]] = get_args(SupportScope)
SupportState = Literal["requested", "approved", "refused", "revoked", "expired"]

LEAST_HOURS: Final = 3
MOST_HOURS: Final = 168
"""**Source:** issue 3, "Staff"."""
ANSWER_WITHIN: Final = timedelta(days=7)
"""How long a customer may take to answer. **Source:** issue 3, brief of staff."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportAccess:
    """That a member of support may, might or might have looked into an instance.

    Attributes:
        person_id: of the member of support.
        hours: how long it holds from the customer's approval.
        expires_at: until when the customer may answer; once approved, until when it holds.
        decided_by: id of the customer's API client.
        version: raised by every change; the customer decides about what he has read.
    """

    access_id: str
    instance_id: InstanceId
    person_id: str
    reason: str
    hours: int
    scope: SupportScope
    state: SupportState
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportUse:
    """That an access was used in an hour.

    Attributes:
        first_at: when it was used first in that hour.
        action: operationId of what was done then.
    """

    first_at: datetime
    action: str

"""Staff as values: people, their tokens, what they ask each other to approve. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

from app.core.ids import OperationId
from app.core.json import JsonObject

StaffRole = Literal["operator", "support", "auditor", "admin"]
STAFF_ROLES: Final[tuple[StaffRole, ...]] = get_args(StaffRole)
WRITERS: Final[frozenset[StaffRole]] = frozenset({"operator", "admin"})
"""Roles that may change something, and so may ask for what needs a second person, and be that second person."""

LOCAL_PERSON: Final = "local"
"""Id and name of the person who may open the control socket: whoever that is on the machine."""

ApprovalState = Literal["requested", "approved", "rejected", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A member of staff.

    Attributes:
        name: in small letters, e.g. an e-mail address; None once the person has been erased.
        sealed_name: the name under the person's own key, as audit chains have it.
    """

    person_id: str
    name: str | None
    sealed_name: str
    created_at: datetime
    erased_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffToken:
    """A bearer token of a member of staff or a script of theirs; the secret is not in it.

    Attributes:
        name: what it is for.
        person_id: whose it is; None in tokens from before tokens belonged to people.
        previous_ends_at: until when the secret before the last rotation holds.
    """

    token_id: str
    name: str
    role: StaffRole
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    person_id: str | None = None
    previous_ends_at: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it lets anybody in at an instant."""
        return self.revoked_at is None and at < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffPrincipal:
    """Who of the staff is calling.

    Attributes:
        person_id: the natural person behind the token; None if the token is from before tokens had one.
        sealed_name: the person's name under his own key, for audit chains.
    """

    token_id: str
    role: StaffRole
    person_id: str | None = None
    sealed_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffCredentials:
    """A new token with its secret.

    Attributes:
        secret: shown this once; None when the call was a repeat, because nobody keeps secrets.
    """

    token: StaffToken
    secret: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A request that a second person has to approve before anything happens.

    Attributes:
        action: operationId of what is to be done.
        parameters: what exactly would be done; approved as they stand.
        requested_by, decided_by: ids of people.
        operation_id: what the approval has started.
        version: raised by every change; who approves says which one he has read.
    """

    approval_id: str
    action: str
    object_id: str
    parameters: JsonObject
    reason: str
    state: ApprovalState
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    operation_id: OperationId | None
    version: int

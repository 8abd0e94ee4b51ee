"""Staff tokens as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

StaffRole = Literal["operator", "support", "auditor", "admin"]
STAFF_ROLES: Final[tuple[StaffRole, ...]] = get_args(StaffRole)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffToken:
    """A bearer token of a member of staff or a script of theirs; the secret is not in it."""

    token_id: str
    name: str
    role: StaffRole
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    def holds(self, at: datetime) -> bool:
        """Whether it lets anybody in at an instant."""
        return self.revoked_at is None and at < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffPrincipal:
    """Who of the staff is calling."""

    token_id: str
    name: str
    role: StaffRole


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffCredentials:
    """A new token with its secret.

    Attributes:
        secret: shown this once; None when the call was a repeat, because nobody keeps secrets.
    """

    token: StaffToken
    secret: str | None

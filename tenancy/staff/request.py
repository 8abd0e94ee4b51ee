"""What everything that staff ask for needs: a person of the right role, and a reason. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from app.core.errors import InputInvalid
from tenancy.errors import StaffRoleInsufficient
from tenancy.staff.errors import ReasonMissing, StaffPersonMissing
from tenancy.staff.record import StaffPrincipal, StaffRole

_LONGEST_REASON: Final = 500


def person_of(principal: StaffPrincipal, roles: Collection[StaffRole]) -> str:
    """The natural person who asks or decides.

    Raises:
        StaffRoleInsufficient: none of these roles.
        StaffPersonMissing: the token is nobody's.
    """
    if principal.role not in roles:
        raise StaffRoleInsufficient(f"The role {principal.role} may not do this.", role=principal.role)
    if principal.person_id is None:
        raise StaffPersonMissing("This token belongs to no person; have one made that does.")
    return principal.person_id


def check_reason(reason: str) -> None:
    """Whether there is a reason, and a fit one.

    Raises:
        ReasonMissing: there is none.
        InputInvalid: too long, or not printable.
    """
    if not reason.strip():
        raise ReasonMissing("Say why.", field="reason")
    check_remark(reason)


def check_remark(text: str) -> None:
    """As `check_reason`, where none has to be given.

    Raises:
        InputInvalid: too long, or not printable.
    """
    if len(text) > _LONGEST_REASON or not text.isprintable():
        raise InputInvalid(f"A reason has at most {_LONGEST_REASON} printable characters.", field="reason")

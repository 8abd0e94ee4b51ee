"""What staff are refused.

TenancyError
├── NotFound
│   └── PersonNotFound · ApprovalNotFound · SupportAccessNotFound
├── AccessDenied
│   └── StaffPersonMissing · ApprovalByRequester · ApprovalBySubject · SupportAccessMissing · SupportAccessReadOnly
├── ReasonMissing · PersonLocal · PersonErased · StaffTokenEnded · OverlapUnfit
├── ApprovalOpen · ApprovalClosed · ApprovalExpired · ApprovalVersionConflict · ApprovalRequesterGone
└── SupportAccessOpen · SupportAccessClosed · SupportAccessExpired · SupportAccessVersionConflict · HoursUnfit
"""

from __future__ import annotations

from tenancy.errors import AccessDenied, NotFound, TenancyError


class PersonNotFound(NotFound):
    """There is no such member of staff."""

    code = "person_not_found"


class PersonLocal(TenancyError):
    """The local operator is whoever may open the control socket: he has no tokens and cannot be erased."""

    code = "person_local"


class PersonErased(TenancyError):
    """The person has been erased; nothing of him is left to be changed."""

    code = "person_erased"


class StaffTokenEnded(TenancyError):
    """The token has expired or been revoked; it cannot be rotated."""

    code = "staff_token_ended"


class OverlapUnfit(TenancyError):
    """The old secret would hold for too long, or for less than no time."""

    code = "overlap_unfit"


class StaffPersonMissing(AccessDenied):
    """The token is from before tokens belonged to people, so nobody knows who would be asking or approving."""

    code = "staff_person_missing"


class ReasonMissing(TenancyError):
    """What needs a second person needs a reason."""

    code = "reason_missing"


class ApprovalNotFound(NotFound):
    """There is no such request for approval."""

    code = "approval_not_found"


class ApprovalOpen(TenancyError):
    """The same thing has been asked for already and is waiting; `detail["approval_id"]` names it."""

    code = "approval_open"


class ApprovalByRequester(AccessDenied):
    """Nobody approves what he has asked for himself, with whatever token."""

    code = "approval_by_requester"


class ApprovalBySubject(AccessDenied):
    """Nobody approves what is done to himself."""

    code = "approval_by_subject"


class ApprovalClosed(TenancyError):
    """The request has been decided before; `detail["state"]` says how."""

    code = "approval_closed"


class ApprovalExpired(TenancyError):
    """Nobody decided in time; it has to be asked for again."""

    code = "approval_expired"


class ApprovalRequesterGone(TenancyError):
    """Whoever asked has been erased, or has no token left that holds: nobody stands behind the request any more."""

    code = "approval_requester_gone"


class ApprovalVersionConflict(TenancyError):
    """The request is not the one that the caller has read."""

    code = "approval_version_conflict"


class SupportAccessNotFound(NotFound):
    """There is no such support access, or it belongs to another instance."""

    code = "support_access_not_found"


class SupportAccessMissing(AccessDenied):
    """The customer has not let this member of support look into the instance, or not any more."""

    code = "support_access_missing"


class SupportAccessReadOnly(AccessDenied):
    """The customer lets this member of support look, and not change anything."""

    code = "support_access_read_only"


class SupportAccessOpen(TenancyError):
    """The same person is waiting for, or has, an access to this instance; `detail["access_id"]` names it."""

    code = "support_access_open"


class SupportAccessClosed(TenancyError):
    """The access has been decided or has ended; `detail["state"]` says how."""

    code = "support_access_closed"


class SupportAccessExpired(TenancyError):
    """The customer did not answer in time, or the time he gave is over."""

    code = "support_access_expired"


class SupportAccessVersionConflict(TenancyError):
    """The access is not as the caller has read it."""

    code = "support_access_version_conflict"


class HoursUnfit(TenancyError):
    """An access lasts for 3 to 168 hours."""

    code = "hours_unfit"

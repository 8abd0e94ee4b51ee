"""Examples of people, tokens, approvals and support access for the OpenAPI description."""

from __future__ import annotations

from typing import Any, Final

_TIME: Final = "2026-11-21T10:15:00Z"
_INSTANCE: Final = "ins_019b0a3c21e54f60718293a4b5c6d7e8"
_PERSON: Final = "per_019b0a3c4d5e6f708192a3b4c5d6e7f8"
_OTHER: Final = "per_019b0a3c4d5e6f708192a3b4c5d6e7f9"

STAFF_TOKEN: Final[dict[str, Any]] = {
    "token_id": "stk_019b0a3c3e5f70618a9b0c1d2e3f4a5b",
    "name": "night shift",
    "role": "operator",
    "person_id": _PERSON,
    "created_at": _TIME,
    "expires_at": "2027-02-19T10:15:00Z",
    "revoked_at": None,
    "previous_ends_at": None,
}
STAFF_CREDENTIALS: Final[dict[str, Any]] = {"token": STAFF_TOKEN, "secret": "(shown once)"}
PERSON: Final[dict[str, Any]] = {
    "person_id": _PERSON,
    "name": "mona@wibu.example",
    "created_at": _TIME,
    "erased_at": None,
}
APPROVAL: Final[dict[str, Any]] = {
    "approval_id": "apr_019b0a3c5a6b7c8d9e0f1a2b3c4d5e6f",
    "action": "correctQuota",
    "object_id": _INSTANCE,
    "parameters": {"month": "2026-11", "effect_ids": ["eff_019b0a3c6f7a8b9c0d1e2f3a4b5c6d7e"]},
    "reason": "Ticket 4711: duplicate activation.",
    "state": "requested",
    "requested_by": _PERSON,
    "requested_at": _TIME,
    "expires_at": "2026-11-22T10:15:00Z",
    "decided_by": None,
    "decided_at": None,
    "operation_id": None,
    "version": 1,
}
APPROVED: Final[dict[str, Any]] = {
    **APPROVAL,
    "state": "approved",
    "decided_by": _OTHER,
    "decided_at": _TIME,
    "operation_id": "opn_019b0a3c7f8e9d0c1b2a394857667584",
    "version": 2,
}
REJECTED: Final[dict[str, Any]] = {**APPROVED, "state": "rejected", "operation_id": None}
SUPPORT_ACCESS: Final[dict[str, Any]] = {
    "access_id": "sup_019b0a3c8a9b0c1d2e3f4a5b6c7d8e9f",
    "instance_id": _INSTANCE,
    "person_id": _PERSON,
    "reason": "Ticket 4711: an activation that failed.",
    "hours": 24,
    "scope": "read",
    "state": "requested",
    "requested_at": _TIME,
    "expires_at": "2026-11-28T10:15:00Z",
    "decided_by": None,
    "decided_at": None,
    "version": 1,
}
SUPPORT_APPROVED: Final[dict[str, Any]] = {
    **SUPPORT_ACCESS,
    "state": "approved",
    "expires_at": "2026-11-22T10:15:00Z",
    "decided_by": "cli_019b0a3c9d0e1f2a3b4c5d6e7f8a9b0c",
    "decided_at": _TIME,
    "version": 2,
}
SUPPORT_USE: Final[dict[str, Any]] = {"first_at": _TIME, "action": "getInstanceUsage"}

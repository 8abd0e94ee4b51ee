"""What is refused about self-healing.

ReconcileError
├── LeaseLost           another healer acts
├── PauseScopeUnfit · PauseEndUnfit · PauseNotFound
└── PartNotFrozen       nobody was called about it
"""

from __future__ import annotations

from app.core.errors import DomainError


class ReconcileError(DomainError):
    """Root of this package's errors."""

    code = "reconcile_error"


class LeaseLost(ReconcileError):
    """Another healer has taken over, or this one was held up for too long: it must not act."""

    code = "reconcile_lease_lost"


class PauseScopeUnfit(ReconcileError):
    """A pause is of everything, of a group, or of a part."""

    code = "pause_scope_unfit"


class PauseEndUnfit(ReconcileError):
    """A pause ends later than now, or not by itself."""

    code = "pause_end_unfit"


class PauseNotFound(ReconcileError):
    """There is no such pause."""

    code = "pause_not_found"


class PartNotFrozen(ReconcileError):
    """Nobody was called about the part, or somebody has released it."""

    code = "part_not_frozen"

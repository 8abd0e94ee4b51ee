"""What staff are refused about boxes and firm keys; the gateway's own refusals come through as they are.

TenancyError
├── BoxNameTaken · BoxNameReserved · BoxVersionConflict · BoxStateUnfit · BoxTokenFixed · LoanUnfit
├── FirmKeyChanged · FirmKeyPresent · PlanOutdated · CeremonyUnfinished
└── NotFound
    └── FirmKeyNotFound · CeremonyNotFound
"""

from __future__ import annotations

from tenancy.errors import NotFound, TenancyError


class BoxNameTaken(TenancyError):
    """A box has that name already."""

    code = "box_name_taken"


class BoxNameReserved(TenancyError):
    """The name is kept for a box of the pool that it begins with."""

    code = "box_name_reserved"


class BoxTokenFixed(TenancyError):
    """A box keeps the token that two people gave it keys in."""

    code = "box_token_fixed"


class BoxVersionConflict(TenancyError):
    """The box has been changed since the caller read it."""

    code = "box_version_conflict"


class BoxStateUnfit(TenancyError):
    """The box is joining, leaving, lent or not lent, and that does not go together."""

    code = "box_state_unfit"


class LoanUnfit(TenancyError):
    """A box is not lent for so long, or to that pool."""

    code = "loan_unfit"


class FirmKeyChanged(TenancyError):
    """The firm key is another one than the one that was approved."""

    code = "firm_key_changed"


class FirmKeyPresent(TenancyError):
    """The box holds the firm key already: there is nothing to copy."""

    code = "firm_key_present"


class PlanOutdated(TenancyError):
    """The key is in other boxes than two people saw, so that something else would be done; it is asked for anew."""

    code = "plan_outdated"


class FirmKeyNotFound(NotFound):
    """No instance has a key of that firm code."""

    code = "firm_key_not_found"


class CeremonyNotFound(NotFound):
    """The operation does nothing to firm keys."""

    code = "ceremony_not_found"


class CeremonyUnfinished(TenancyError):
    """The operation has not come to its end: its record would change."""

    code = "ceremony_unfinished"

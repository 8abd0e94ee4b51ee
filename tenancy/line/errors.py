"""What is refused about lines.

TenancyError
├── LineNotFound
├── LineLast · LineShared · LineStateUnfit · LineBoxMissing
├── LinePeriodUnfit · LineWeightUnfit · LineEditionUnfit
├── LineVersionConflict
└── ContractOfLine
"""

from __future__ import annotations

from tenancy.errors import NotFound, TenancyError


class LineNotFound(NotFound):
    """The instance has no such line."""

    code = "line_not_found"


class LineLast(TenancyError):
    """No other line of the instance takes requests."""

    code = "line_last"


class LineShared(TenancyError):
    """The line serves many instances: nothing is changed about it through one of them."""

    code = "line_shared"


class LineStateUnfit(TenancyError):
    """A temporary line is only being made, or on its way out; or it is a permanent one."""

    code = "line_state_unfit"


class LineBoxMissing(TenancyError):
    """The boxes of the instance are tokens: its line needs one that staff have added before."""

    code = "line_box_missing"


class LinePeriodUnfit(TenancyError):
    """A temporary line starts now or later, and ends after that."""

    code = "line_period_unfit"


class LineWeightUnfit(TenancyError):
    """A weight is a number from 0 to 256."""

    code = "line_weight_unfit"


class LineEditionUnfit(TenancyError):
    """The edition has no temporary lines."""

    code = "line_edition_unfit"


class LineVersionConflict(TenancyError):
    """The line has been changed since the caller read it."""

    code = "line_version_conflict"


class ContractOfLine(TenancyError):
    """The contract row is that of a temporary line; it ends with it."""

    code = "contract_of_line"

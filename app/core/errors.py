"""The root of every error that wops raises on purpose.

    DomainError
    ├── InputInvalid            a value is malformed or out of range
    ├── OperationIdReused       the same operation id came with other content
    ├── OperationInProgress     the same operation id is being carried out right now
    ├── DatabaseUnavailable     the database did not answer in time; nothing was written
    │   └── CommitOutcomeUnknown    … or it may have been: the same operation id settles it
    └── one root per package: LicensingError, EditionsError, TenancyError, FsbError, ContainerFileError

The domain knows no HTTP status; `app.http.problem_catalog` holds the one table that maps codes to RFC 9457
problems.
"""

from __future__ import annotations

from typing import ClassVar

from app.core.json import JsonObject, JsonValue


class DomainError(Exception):
    """Something was refused or failed, with a reason that callers can rely on.

    Attributes:
        code: stable snake_case name of the reason.
        message: safe to show to the caller; says what to do next where that helps.
        detail: machine-readable facts that belong to the reason (ids, limits, times).
    """

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, **detail: JsonValue) -> None:
        super().__init__(message)
        self.message = message
        self.detail: JsonObject = detail


class InputInvalid(DomainError):
    """A value is malformed or out of its range; `detail["field"]` names it."""

    code = "input_invalid"


class OperationIdReused(DomainError):
    """An operation id was used again for something else."""

    code = "idempotency_key_reused"


class OperationInProgress(DomainError):
    """The first attempt with this operation id has not ended yet."""

    code = "operation_in_progress"


class DatabaseUnavailable(DomainError):
    """The database did not answer before the deadline. Nothing was written."""

    code = "database_unavailable"


class CommitOutcomeUnknown(DatabaseUnavailable):
    """The connection broke during COMMIT and could not be restored in time.

    Sending the same operation again settles it: it is carried out once, whatever happened.
    """

    code = "commit_outcome_unknown"

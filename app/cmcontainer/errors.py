"""What a container refuses. What is wrong with a file itself comes from `fsb_gateway.FileFormatError`.

    ContainerFileError
    ├── ContainerFileExists · ContainerFileMissing · ContainerFileDamaged
    ├── TemplateInvalid · TemplateConflict
    ├── FirmCodeUnknown
    └── UpdateRefused
        ├── UpdateTooOld         229 of the CodeMeter runtime
        ├── UpdateTooNew         228
        └── UpdateAlreadyApplied

**Source** of the numbers: reference/domain.md §3.3.
"""

from __future__ import annotations

from app.core.errors import DomainError


class ContainerFileError(DomainError):
    """Root of this package's errors."""

    code = "container_file_error"


class ContainerFileExists(ContainerFileError):
    """There is a container file at this path already; it is never overwritten by a new container."""

    code = "container_file_exists"


class ContainerFileMissing(ContainerFileError):
    """There is no container file at this path."""

    code = "container_file_missing"


class ContainerFileDamaged(ContainerFileError):
    """The container file was changed by something else, or cannot be read."""

    code = "container_file_damaged"


class TemplateInvalid(ContainerFileError):
    """The template is not one: it needs `firm_code`, `instance` and `root_certificate`."""

    code = "template_invalid"


class TemplateConflict(ContainerFileError):
    """The container knows the firm code already, with another instance or root."""

    code = "template_conflict"


class FirmCodeUnknown(ContainerFileError):
    """The container has no firm item for this firm code: import the vendor's template first."""

    code = "firm_code_unknown"


class UpdateRefused(ContainerFileError):
    """The update does not fit the container's state. The container is unchanged."""

    code = "update_refused"


class UpdateTooOld(UpdateRefused):
    """The container's counter has passed this update."""

    code = "update_too_old"


class UpdateTooNew(UpdateRefused):
    """The update follows one that this container has not applied."""

    code = "update_too_new"


class UpdateAlreadyApplied(UpdateRefused):
    """The container has applied this very update before."""

    code = "update_already_applied"

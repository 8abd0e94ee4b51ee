"""What is refused in the life of an instance.

TenancyError
├── AccessDenied
│   └── InstanceFrozen
├── InstanceErased
├── InstanceStateUnfit · InstanceVersionConflict · CustomerVersionConflict
├── RetentionUnfit · RetentionRunning · LegalReasonMissing
├── FirmKeyRetired
├── ExportNotWritten · ExportDamaged
└── NotFound
    └── ExportNotFound · ErasureCertificateNotFound
"""

from __future__ import annotations

from tenancy.errors import AccessDenied, NotFound, TenancyError


class InstanceFrozen(AccessDenied):
    """Staff have frozen the instance, or its contract has ended: data stay, nobody works with them."""

    code = "instance_frozen"


class InstanceErased(TenancyError):
    """The instance's data have been erased; the certificate of erasure says what they were."""

    code = "instance_erased"


class InstanceStateUnfit(TenancyError):
    """The instance's state does not allow that."""

    code = "instance_state_unfit"


class InstanceVersionConflict(TenancyError):
    """The instance has been changed since the caller read it."""

    code = "instance_version_conflict"


class CustomerVersionConflict(TenancyError):
    """The customer has been changed since the caller read it."""

    code = "customer_version_conflict"


class RetentionUnfit(TenancyError):
    """Data cannot be retained for so long, or for less than no time."""

    code = "retention_unfit"


class RetentionRunning(TenancyError):
    """Data are still retained."""

    code = "retention_running"


class LegalReasonMissing(TenancyError):
    """Erasing before the end of the retention needs the legal request it is based on."""

    code = "legal_reason_missing"


class FirmKeyRetired(TenancyError):
    """The instance's firm key has been retired: it could never program again."""

    code = "firm_key_retired"


class ExportNotWritten(TenancyError):
    """The export could not be written, e.g. because the disk is full. Nothing half-made is left."""

    code = "export_not_written"


class ExportDamaged(TenancyError):
    """The export's file is not the one that was written."""

    code = "export_damaged"


class ExportNotFound(NotFound):
    """There is no such export, or it has been deleted."""

    code = "export_not_found"


class ErasureCertificateNotFound(NotFound):
    """The instance has not been erased."""

    code = "erasure_certificate_not_found"

"""Why License Central refuses something.

LicensingError
├── ItemNotFound, ItemConflict, ItemVersionConflict, ItemNotReturnable
├── OrderNotFound, OrderConflict, QuantityOutOfRange
├── TicketMalformed, TicketUnknown
├── LicenseNotFound, LicenseNotOnTicket, LicenseNotAvailable, LicensePending, LicenseExpired,
│   LicenseNotOnContainer, LicenseNotConfirmed, NothingToActivate
├── ContainerNotFound, ContainerBlocked, ContainerUnexpectedState, ContainerTypeNotAllowed, ContainerNotInQuestion
├── ContextWrongContainer, ContextWrongFirmCode, ContextFromFuture, ContextReplayed, ContextOutdated,
│   FucTooOld, FucTooNew, KeyMismatch
└── TransferNotFound, TransferOpen, TransferRolledBack, TransferNotIssued, TransferIssued,
    ReceiptTooOld
"""

from __future__ import annotations

from app.core.errors import DomainError


class LicensingError(DomainError):
    """Root of this package's errors."""


class ItemNotFound(LicensingError):
    """No item with this SKU in this instance."""

    code = "item_not_found"


class ItemConflict(LicensingError):
    """An item with this SKU exists with other content."""

    code = "item_conflict"


class ItemVersionConflict(LicensingError):
    """The item was changed since the version the caller knows."""

    code = "item_version_conflict"


class ItemNotReturnable(LicensingError):
    """Licences of this item cannot be given back by the end user."""

    code = "item_not_returnable"


class OrderNotFound(LicensingError):
    """No order with this number in this instance."""

    code = "order_not_found"


class OrderConflict(LicensingError):
    """The order number exists with other content in the same position."""

    code = "order_conflict"


class QuantityOutOfRange(LicensingError):
    """A position orders no licence, or more than one order may hold."""

    code = "quantity_out_of_range"


class TicketMalformed(LicensingError):
    """Not a ticket: wrong characters, length or check character."""

    code = "ticket_malformed"


class TicketUnknown(LicensingError):
    """A well-formed ticket that this instance has not issued."""

    code = "ticket_unknown"


class LicenseNotFound(LicensingError):
    """No licence with this id in this instance."""

    code = "license_not_found"


class LicenseNotOnTicket(LicensingError):
    """The licence belongs to another ticket."""

    code = "license_not_on_ticket"


class LicenseNotAvailable(LicensingError):
    """The licence is in a container already."""

    code = "license_not_available"


class LicensePending(LicensingError):
    """Another transfer holds the licence at this moment."""

    code = "license_pending"


class LicenseExpired(LicensingError):
    """The licence's expiration time has passed."""

    code = "license_expired"


class LicenseNotOnContainer(LicensingError):
    """The licence is not in the container it should be taken from."""

    code = "license_not_on_container"


class LicenseNotConfirmed(LicensingError):
    """The licence's own collection has not been confirmed yet."""

    code = "license_not_confirmed"


class NothingToActivate(LicensingError):
    """The ticket has no licence that could be collected now."""

    code = "nothing_to_activate"


class ContainerNotFound(LicensingError):
    """This instance has never seen a container with this serial."""

    code = "container_not_found"


class ContainerBlocked(LicensingError):
    """The vendor has blocked the container."""

    code = "container_blocked"


class ContainerUnexpectedState(LicensingError):
    """The container contradicts the books; a person has to decide first."""

    code = "container_unexpected_state"


class ContainerTypeNotAllowed(LicensingError):
    """The item may not be collected into this type of container."""

    code = "container_type_not_allowed"


class ContainerNotInQuestion(LicensingError):
    """There is nothing to decide about this container."""

    code = "container_not_in_question"


class ContextWrongContainer(LicensingError):
    """The context or receipt comes from another container."""

    code = "context_wrong_container"


class ContextWrongFirmCode(LicensingError):
    """The context was made for another vendor's firm code, so for another instance."""

    code = "context_wrong_firm_code"


class ContextFromFuture(LicensingError):
    """The context was made by a clock that is far ahead: it would outdate every honest one after it."""

    code = "context_from_future"


class ContextReplayed(LicensingError):
    """The context has been used for another request already."""

    code = "context_replayed"


class ContextOutdated(LicensingError):
    """The context is older than one this instance has seen."""

    code = "context_outdated"


class FucTooOld(ContainerUnexpectedState):
    """A fresh context reports a counter below the one proven before: the container was set back or copied."""

    code = "fuc_too_old"


class FucTooNew(ContainerUnexpectedState):
    """The context reports a firm update counter that this instance has never issued."""

    code = "fuc_too_new"


class KeyMismatch(ContainerUnexpectedState):
    """The context is signed by another key than the container's registered one."""

    code = "container_key_mismatch"


class TransferNotFound(LicensingError):
    """No transfer with this id in this instance."""

    code = "transfer_not_found"


class TransferOpen(LicensingError):
    """The container has another transfer in the making."""

    code = "transfer_open"


class TransferRolledBack(LicensingError):
    """The transfer could not be programmed; nothing was counted, the licences are free again."""

    code = "transfer_rolled_back"


class TransferNotIssued(LicensingError):
    """The transfer has no update yet that could be confirmed."""

    code = "transfer_not_issued"


class TransferIssued(LicensingError):
    """The transfer has its update; it cannot be cancelled any more."""

    code = "transfer_issued"


class ReceiptTooOld(LicensingError):
    """The receipt was made before the update was applied."""

    code = "receipt_too_old"

"""A licence and its life. Pure.

          order
            │
    ┌► not_collected ──issue──► collected ──receipt or newer FUC──► confirmed_collected
    │                                                                      │ issue of the return
    └── (free again) ◄── confirmed_returned ◄──receipt or newer FUC── returned

While a transfer is in the making the licence carries its id in `pending_transfer` and nobody else can take it.

**Source:** the five states and the rule that a returned licence is free only after the receipt: KEYnote 35
p. 8, KEYnote 29 (German) p. 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.core.ids import LicenseId, TransferId
from app.licensing.product_item import ProductOptions


class LicenseState(StrEnum):
    """Where a licence is in its life."""

    NOT_COLLECTED = "not_collected"
    COLLECTED = "collected"
    CONFIRMED_COLLECTED = "confirmed_collected"
    RETURNED = "returned"
    CONFIRMED_RETURNED = "confirmed_returned"


class LicenseAction(StrEnum):
    """What one programming does to a licence."""

    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"


FREE_STATES = (LicenseState.NOT_COLLECTED, LicenseState.CONFIRMED_RETURNED)
"""From these a licence can be collected."""

ISSUED_STATE = {
    LicenseAction.ACTIVATE: LicenseState.COLLECTED,
    LicenseAction.DEACTIVATE: LicenseState.RETURNED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """One licence as it stands.

    Attributes:
        generation: how often the licence was newly issued; 1 at first. Part of what is programmed.
        container: serial of the container it is in, or was last given to while unconfirmed.
        fuc: firm update counter of the programming that brought it into its state.
        pending_transfer: the transfer in the making that holds it.
    """

    license_id: LicenseId
    ticket: str
    order_number: str
    position: int
    sku: str
    item_name: str
    options: ProductOptions
    returnable: bool
    container_types: tuple[str, ...]
    state: LicenseState
    generation: int
    container: str | None
    fuc: int | None
    pending_transfer: TransferId | None
    created_at: datetime
    changed_at: datetime

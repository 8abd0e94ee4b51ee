"""Orders and tickets as values. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.core.errors import InputInvalid
from app.core.ids import OrderId
from app.licensing.license.license import License
from app.licensing.order.order_rule import OrderedPosition, check_positions

ORDER_NUMBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/#-]{0,62}")
"""As ERP systems write them: ASCII, at most 63 characters."""
REFERENCE_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDraft:
    """An order as an ERP system sends it.

    Attributes:
        order_number: the ERP's own number; the natural key.
        customer_reference: whatever tells the ERP who ordered; may be empty.
    """

    order_number: str
    customer_reference: str
    positions: tuple[OrderedPosition, ...]

    def __post_init__(self) -> None:
        if not ORDER_NUMBER.fullmatch(self.order_number):
            raise InputInvalid(
                "An order number has 1 to 63 letters, digits and . _ / # -", field="order_number"
            )
        if len(self.customer_reference) > REFERENCE_MAX or not self.customer_reference.isprintable():
            raise InputInvalid(
                f"A customer reference has at most {REFERENCE_MAX} printable characters.",
                field="customer_reference",
            )
        check_positions(self.positions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as it is stored."""

    order_id: OrderId
    order_number: str
    ticket: str
    customer_reference: str
    positions: tuple[OrderedPosition, ...]
    license_count: int
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A ticket and its licences, for whoever holds it."""

    ticket: str
    order_number: str
    created_at: datetime
    licenses: tuple[License, ...]

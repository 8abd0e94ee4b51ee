"""What a repeated order means: nothing new, more positions for the same ticket, or a contradiction. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.core.errors import InputInvalid
from app.core.json import JsonObject, JsonValue, dump_json
from app.licensing.errors import OrderConflict, QuantityOutOfRange

QUANTITY_MAX: Final = 1000
"""Licences of one position. More is a typing error more often than a wish; ERP systems send several positions."""
POSITIONS_MAX: Final = 100
POSITION_MAX: Final = 2**31 - 1
"""The largest number of a position. Source: INTEGER of SQL."""
TICKET_LICENSES_MAX: Final = 5000
"""Licences on one ticket. Source: tickets "can reach hundreds" (KEYnote 35 p. 6), with room above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedPosition:
    """One position of an order as the ERP system sends it.

    Attributes:
        position: its number in the ERP's order; the natural key together with the order number.
        options: product item options that differ from the item's.
    """

    position: int
    sku: str
    quantity: int
    options: Mapping[str, JsonValue] = field(default_factory=dict)

    def content(self) -> JsonObject:
        """What makes two positions the same."""
        return {"sku": self.sku, "quantity": self.quantity, "options": dict(self.options)}


def check_positions(positions: Sequence[OrderedPosition]) -> None:
    """Refuse positions that make no sense by themselves.

    Raises:
        InputInvalid: none, too many, two with the same number, or a number out of range.
        QuantityOutOfRange: a quantity below 1 or above 1000.
    """
    if not 1 <= len(positions) <= POSITIONS_MAX:
        raise InputInvalid(f"An order has 1 to {POSITIONS_MAX} positions.", field="positions")
    if len({position.position for position in positions}) != len(positions):
        raise InputInvalid("Two positions of the order have the same number.", field="positions")
    for position in positions:
        if not 1 <= position.position <= POSITION_MAX:
            raise InputInvalid(f"A position number lies between 1 and {POSITION_MAX}.", field="position")
        if not 1 <= position.quantity <= QUANTITY_MAX:
            raise QuantityOutOfRange(
                f"Position {position.position} orders {position.quantity} licences; 1 to {QUANTITY_MAX} are possible.",
                position=position.position,
                most=QUANTITY_MAX,
            )


def new_positions(
    known: Mapping[int, JsonObject], ordered: Sequence[OrderedPosition], *, order_number: str
) -> tuple[OrderedPosition, ...]:
    """Those positions that the order does not have yet; empty for a plain repeat.

    Args:
        known: content of the order's positions by their number.
        ordered: what came in.
        order_number: for the message.

    Raises:
        OrderConflict: a position exists with other content.
    """
    added = []
    for position in ordered:
        before = known.get(position.position)
        if before is None:
            added.append(position)
        elif dump_json(before) != dump_json(position.content()):
            raise OrderConflict(
                f"Order {order_number} has other content in position {position.position}."
                " Use a new position number to extend the ticket, or a new order number.",
                order_number=order_number,
                position=position.position,
            )
    return tuple(added)


def check_ticket_size(present: int, added: Sequence[OrderedPosition]) -> None:
    """Refuse an extension that would make the ticket unusably large.

    Raises:
        QuantityOutOfRange: more than 5000 licences on one ticket.
    """
    total = present + sum(position.quantity for position in added)
    if total > TICKET_LICENSES_MAX:
        raise QuantityOutOfRange(
            f"The ticket would hold {total} licences; at most {TICKET_LICENSES_MAX} are possible. Use"
            f" another order number.",
            most=TICKET_LICENSES_MAX,
        )

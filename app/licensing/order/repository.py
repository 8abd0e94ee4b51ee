"""SQL of orders, their positions and the licences they bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.ids import LicenseId, OrderId, new_id
from app.core.json import JsonObject, dump_json, load_object
from app.licensing import tables
from app.licensing.errors import OrderNotFound
from app.licensing.item.item import Item
from app.licensing.license.license import LicenseState
from app.licensing.order.order import Order, OrderDraft
from app.licensing.order.order_rule import OrderedPosition
from app.licensing.product_item import ProductOptions, options_to_json

_order = tables.sales_order
_position = tables.order_position
_INSERT_ORDER = insert(_order)
_INSERT_POSITION = insert(_position)
_INSERT_LICENSE = insert(tables.license_)
_TOUCH = (
    update(_order).where(_order.c.order_number == bindparam("b_number")).values(version=_order.c.version + 1)
)
_EXTEND = (
    update(_order)
    .where(_order.c.order_number == bindparam("b_number"))
    .values(license_count=_order.c.license_count + bindparam("b_count"), changed_at_us=bindparam("b_now"))
)
_BY_NUMBER = select(_order).where(_order.c.order_number == bindparam("b_number"))
_BY_TICKET = select(_order).where(_order.c.ticket == bindparam("b_ticket"))
_POSITIONS = (
    select(_position).where(_position.c.order_number == bindparam("b_number")).order_by(_position.c.position)
)
_AFTER = (
    select(_order)
    .where(_order.c.order_id > bindparam("b_after"))
    .order_by(_order.c.order_id)
    .limit(bindparam("b_limit"))
)


def touch_order(tx: Tx, order_number: str) -> bool:
    """Take the order's row, so that two of the same number wait for each other; False when there is none."""
    return tx.write(_TOUCH, {"b_number": order_number}) == 1


def add_order(tx: Tx, draft: OrderDraft, *, ticket: str) -> bool:
    """Insert an order unless its number is taken."""
    now = to_us(tx.now)
    return tx.insert_if_absent(
        _INSERT_ORDER,
        {
            "order_number": draft.order_number,
            "order_id": new_id("ord"),
            "ticket": ticket,
            "customer_reference": draft.customer_reference,
            "license_count": 0,
            "version": 1,
            "created_at_us": now,
            "changed_at_us": now,
        },
    )


def add_positions(tx: Tx, order: Order, positions: Sequence[OrderedPosition]) -> None:
    """Insert positions and raise the order's number of licences."""
    now = to_us(tx.now)
    tx.write_many(
        _INSERT_POSITION,
        [
            {
                "order_number": order.order_number,
                "position": position.position,
                "content": dump_json(position.content()),
                "created_at_us": now,
            }
            for position in positions
        ],
    )
    added = sum(position.quantity for position in positions)
    tx.write(_EXTEND, {"b_number": order.order_number, "b_count": added, "b_now": now})


def add_licenses(
    tx: Tx, order: Order, position: OrderedPosition, *, item: Item, options: ProductOptions
) -> None:
    """Insert the licences of one position."""
    now = to_us(tx.now)
    ids = [LicenseId(new_id("lic")) for _ in range(position.quantity)]
    frozen: Parameters = {
        "ticket": order.ticket,
        "order_number": order.order_number,
        "position": position.position,
        "sku": item.sku,
        "item_name": item.name,
        "options": dump_json(options_to_json(options)),
        "container_types": dump_json([str(each) for each in item.container_types]),
        "returnable": int(item.returnable),
        "state": str(LicenseState.NOT_COLLECTED),
        "generation": 1,
        "container": None,
        "fuc": None,
        "pending_transfer": None,
        "created_at_us": now,
        "changed_at_us": now,
    }
    tx.write_many(_INSERT_LICENSE, [{**frozen, "license_id": license_id} for license_id in ids])


def get_order(reader: Reader, order_number: str) -> Order:
    """The order with this number.

    Raises:
        OrderNotFound: there is none.
    """
    row = reader.first(_BY_NUMBER, {"b_number": order_number})
    if row is None:
        raise OrderNotFound(f"There is no order {order_number}.", order_number=order_number)
    return _order_of(row, known_content(reader, order_number))


def find_order_of_ticket(reader: Reader, ticket: str) -> Order | None:
    """The order that a ticket stands for, without its positions, or None."""
    row = reader.first(_BY_TICKET, {"b_ticket": ticket})
    return None if row is None else _order_of(row, {})


def known_content(reader: Reader, order_number: str) -> dict[int, JsonObject]:
    """Content of each position of an order."""
    return {
        row.position: load_object(row.content) for row in reader.all(_POSITIONS, {"b_number": order_number})
    }


def list_orders(reader: Reader, *, after: str, limit: int) -> list[Order]:
    """Orders in the order of their making, after an order id."""
    rows = reader.all(_AFTER, {"b_after": after, "b_limit": limit})
    return [_order_of(row, known_content(reader, row.order_number)) for row in rows]


def _order_of(row: Row, content: Mapping[int, JsonObject]) -> Order:
    return Order(
        order_id=OrderId(row.order_id),
        order_number=row.order_number,
        ticket=row.ticket,
        customer_reference=row.customer_reference,
        positions=tuple(_position_of(number, each) for number, each in content.items()),
        license_count=row.license_count,
        created_at=from_us(row.created_at_us),
        changed_at=from_us(row.changed_at_us),
    )


def _position_of(number: int, content: JsonObject) -> OrderedPosition:
    options, quantity = content["options"], content["quantity"]
    if not isinstance(options, Mapping) or not isinstance(quantity, int):
        raise TypeError("an order position is stored with options and a quantity")
    return OrderedPosition(position=number, sku=str(content["sku"]), quantity=quantity, options=options)

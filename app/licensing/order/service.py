"""What an ERP system does with orders, and what a ticket's holder sees."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.ids import LicenseId
from app.core.json import JsonObject
from app.licensing.errors import OrderConflict, TicketUnknown
from app.licensing.item.repository import get_item
from app.licensing.license.license import License
from app.licensing.license.repository import LicenseFilter, get_license, list_licenses, list_ticket_licenses
from app.licensing.order import repository
from app.licensing.order.order import Order, OrderDraft, Ticket
from app.licensing.order.order_rule import OrderedPosition, check_ticket_size, new_positions
from app.licensing.order.ticket_code import new_ticket, parse_ticket
from app.licensing.product_item import merge_options


class OrderService:
    """Orders, tickets and licences of one instance."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def place_order(self, draft: OrderDraft, command: Command) -> Done[Order]:
        """Turn an order into a ticket with licences.

        The same order again changes nothing; new positions under the same number extend the ticket.

        Raises:
            OrderConflict: a position, or the customer reference, came before with other content.
            ItemNotFound: a position names an unknown SKU.
            QuantityOutOfRange: the ticket would grow too large.
        """

        def body(tx: Tx) -> JsonObject:
            created = self._take_order(tx, draft)
            order = repository.get_order(tx, draft.order_number)
            _check_reference(order, draft)
            known = {position.position: position.content() for position in order.positions}
            added = new_positions(known, draft.positions, order_number=draft.order_number)
            if added:
                check_ticket_size(order.license_count, added)
                _add(tx, order, added, created=created)
                command.charge(tx)
            return {"created": created, "extended": bool(added)}

        answer = self._db.run_command(command, body)
        replayed = answer.replayed or not answer.value["extended"]
        return Done(
            value=self.get_order(draft.order_number), replayed=replayed, created=bool(answer.value["created"])
        )

    def _take_order(self, tx: Tx, draft: OrderDraft) -> bool:
        if repository.touch_order(tx, draft.order_number):
            return False
        if repository.add_order(tx, draft, ticket=new_ticket()):
            return True
        # Somebody else's order of the same number was committed in between: its row is there now.
        repository.touch_order(tx, draft.order_number)
        return False

    def get_order(self, order_number: str) -> Order:
        """The order with this number.

        Raises:
            OrderNotFound: there is none.
        """
        return self._db.read(lambda reader: repository.get_order(reader, order_number))

    def list_orders(self, *, after: str = "", limit: int = 25) -> list[Order]:
        """Orders in the order of their making."""
        return self._db.read(lambda reader: repository.list_orders(reader, after=after, limit=limit))

    def get_ticket(self, ticket: str) -> Ticket:
        """A ticket with its licences.

        Raises:
            TicketMalformed: not a ticket at all.
            TicketUnknown: not one of this instance.
        """
        code = parse_ticket(ticket)
        return self._db.read(lambda reader: load_ticket(reader, code))

    def get_license(self, license_id: LicenseId) -> License:
        """One licence.

        Raises:
            LicenseNotFound: there is none with this id.
        """
        return self._db.read(lambda reader: get_license(reader, license_id))

    def list_licenses(self, chosen: LicenseFilter, *, after: str = "", limit: int = 25) -> list[License]:
        """Licences in the order of their making."""
        return self._db.read(lambda reader: list_licenses(reader, chosen, after=after, limit=limit))


def load_ticket(reader: Reader, code: str) -> Ticket:
    """A ticket with its licences, within somebody's view of the database.

    Raises:
        TicketUnknown: not one of this instance.
    """
    order = repository.find_order_of_ticket(reader, code)
    if order is None:
        raise TicketUnknown("This ticket is not known here. Please compare it with the one you were sent.")
    return Ticket(
        ticket=order.ticket,
        order_number=order.order_number,
        created_at=order.created_at,
        licenses=tuple(list_ticket_licenses(reader, code)),
    )


def _check_reference(order: Order, draft: OrderDraft) -> None:
    if order.customer_reference != draft.customer_reference:
        raise OrderConflict(
            f"Order {draft.order_number} belongs to another customer reference. Use another order number.",
            order_number=draft.order_number,
        )


def _add(tx: Tx, order: Order, added: Sequence[OrderedPosition], *, created: bool) -> None:
    for position in added:
        item = get_item(tx, position.sku)
        options = merge_options(item.options, position.options)
        repository.add_licenses(tx, order, position, item=item, options=options)
    repository.add_positions(tx, order, added)
    tx.emit(
        "order.created" if created else "order.extended",
        subject=order.order_number,
        # Thousands of licence ids are no event, and whoever holds the ticket collects: readers ask for the order.
        data={
            "order_number": order.order_number,
            "positions": [position.position for position in added],
            "license_count": sum(position.quantity for position in added),
        },
        before=None
        if created
        else {
            "positions": [position.position for position in order.positions],
            "license_count": order.license_count,
        },
    )

"""What staff do about customers."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from app.core.command import Command, Done
from app.core.db import Database, Tx
from app.core.errors import InputInvalid
from app.core.ids import CustomerId, new_id
from app.core.json import JsonObject
from tenancy import repository
from tenancy.errors import NameTaken
from tenancy.lifecycle.errors import CustomerVersionConflict
from tenancy.name import check_name
from tenancy.record import Customer, check_limit
from tenancy.transaction import carry_out

LONGEST_DISPLAY_NAME: Final = 120
"""Characters. Our own decision."""


class CustomerService:
    """Customers in the platform database. Thread-safe, blocking."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add_customer(
        self, name: str, *, display_name: str = "", command: Command | None = None
    ) -> Done[Customer]:
        """Add a customer.

        Args:
            name: short, unique, in the form of `check_name`.
            display_name: as people write it; the name if empty.
            command: the same one again adds nobody.

        Raises:
            NameUnfit, NameTaken, InputInvalid: one of the names.
        """
        check_name(name)
        shown = _check_display_name(display_name.strip() or name)
        customer_id = CustomerId(new_id("cus"))

        def body(tx: Tx) -> JsonObject:
            customer = Customer(customer_id=customer_id, name=name, display_name=shown, created_at=tx.now)
            if not repository.add_customer(tx, customer):
                raise NameTaken("A customer has that name already.", name=name)
            tx.emit("customer.added", subject=customer_id, data={"name": name})
            return {"customer_id": customer_id}

        answer = carry_out(self._db, command, body)
        customer = self.get_customer(CustomerId(str(answer.value["customer_id"])))
        return Done(value=customer, replayed=answer.replayed, created=not answer.replayed)

    def change_customer(
        self,
        customer_id: CustomerId,
        *,
        display_name: str,
        expected_version: int,
        command: Command | None = None,
    ) -> Done[Customer]:
        """Change how a customer's name is written. The short name stays: addresses and books hold it.

        Raises:
            InputInvalid: the display name.
            CustomerNotFound: there is none of that id.
            CustomerVersionConflict: somebody else has changed him since the caller read him.
        """
        shown = _check_display_name(display_name.strip())

        def body(tx: Tx) -> JsonObject:
            old = repository.get_customer(tx, customer_id)
            if old.version != expected_version or not repository.put_customer(
                tx, replace(old, display_name=shown)
            ):
                raise CustomerVersionConflict(
                    "The customer has been changed since you read him; read him again.",
                    expected=expected_version,
                    current=old.version,
                )
            tx.emit(
                "customer.changed",
                subject=customer_id,
                data={"display_name": shown},
                before={"display_name": old.display_name},
            )
            return {}

        answer = carry_out(self._db, command, body)
        return Done(value=self.get_customer(customer_id), replayed=answer.replayed)

    def get_customer(self, customer_id: CustomerId) -> Customer:
        """Read one customer.

        Raises:
            CustomerNotFound: there is none of that id.
        """
        return self._db.read(lambda reader: repository.get_customer(reader, customer_id))

    def list_customers(self, *, after: str = "", limit: int = 25) -> list[Customer]:
        """Customers with an id above `after`, oldest first.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        return self._db.read(lambda reader: repository.list_customers(reader, after=after, limit=limit))


def _check_display_name(shown: str) -> str:
    if not shown or len(shown) > LONGEST_DISPLAY_NAME or not shown.isprintable():
        raise InputInvalid(
            f"A display name has 1 to {LONGEST_DISPLAY_NAME} printable characters.", field="display_name"
        )
    return shown

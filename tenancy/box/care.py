"""Everything about boxes, put together."""

from __future__ import annotations

from app.core.db import Database
from tenancy.box.box_change import BoxChanges
from tenancy.box.control import BoxControl
from tenancy.box.keeper import BoxKeeper
from tenancy.box.key_mover import KeyMover
from tenancy.box.key_operation import KeyOperations
from tenancy.box.key_teller import KeyTeller
from tenancy.box.loan_operation import LoanOperations
from tenancy.box.note.customer_note import CustomerNotes
from tenancy.box.operation import BoxOperations
from tenancy.box.port import BoxGateway
from tenancy.box.service import BoxService
from tenancy.database.port import InstanceDatabases
from tenancy.operation.kind import OperationKind


class BoxCare:
    """The parts of this package over one platform database and one gateway.

    Attributes:
        service: what staff want of boxes.
        control: that, beside what the gateway reports.
        keeper: tells the gateway, and watches; a loop calls `look`.
        notes: tells customers; a loop calls `deliver_due`.

    Args:
        db: the platform database.
        databases: of the instances, whose customers are told what happens to their keys.
        gateway: of the boxes.
    """

    def __init__(self, db: Database, databases: InstanceDatabases, gateway: BoxGateway) -> None:
        self.service = BoxService(db)
        self.control = BoxControl(self.service, gateway)
        self.keeper = BoxKeeper(db, gateway, self.service)
        self.notes = CustomerNotes(db, databases)
        teller = KeyTeller(db)
        mover = KeyMover(db, gateway, teller)
        changes = BoxChanges(db, gateway)
        self._boxes = BoxOperations(changes, gateway, mover, db.clock)
        self._loans = LoanOperations(changes, gateway, mover)
        self._keys = KeyOperations(gateway, mover, teller)

    def kinds(self) -> tuple[OperationKind, ...]:
        """What the runner of operations needs."""
        return (*self._boxes.kinds(), *self._loans.kinds(), *self._keys.kinds())

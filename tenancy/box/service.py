"""What staff say about boxes: desired state in the platform database, each change with its event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.ids import InstanceId, OperationId, new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from tenancy.box import repository
from tenancy.box.box_change import store_change
from tenancy.box.errors import BoxStateUnfit, FirmKeyNotFound
from tenancy.box.plan import END_LOAN
from tenancy.box.record import BoxChange, BoxRecord, BoxUser, KeyHome, check_state, load
from tenancy.box.watch import Seen
from tenancy.errors import OperationRunning
from tenancy.operation import repository as operations
from tenancy.operation.plan import Operation
from tenancy.operation.start import start_operation
from tenancy.transaction import carry_out


class BoxService:
    """Boxes in the platform database. Thread-safe, blocking. The gateway is told by whoever calls `BoxKeeper`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @property
    def now(self) -> datetime:
        """By the platform's clock."""
        return self._db.clock.now()

    def get_box(self, name: str) -> BoxRecord:
        """Read one box.

        Raises:
            BoxUnknown: there is none of that name.
        """
        return self._db.read(lambda reader: repository.get_box(reader, name))

    def list_boxes(self) -> list[BoxRecord]:
        """All boxes, by name."""
        return self._db.read(repository.list_boxes)

    def list_key_homes(self) -> list[KeyHome]:
        """Where each instance's firm key belongs, by firm code."""
        return self._db.read(repository.list_key_homes)

    def list_conditions(self) -> dict[str, Seen]:
        """How boxes and pools were seen last, by subject; healthy ones that were never anything else are not there."""
        return self._db.read(repository.list_conditions)

    def get_home(self, firm_code: int) -> KeyHome:
        """Whose a firm code is.

        Raises:
            FirmKeyNotFound: no instance has it.
        """
        return self._db.read(lambda reader: get_home(reader, firm_code))

    def change_box(
        self, name: str, change: BoxChange, *, version: int, command: Command | None = None
    ) -> Done[BoxRecord]:
        """Change a box's pace, faults, token or transactions.

        Raises:
            BoxUnknown, BoxVersionConflict: the box.
            BoxSpecInvalid, BoxTokenFixed: no box is like that, or it would be in another token.
        """
        return self._change(
            name, "box.changed", lambda box: replace(box, spec=change.of(box.spec)), version, command
        )

    def drain_box(
        self, name: str, *, version: int, by: BoxUser = "staff", command: Command | None = None
    ) -> Done[BoxRecord]:
        """Let a box finish what it has and take nothing more. Again: by somebody else.

        Raises:
            BoxUnknown, BoxVersionConflict, BoxStateUnfit: the box.
        """
        return self._change(name, "box.drained", lambda box: _drain(box, by=by), version, command)

    def resume_box(self, name: str, *, version: int, command: Command | None = None) -> Done[BoxRecord]:
        """Let a drained box take work again.

        Raises:
            BoxUnknown, BoxVersionConflict, BoxStateUnfit: the box.
        """
        return self._change(name, "box.resumed", lambda box: _drain(box, by=None), version, command)

    def load_transactions(self, name: str, number: int, *, command: Command | None = None) -> Done[BoxRecord]:
        """Write down that so many transactions were loaded into a box.

        Raises:
            BoxUnknown: there is none of that name.
            BoxSpecInvalid: nothing is deducted in it, or the number is out of range.
        """
        return self._change(
            name,
            "box.transactions_loaded",
            lambda box: replace(box, spec=load(box.spec, number)),
            None,
            command,
        )

    def note_retry(self, name: str, *, command: Command | None = None) -> Done[BoxRecord]:
        """Write down that staff want a box to look again whether it can work.

        Raises:
            BoxUnknown: there is none of that name.
        """

        def body(tx: Tx) -> JsonObject:
            repository.get_box(tx, name)
            tx.emit("box.retried", subject=name, data={})
            return {}

        return self._done(name, carry_out(self._db, command, body).replayed)

    def return_box(self, name: str, *, command: Command | None = None) -> Done[Operation]:
        """End a box's loan now: it works for its own pool at once, then the borrower's keys are taken out of it.

        Raises:
            BoxUnknown: there is none of that name.
            BoxStateUnfit: it is not lent.
            OperationRunning: something is being done to it already.
        """

        def body(tx: Tx) -> JsonObject:
            box = repository.get_box(tx, name)
            if box.spec.lent_to is None:
                raise BoxStateUnfit("The box is not lent.", box=name)
            return {"operation_id": start_operation(tx, END_LOAN, object_id=name)}

        answer = carry_out(self._db, command, body)
        started = OperationId(str(answer.value["operation_id"]))
        operation = self._db.read(lambda reader: operations.get_operation(reader, started))
        return Done(value=operation, replayed=answer.replayed, created=not answer.replayed)

    def end_loans(self) -> int:
        """Start taking the borrower's keys out of boxes whose loan is over; returns of how many. A loop calls it."""
        return sum(self._end_loan(name) for name in self._db.read(repository.list_loans_over))

    def _end_loan(self, name: str) -> bool:
        def body(tx: Tx) -> JsonObject:
            return {"operation_id": start_operation(tx, END_LOAN, object_id=name)}

        try:
            self._db.run_tx(new_id("op"), body, origin=system_origin("sweepBoxes.endLoan"))
        except OperationRunning:
            return False
        return True

    def _change(
        self,
        name: str,
        event: str,
        change: Callable[[BoxRecord], BoxRecord],
        version: int | None,
        command: Command | None,
    ) -> Done[BoxRecord]:
        def body(tx: Tx) -> JsonObject:
            store_change(tx, name, change, event=event, expected_version=version)
            return {}

        return self._done(name, carry_out(self._db, command, body).replayed)

    def _done(self, name: str, replayed: bool) -> Done[BoxRecord]:
        return Done(value=self.get_box(name), replayed=replayed)


def get_home(reader: Reader, firm_code: int) -> KeyHome:
    """Whose a firm code is.

    Raises:
        FirmKeyNotFound: no instance has it.
    """
    homes = repository.list_key_homes(reader)
    found = next((home for home in homes if home.firm_code == firm_code), None)
    if found is None:
        raise FirmKeyNotFound("No instance has this firm code.", firm_code=firm_code)
    return found


def find_home(reader: Reader, instance_id: str) -> KeyHome:
    """Where an instance's key belongs.

    Raises:
        FirmKeyNotFound: there is no such instance.
    """
    homes = repository.list_key_homes(reader)
    found = next((home for home in homes if home.instance_id == InstanceId(instance_id)), None)
    if found is None:
        raise FirmKeyNotFound("No instance has this firm key.")
    return found


def _drain(box: BoxRecord, *, by: BoxUser | None) -> BoxRecord:
    check_state(box, "active")
    return replace(box, spec=replace(box.spec, drained=by is not None), drained_by=by)

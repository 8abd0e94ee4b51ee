"""The transactions that end a reservation: issue the update, or roll everything back. Exactly one of them succeeds.

Both take the counter's row first and the container's next, as the reservation does: no two of them ever wait for
each other crosswise.
"""

from __future__ import annotations

from dataclasses import replace

from app.core.command import Command
from app.core.db import Database, Tx
from app.core.json import JsonObject
from app.core.origin import system_origin
from app.licensing.container import repository as containers
from app.licensing.container.container_rule import ContainerState
from app.licensing.errors import ContainerBlocked, ContainerUnexpectedState, TransferRolledBack
from app.licensing.license import repository as licenses
from app.licensing.license.license import ISSUED_STATE, LicenseAction
from app.licensing.transfer import repository
from app.licensing.transfer.reservation import effects_of
from app.licensing.transfer.transfer_plan import Transfer, TransferState
from editions import Month, metering
from fsb_gateway import ProgrammingResult

_ISSUING = system_origin("startTransfer.issue")
_ROLLING_BACK = system_origin("startTransfer.rollBack")
_RESERVED: JsonObject = {"state": str(TransferState.RESERVED)}
_ISSUED_EVENT = {LicenseAction.ACTIVATE: "license.collected", LicenseAction.DEACTIVATE: "license.returned"}


def issue(db: Database, transfer: Transfer, result: ProgrammingResult) -> Transfer:
    """Store the update, count its effects and let it be handed out. Doing it again changes nothing.

    A container that was stopped in the meantime gets nothing: the update is thrown away, the transfer rolled back.

    Returns:
        The transfer as it is stored now; whoever ended it, with the update that was stored first.

    Raises:
        TransferRolledBack: somebody gave the transfer up in the meantime; the update is thrown away.
    """
    issued, month = transfer, Month.parse(transfer.month)

    def body(tx: Tx) -> JsonObject:
        nonlocal issued
        metering.hold(tx, month=month)
        raised = containers.issue(tx, transfer.container, fuc=transfer.fuc)
        if not repository.issue(tx, transfer.transfer_id, result.update):
            raise TransferRolledBack(
                "This transfer was rolled back before it was programmed.", transfer_id=transfer.transfer_id
            )
        if not raised:
            raise _why_not(tx, transfer)
        moves = [(license_id, ISSUED_STATE[action]) for license_id, action in transfer.licenses]
        licenses.issue_licenses(
            tx, transfer.transfer_id, moves, container=transfer.container, fuc=transfer.fuc
        )
        metering.count(tx, effects_of(transfer.transfer_id, transfer.licenses), month=month)
        _emit_issued(tx, transfer, result)
        issued = replace(transfer, state=TransferState.ISSUED, update=result.update, issued_at=tx.now)
        return {"issued": True}

    try:
        replayed = db.run_tx(f"issue:{transfer.transfer_id}", body, origin=_ISSUING).replayed
    except (ContainerBlocked, ContainerUnexpectedState) as stopped:
        roll_back(db, transfer, stopped.code)
        replayed = True
    if replayed:
        return db.read(lambda reader: repository.get_transfer(reader, transfer.transfer_id))
    return issued


def _why_not(tx: Tx, transfer: Transfer) -> Exception:
    """Why the container's counter cannot be raised."""
    serial = transfer.container
    containers.touch_container(tx, serial)
    state = containers.get_container(tx, serial).state
    if state is ContainerState.BLOCKED:
        return ContainerBlocked(f"Container {serial} is blocked by the vendor.", serial=serial)
    if state is ContainerState.UNEXPECTED_STATE:
        return ContainerUnexpectedState(f"Container {serial} contradicts the books.", serial=serial)
    return RuntimeError(f"container {serial} is not at counter {transfer.fuc - 1}: the books are damaged")


def _emit_issued(tx: Tx, transfer: Transfer, result: ProgrammingResult) -> None:
    about: JsonObject = {"transfer_id": transfer.transfer_id, "container": transfer.container}
    tx.emit(
        "transfer.issued",
        subject=transfer.transfer_id,
        data={**about, "fuc": transfer.fuc, "box": result.box},
        before=_RESERVED,
    )
    for license_id, action in transfer.licenses:
        tx.emit(_ISSUED_EVENT[action], subject=license_id, data={**about, "license_id": license_id})


def roll_back(db: Database, transfer: Transfer, reason: str, *, command: Command | None = None) -> bool:
    """Free the licences and give the quota back; says whether it was still to be done. Nothing is counted.

    The operation id of the reservation and the context it used are freed as well, so that the caller can try the same
    request again.

    Args:
        db: the instance's database.
        transfer: as it was reserved.
        reason: stable code, for the books.
        command: who asks for it; None if nobody does.
    """
    month = Month.parse(transfer.month)
    asked = command or Command(op_id=f"rollback:{transfer.transfer_id}", origin=_ROLLING_BACK)

    def body(tx: Tx) -> JsonObject:
        metering.hold(tx, month=month)
        containers.touch_container(tx, transfer.container)
        if not repository.roll_back(tx, transfer.transfer_id, reason):
            if command is not None:
                tx.forget(tx.op_id)
            return {"rolled_back": False}
        asked.charge(tx)
        licenses.free_licenses(tx, transfer.transfer_id, [license_id for license_id, _ in transfer.licenses])
        containers.give_context_back(tx, transfer.container)
        metering.release(tx, effects_of(transfer.transfer_id, transfer.licenses), month=month)
        tx.forget(repository.get_op_id(tx, transfer.transfer_id))
        tx.emit(
            "transfer.rolled_back",
            subject=transfer.transfer_id,
            data={"transfer_id": transfer.transfer_id, "container": transfer.container, "reason": reason},
            before=_RESERVED,
        )
        return {"rolled_back": True}

    return bool(db.run_command(asked, body).value["rolled_back"])

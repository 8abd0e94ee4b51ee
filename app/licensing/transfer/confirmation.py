"""Confirming what a container's counter proves: by a receipt, or by any later context."""

from __future__ import annotations

from app.core.command import Command
from app.core.db import Database, Reader, Tx
from app.core.ids import TransferId
from app.core.json import JsonObject
from app.licensing.container import repository as containers
from app.licensing.container.container_rule import (
    Container,
    Refused,
    Report,
    Unexpected,
    UnexpectedReason,
    check_made_at,
    judge,
    unexpected_state,
)
from app.licensing.errors import (
    ContextWrongContainer,
    ContextWrongFirmCode,
    ReceiptTooOld,
    TransferNotIssued,
    TransferRolledBack,
)
from app.licensing.license import repository as licenses
from app.licensing.license.license import LicenseAction
from app.licensing.transfer import repository
from app.licensing.transfer.transfer_plan import Transfer, TransferState
from fsb_gateway import Context

_CONFIRMED_EVENT = {
    LicenseAction.ACTIVATE: "license.collection_confirmed",
    LicenseAction.DEACTIVATE: "license.return_confirmed",
}


def confirm_proven(tx: Tx, container: Container, context: Context) -> None:
    """Note a fitting context, and confirm every issued transfer up to its counter."""
    if context.fuc > container.fuc_confirmed:
        proven = [
            each
            for each in repository.list_unfinished(tx, container.serial, above_fuc=container.fuc_confirmed)
            if each.state is TransferState.ISSUED and each.fuc <= context.fuc
        ]
        repository.confirm(tx, container.serial, fuc=context.fuc)
        licenses.confirm_licenses(tx, container=container.serial, fuc=context.fuc)
        for each in proven:
            _emit(tx, container.serial, each.transfer_id, context)
    if context.made_at != container.last_context_at:
        containers.prove(tx, context)


def _emit(tx: Tx, serial: str, transfer_id: TransferId, context: Context) -> None:
    tx.emit(
        "transfer.confirmed",
        subject=transfer_id,
        data={"transfer_id": transfer_id, "container": serial, "by": context.kind},
        before={"state": str(TransferState.ISSUED)},
    )
    for license_id, action in repository.list_actions(tx, transfer_id):
        tx.emit(
            _CONFIRMED_EVENT[action],
            subject=license_id,
            data={"license_id": license_id, "container": serial, "transfer_id": transfer_id},
        )


def confirm_by_receipt(
    db: Database, transfer_id: TransferId, receipt: Context, *, firm_code: int, command: Command
) -> bool:
    """Confirm a transfer by a receipt; says whether anything was new.

    Raises:
        TransferNotFound, TransferNotIssued, TransferRolledBack: there is nothing to confirm.
        ContextWrongContainer, ContextWrongFirmCode: the receipt belongs elsewhere.
        ContextFromFuture: made by a clock that is far ahead.
        ReceiptTooOld: made before the update was applied.
        ContainerUnexpectedState: the receipt contradicts the books.
    """
    if receipt.firm_code != firm_code:
        raise ContextWrongFirmCode(
            f"The receipt was made for firm code {receipt.firm_code}; this instance programs {firm_code}.",
            firm_code=firm_code,
        )
    check_made_at(receipt.serial, receipt.made_at, now=db.clock.now())

    def body(tx: Tx) -> JsonObject:
        containers.touch_container(tx, receipt.serial)
        transfer = repository.get_transfer(tx, transfer_id)
        _check_receipt(transfer, receipt)
        if transfer.state is TransferState.CONFIRMED:
            return {"new": False}
        container = containers.get_container(tx, receipt.serial)
        verdict = judge(
            container,
            Report(key_thumbprint=receipt.signing_key_thumbprint, fuc=receipt.fuc, made_at=receipt.made_at),
        )
        if isinstance(verdict, Refused):
            raise verdict.error
        if isinstance(verdict, Unexpected):
            containers.set_unexpected(tx, receipt, verdict.reason)
            data: JsonObject = {
                "serial": receipt.serial,
                "reason": str(verdict.reason),
                "reported_fuc": receipt.fuc,
            }
            before = containers.audited(container)
            tx.emit("container.unexpected_state", subject=receipt.serial, data=data, before=before)
            return {"unexpected": str(verdict.reason)}
        confirm_proven(tx, container, receipt)
        command.charge(tx)
        return {"new": True}

    answer = db.run_command(command, body)
    if "unexpected" in answer.value:
        raise unexpected_state(receipt.serial, UnexpectedReason(str(answer.value["unexpected"])))
    return bool(answer.value["new"]) and not answer.replayed


def is_from(reader: Reader, transfer: Transfer, shown: Context, *, firm_code: int) -> bool:
    """Whether a file comes from whoever holds the transfer's container now.

    It was made by this container, by its serial, its firm code and the key it is known by; and it is what the transfer
    was asked for with, or not older than anything seen of the container: a file that somebody kept is neither.
    """
    if (shown.serial, shown.firm_code) != (transfer.container, firm_code):
        return False
    container = containers.get_container(reader, transfer.container)
    if container.key_thumbprint != shown.signing_key_thumbprint:
        return False
    if shown.digest == repository.get_job(reader, transfer.transfer_id)["context_digest"]:
        return True
    return shown.fuc >= transfer.base_fuc and shown.made_at >= container.last_context_at


def _check_receipt(transfer: Transfer, receipt: Context) -> None:
    if transfer.container != receipt.serial:
        raise ContextWrongContainer(
            f"The receipt comes from container {receipt.serial}; the transfer is for {transfer.container}.",
            serial=receipt.serial,
        )
    if transfer.state is TransferState.ROLLED_BACK:
        raise TransferRolledBack(
            "This transfer was rolled back; there is nothing to confirm.", transfer_id=transfer.transfer_id
        )
    if transfer.state is TransferState.RESERVED:
        raise TransferNotIssued(
            "This transfer has no update yet; ask for its state first.", transfer_id=transfer.transfer_id
        )
    if receipt.fuc < transfer.fuc:
        raise ReceiptTooOld(
            "The receipt was made before this transfer's update was applied. Apply the update and make a new receipt.",
            transfer_id=transfer.transfer_id,
        )

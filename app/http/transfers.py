"""Transfers, for the vendor's systems: counted calls. What ticket holders may do with them is in `holder_api`."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from fastapi.responses import PlainTextResponse
from starlette.requests import Request

from app.core.command import free_of_charge
from app.core.errors import InputInvalid
from app.core.ids import LicenseId, TransferId
from app.http.call import WebServiceRoute, call_of, needs
from app.http.instance_api import InstanceName
from app.http.schema.example import CANCELLED, RESERVED, TRANSFER, example, refusals
from app.http.schema.transfer import (
    HolderTransferCreate,
    TransferConfirm,
    TransferCreate,
    TransferRead,
    license_ids_of,
)
from app.licensing import (
    Started,
    Transfer,
    TransferAction,
    TransferRequest,
    TransferState,
    Wish,
    parse_ticket,
)
from editions import ACTIVATIONS
from fsb_gateway import Priority, read_context

api = APIRouter(prefix="/{instance}/api/v1", route_class=WebServiceRoute)

UPDATE_TYPE: Final = "application/vnd.wops.update+jose"
_NO_WEIGHT: Final = re.compile(r"q=0(\.0{0,3})?")
Id = Annotated[str, Path(max_length=64, examples=["trf_019b0a3c6a1b7c2d8e9f0a1b2c3d4e5f"])]
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    **example(201, TRANSFER),
    200: {
        "description": "The same request was carried out before, or auto_update fetched this.",
        "model": TransferRead,
        "content": {"application/json": {"example": TRANSFER}},
    },
    202: {
        "description": "The box is slow: ask the transfer's address again when `Retry-After` says. `queue` tells where "
        "it stands.",
        "model": TransferRead,
        "content": {"application/json": {"example": RESERVED}},
    },
    204: {"description": "auto_update: there is nothing to update."},
}


def shown_example(transfer: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Describes the answer to whoever reads a transfer."""
    return {
        200: {
            "description": "The transfer, or just its update file if that is what `Accept` names.",
            "content": {
                "application/json": {"example": transfer},
                UPDATE_TYPE: {"schema": {"type": "string"}, "example": transfer["update"]},
            },
        }
    }


DESCRIPTION: Final = """Collect licences into a container, return them, or both in one programming.

The natural key is container, counter (FUC), ticket and licences: the same request again gets the same
update, byte for byte, and is counted once. A slow box answers 202 with the transfer's address. Updates that
the container has not confirmed are included again. `auto_update` fetches what is missing, or answers 204."""


@api.post(
    "/transfers",
    operation_id="startTransfer",
    summary="Start a transfer",
    description=DESCRIPTION,
    status_code=201,
    response_model=TransferRead,
    tags=["transfers"],
    openapi_extra=needs("licenses"),
    responses={**ANSWERS, **refusals(404, 409, 422)},
)
async def start_transfer(
    instance: InstanceName, body: TransferCreate, request: Request, response: Response
) -> object:
    """See `DESCRIPTION`."""
    call = call_of(request)
    wanted = transfer_request(body, principal=call.principal, authenticated=True, priority=body.priority)
    transfer, started = await call.runtime.transfers.start_transfer(wanted, await call.command_by_answer())
    if started is Started.REPEATED:
        call.mark_replayed()
    call.show_quota(await to_thread.run_sync(call.runtime.quota, ACTIVATIONS))
    return answer_started(transfer, started, response, url=f"/{instance}/api/v1/transfers")


@api.get(
    "/transfers/{transfer_id}",
    operation_id="getTransfer",
    summary="Read a transfer",
    response_model=TransferRead,
    tags=["transfers"],
    openapi_extra=needs("read"),
    responses={**shown_example(TRANSFER), **refusals(404)},
)
async def get_transfer(
    instance: InstanceName, transfer_id: Id, request: Request, response: Response
) -> object:
    """A transfer as it stands; with `Accept: application/vnd.wops.update+jose` just its update file.

    While it is reserved, `queue` says where its job stands at the boxes, and `Retry-After` when to ask again.
    """
    transfer = await call_of(request).runtime.transfers.follow_transfer(TransferId(transfer_id))
    return show_transfer(request, transfer, response)


@api.post(
    "/transfers/{transfer_id}:confirm",
    operation_id="confirmTransfer",
    summary="Confirm a transfer by its receipt",
    tags=["transfers"],
    openapi_extra=needs("licenses"),
    responses={**example(200, {**TRANSFER, "state": "confirmed"}), **refusals(404, 409, 422)},
)
async def confirm_transfer(
    instance: InstanceName, transfer_id: Id, body: TransferConfirm, request: Request
) -> TransferRead:
    """Tell that the container has applied the update.

    A receipt is never refused for a quota; the same one again changes nothing.
    """
    call = call_of(request)
    command = replace(call.command, charge=free_of_charge)
    transfer, new = await call.runtime.transfers.confirm_transfer(
        TransferId(transfer_id), read_context(body.receipt), command
    )
    if not new:
        call.mark_replayed()
    return TransferRead.of(transfer)


@api.post(
    "/transfers/{transfer_id}:cancel",
    operation_id="cancelTransfer",
    summary="Cancel a transfer",
    tags=["transfers"],
    openapi_extra=needs("licenses"),
    responses={**example(200, CANCELLED), **refusals(404, 409)},
)
async def cancel_transfer(instance: InstanceName, transfer_id: Id, request: Request) -> TransferRead:
    """Give a transfer up while it waits: quota and licences are free again, and no activation is counted.

    A box that has begun is let finish (409 `job_running`); an update that is there stays (409 `transfer_issued`). What
    is rolled back already is answered as it is. Never refused for a quota.
    """
    call = call_of(request)
    command = replace(call.command, charge=free_of_charge)
    transfer, new = await call.runtime.transfers.cancel_transfer(TransferId(transfer_id), command)
    if not new:
        call.mark_replayed()
    return TransferRead.of(transfer)


def transfer_request(
    body: HolderTransferCreate,
    *,
    principal: str,
    authenticated: bool,
    priority: Priority = "interactive",
) -> TransferRequest:
    """The domain's request out of a body.

    Raises:
        InputInvalid: the fields do not go together.
        FileMalformed, ContextUntrusted, TicketMalformed: what they hold is no context or ticket.
    """
    action = TransferAction(body.action)
    ids = license_ids_of(body.license_ids or [])
    wish = Wish(
        ticket=None if body.ticket is None else parse_ticket(body.ticket),
        activate=_activations(action, body),
        deactivate=ids
        if action is TransferAction.DEACTIVATE
        else license_ids_of(body.deactivate_license_ids),
    )
    if action is TransferAction.ACTIVATE and wish.ticket is None:
        raise InputInvalid("To collect licences, send their ticket.", field="ticket")
    if action is TransferAction.DEACTIVATE and not ids:
        raise InputInvalid("To return licences, name them.", field="license_ids")
    if action is not TransferAction.ACTIVATE and body.deactivate_license_ids:
        raise InputInvalid(
            "deactivate_license_ids goes with activate; use license_ids.", field="deactivate_license_ids"
        )
    return TransferRequest(
        context=read_context(body.context),
        container=body.container,
        action=action,
        wish=wish,
        principal=principal,
        authenticated=authenticated,
        priority=priority,
    )


def _activations(action: TransferAction, body: HolderTransferCreate) -> tuple[LicenseId, ...] | None:
    if action is not TransferAction.ACTIVATE:
        return ()
    return None if body.license_ids is None else license_ids_of(body.license_ids)


def answer_started(transfer: Transfer | None, started: Started, response: Response, *, url: str) -> object:
    """The answer to whoever has started a transfer."""
    if transfer is None:
        return Response(status_code=204, headers=dict(response.headers))
    response.headers["Location"] = f"{url}/{transfer.transfer_id}"
    if transfer.state is TransferState.RESERVED:
        response.status_code = 202
        _say_when_to_ask(transfer, response)
    else:
        response.status_code = 201 if started is Started.NEW else 200
    return TransferRead.of(transfer)


def show_transfer(request: Request, transfer: Transfer, response: Response) -> object:
    """The answer to whoever reads a transfer: as JSON, or just its update."""
    _say_when_to_ask(transfer, response)
    if transfer.update is None or not _wants_file(request.headers.get("accept", "")):
        response.headers["Vary"] = "Accept"
        return TransferRead.of(transfer)
    disposition = f'attachment; filename="{transfer.transfer_id}.wops-update"'
    return PlainTextResponse(
        transfer.update,
        media_type=UPDATE_TYPE,
        headers={"Content-Disposition": disposition, "Vary": "Accept"},
    )


def _say_when_to_ask(transfer: Transfer, response: Response) -> None:
    if transfer.standing is not None:
        seconds = math.ceil(transfer.standing.ask_again_after.total_seconds())
        response.headers["Retry-After"] = str(seconds)


def _wants_file(accept: str) -> bool:
    """Whether the update file is named by its own type, and not as unacceptable (RFC 9110 §12.5.1)."""
    for wanted in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in wanted.split(";"))
        if media_type == UPDATE_TYPE:
            return not any(_NO_WEIGHT.fullmatch(each) for each in parameters)
    return False

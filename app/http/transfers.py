"""Transfers, for the vendor's systems (counted calls) and for ticket holders (`/gateways/v1`, not counted)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from fastapi.responses import PlainTextResponse
from starlette.requests import Request

from app.core.command import Command, free_of_charge
from app.core.errors import InputInvalid
from app.core.ids import LicenseId, TransferId
from app.core.origin import Actor, Origin
from app.http.call import PlainRoute, WebServiceRoute, call_of, needs
from app.http.idempotency import REPLAYED, operation_id_of
from app.http.instance_api import InstanceName
from app.http.request_body import fingerprint
from app.http.schema.example import HOLDER_TICKET, RESERVED, TRANSFER, example, open_refusals, refusals
from app.http.schema.licensing import HolderTicketRead
from app.http.schema.tenancy import TemplateRead
from app.http.schema.transfer import TransferConfirm, TransferCreate, TransferRead, license_ids_of
from app.licensing import (
    Started,
    Transfer,
    TransferAction,
    TransferRequest,
    TransferState,
    Wish,
    parse_ticket,
)
from app.operations.line import InstanceRuntime
from editions import ACTIVATIONS, rate_limit_headers
from fsb_gateway import Context, read_context

api = APIRouter(prefix="/{instance}/api/v1", route_class=WebServiceRoute)
gateways = APIRouter(prefix="/{instance}/gateways/v1", route_class=PlainRoute)

UPDATE_TYPE: Final = "application/vnd.wops.update+jose"
RETRY_SECONDS: Final = 2
_HOLDER: Final = "ticket-holder"
_NO_WEIGHT: Final = re.compile(r"q=0(\.0{0,3})?")
Id = Annotated[str, Path(max_length=64, examples=["trf_019b0a3c6a1b7c2d8e9f0a1b2c3d4e5f"])]
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    **example(201, TRANSFER),
    200: {
        "description": "The same request was carried out before, or auto_update fetched this.",
        "model": TransferRead,
        "content": {"application/json": {"example": TRANSFER}},
    },
    202: {
        "description": "The box is slow: ask the transfer's address again.",
        "model": TransferRead,
        "content": {"application/json": {"example": RESERVED}},
    },
    204: {"description": "auto_update: there is nothing to update."},
}


def _shown_example(transfer: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {
        200: {
            "description": "The transfer, or just its update file if that is what `Accept` names.",
            "content": {
                "application/json": {"example": transfer},
                UPDATE_TYPE: {"schema": {"type": "string"}, "example": transfer["update"]},
            },
        }
    }


_DESCRIPTION: Final = """Collect licences into a container, return them, or both in one programming.

The natural key is container, counter (FUC), ticket and licences: the same request again gets the same
update, byte for byte, and is counted once. A slow box answers 202 with the transfer's address. Updates that
the container has not confirmed are included again. `auto_update` fetches what is missing, or answers 204."""


@api.post(
    "/transfers",
    operation_id="startTransfer",
    summary="Start a transfer",
    description=_DESCRIPTION,
    status_code=201,
    response_model=TransferRead,
    tags=["transfers"],
    openapi_extra=needs("licenses"),
    responses={**_ANSWERS, **refusals(404, 409, 422)},
)
async def start_transfer(
    instance: InstanceName, body: TransferCreate, request: Request, response: Response
) -> object:
    """See `_DESCRIPTION`."""
    call = call_of(request)
    wanted = transfer_request(body, principal=call.principal, authenticated=True)
    transfer, started = await call.runtime.transfers.start_transfer(wanted, await call.command_by_answer())
    if started is Started.REPEATED:
        call.mark_replayed()
    call.show_quota(await to_thread.run_sync(call.runtime.quota, ACTIVATIONS))
    return _answer(transfer, started, response, url=f"/{instance}/api/v1/transfers")


@api.get(
    "/transfers/{transfer_id}",
    operation_id="getTransfer",
    summary="Read a transfer",
    response_model=TransferRead,
    tags=["transfers"],
    openapi_extra=needs("read"),
    responses={**_shown_example(TRANSFER), **refusals(404)},
)
async def get_transfer(
    instance: InstanceName, transfer_id: Id, request: Request, response: Response
) -> object:
    """A transfer as it stands; with `Accept: application/vnd.wops.update+jose` just its update file."""
    runtime = call_of(request).runtime
    transfer = await to_thread.run_sync(runtime.transfers.get_transfer, TransferId(transfer_id))
    return _shown(request, transfer, response)


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


@gateways.get(
    "/tickets/{ticket}",
    operation_id="getHolderTicket",
    summary="Read a ticket as its holder",
    tags=["gateways"],
    responses={**example(200, HOLDER_TICKET), **open_refusals(404, 422)},
)
async def get_holder_ticket(
    instance: InstanceName,
    ticket: Annotated[str, Path(examples=["NFGSX-VWNYJ-T74CD-48H5B-7NEEJ"])],
    request: Request,
) -> HolderTicketRead:
    """What an activation wizard shows: the ticket's licences and where they are. Whoever has the ticket may read it."""
    return HolderTicketRead.of(await to_thread.run_sync(_runtime(request).orders.get_ticket, ticket))


@gateways.get(
    "/template",
    operation_id="getContainerTemplate",
    summary="Read the container template",
    tags=["gateways"],
    responses={
        **example(
            200,
            {
                "instance": "ins_019b0a3c3a1b7c2d8e9f0a1b2c3d4e5f",
                "firm_code": 6000010,
                "root_certificate": "-----BEGIN CERTIFICATE-----\n…",
            },
        ),
        **open_refusals(404),
    },
)
async def get_template(instance: InstanceName, request: Request) -> TemplateRead:
    """What a new container needs to know: the vendor's firm code, and the root that updates are checked against."""
    runtime = _runtime(request)
    profile = await to_thread.run_sync(runtime.access.profile)
    root = await request.app.state.root_certificate()
    return TemplateRead(instance=profile.instance_id, firm_code=profile.firm_code, root_certificate=root)


@gateways.post(
    "/transfers",
    operation_id="startHolderTransfer",
    summary="Start a transfer as a ticket's holder",
    description=_DESCRIPTION + "\n\nNot a web-service call; activations count all the same.",
    status_code=201,
    response_model=TransferRead,
    tags=["gateways"],
    responses={**_ANSWERS, **open_refusals(404, 409, 422, 429)},
)
async def start_holder_transfer(
    instance: InstanceName, body: TransferCreate, request: Request, response: Response
) -> object:
    """See `_DESCRIPTION`."""
    runtime = _runtime(request)
    wanted = transfer_request(body, principal=_HOLDER, authenticated=False)
    command = _command(request, "startHolderTransfer", wanted.context, wanted.wish.ticket or "")
    transfer, started = await runtime.transfers.start_transfer(wanted, command)
    if started is Started.REPEATED:
        response.headers[REPLAYED] = "true"
    quota = await to_thread.run_sync(runtime.quota, ACTIVATIONS)
    for name, value in rate_limit_headers([quota], runtime.clock.now()):
        response.headers[name] = value
    return _answer(transfer, started, response, url=f"/{instance}/gateways/v1/transfers")


@gateways.get(
    "/transfers/{transfer_id}",
    operation_id="getHolderTransfer",
    summary="Read a transfer as a ticket's holder",
    response_model=TransferRead,
    tags=["gateways"],
    responses={**_shown_example({**TRANSFER, "ticket": None}), **open_refusals(404)},
)
async def get_holder_transfer(
    instance: InstanceName, transfer_id: Id, request: Request, response: Response
) -> object:
    """A transfer as it stands. Its id cannot be guessed, and its update is of use to its container only."""
    transfer = await to_thread.run_sync(_runtime(request).transfers.get_transfer, TransferId(transfer_id))
    return _shown(request, _without_ticket(transfer), response)


@gateways.post(
    "/transfers/{transfer_id}:confirm",
    operation_id="confirmHolderTransfer",
    summary="Confirm a transfer as a ticket's holder",
    tags=["gateways"],
    responses={
        **example(200, {**TRANSFER, "ticket": None, "state": "confirmed"}),
        **open_refusals(404, 409, 422),
    },
)
async def confirm_holder_transfer(
    instance: InstanceName, transfer_id: Id, body: TransferConfirm, request: Request, response: Response
) -> TransferRead:
    """Tell that the container has applied the update; the same receipt again changes nothing."""
    receipt = read_context(body.receipt)
    command = _command(request, "confirmHolderTransfer", receipt, transfer_id)
    transfer, new = await _runtime(request).transfers.confirm_transfer(
        TransferId(transfer_id), receipt, command
    )
    if not new:
        response.headers[REPLAYED] = "true"
    return TransferRead.of(_without_ticket(transfer))


def transfer_request(body: TransferCreate, *, principal: str, authenticated: bool) -> TransferRequest:
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
    )


def _activations(action: TransferAction, body: TransferCreate) -> tuple[LicenseId, ...] | None:
    if action is not TransferAction.ACTIVATE:
        return ()
    return None if body.license_ids is None else license_ids_of(body.license_ids)


def _without_ticket(transfer: Transfer) -> Transfer:
    """For callers who show no more than its id: that stands in events, whose readers must not be able to collect."""
    return replace(transfer, ticket=None)


def _answer(transfer: Transfer | None, started: Started, response: Response, *, url: str) -> object:
    if transfer is None:
        return Response(status_code=204, headers=dict(response.headers))
    response.headers["Location"] = f"{url}/{transfer.transfer_id}"
    if transfer.state is TransferState.RESERVED:
        response.status_code = 202
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    else:
        response.status_code = 201 if started is Started.NEW else 200
    return TransferRead.of(transfer)


def _shown(request: Request, transfer: Transfer, response: Response) -> object:
    if transfer.update is None or not _wants_file(request.headers.get("accept", "")):
        response.headers["Vary"] = "Accept"
        return TransferRead.of(transfer)
    disposition = f'attachment; filename="{transfer.transfer_id}.wops-update"'
    return PlainTextResponse(
        transfer.update,
        media_type=UPDATE_TYPE,
        headers={"Content-Disposition": disposition, "Vary": "Accept"},
    )


def _wants_file(accept: str) -> bool:
    """Whether the update file is named by its own type, and not as unacceptable (RFC 9110 §12.5.1)."""
    for wanted in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in wanted.split(";"))
        if media_type == UPDATE_TYPE:
            return not any(_NO_WEIGHT.fullmatch(each) for each in parameters)
    return False


def _runtime(request: Request) -> InstanceRuntime:
    runtime: InstanceRuntime = request.scope["wops.instance"]
    return runtime


def _command(request: Request, operation: str, shown: Context, token: str) -> Command:
    """What a holder's request is carried out under.

    Holders have no names: what one shows, his container (by its key, which nobody else can sign for) and his token (the
    ticket or the transfer), sets his idempotency keys apart from those of strangers.
    """
    principal = "\x00".join((_HOLDER, shown.serial, shown.signing_key_thumbprint, token))
    op_id = operation_id_of(request, principal=principal, operation=operation, required=False)
    # What he shows is a secret that lets anybody collect, so the audit chain names his container instead.
    actor = Actor(kind="holder", actor_id=f"container:{shown.serial}")
    origin = Origin(actor=actor, action=operation, request_id=request.scope["wops.request_id"])
    return Command(op_id=op_id, fingerprint=fingerprint(request, request.state.body), origin=origin)

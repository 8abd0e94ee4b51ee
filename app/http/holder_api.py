"""`/{instance}/gateways/v1`: what activation wizards call for a ticket's holder. Not counted as web-service calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from starlette.requests import Request

from app.core.command import Command
from app.core.ids import TransferId
from app.core.origin import Actor, Origin
from app.http.call import PlainRoute
from app.http.idempotency import REPLAYED, operation_id_of
from app.http.instance_api import InstanceName
from app.http.request_body import fingerprint
from app.http.schema.example import CANCELLED, HOLDER_TICKET, TRANSFER, example, open_refusals
from app.http.schema.licensing import HolderTicketRead
from app.http.schema.tenancy import TemplateRead
from app.http.schema.transfer import (
    HolderTransferCancel,
    HolderTransferCreate,
    TransferConfirm,
    TransferRead,
)
from app.http.transfers import (
    ANSWERS,
    DESCRIPTION,
    Id,
    answer_started,
    show_transfer,
    shown_example,
    transfer_request,
)
from app.licensing import Shown, Started, Transfer, parse_ticket
from app.operations.line import InstanceRuntime
from editions import ACTIVATIONS, rate_limit_headers
from fsb_gateway import read_context

router = APIRouter(prefix="/{instance}/gateways/v1", route_class=PlainRoute)

_HOLDER: Final = "ticket-holder"


@router.get(
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


@router.get(
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


@router.post(
    "/transfers",
    operation_id="startHolderTransfer",
    summary="Start a transfer as a ticket's holder",
    description=DESCRIPTION + "\n\nNot a web-service call; activations count all the same.",
    status_code=201,
    response_model=TransferRead,
    tags=["gateways"],
    responses={**ANSWERS, **open_refusals(404, 409, 422, 429)},
)
async def start_holder_transfer(
    instance: InstanceName, body: HolderTransferCreate, request: Request, response: Response
) -> object:
    """See `DESCRIPTION`."""
    runtime = _runtime(request)
    wanted = transfer_request(body, principal=_HOLDER, authenticated=False)
    shown = wanted.context
    command = _command(
        request,
        "startHolderTransfer",
        shown.serial,
        shown.signing_key_thumbprint,
        wanted.wish.ticket or "",
    )
    transfer, started = await runtime.transfers.start_transfer(wanted, command)
    if started is Started.REPEATED:
        response.headers[REPLAYED] = "true"
    quota = await to_thread.run_sync(runtime.quota, ACTIVATIONS)
    for name, value in rate_limit_headers([quota], runtime.clock.now()):
        response.headers[name] = value
    return answer_started(transfer, started, response, url=f"/{instance}/gateways/v1/transfers")


@router.get(
    "/transfers/{transfer_id}",
    operation_id="getHolderTransfer",
    summary="Read a transfer as a ticket's holder",
    response_model=TransferRead,
    tags=["gateways"],
    responses={**shown_example({**TRANSFER, "ticket": None}), **open_refusals(404)},
)
async def get_holder_transfer(
    instance: InstanceName, transfer_id: Id, request: Request, response: Response
) -> object:
    """A transfer as it stands. Its id cannot be guessed, and its update is of use to its container only."""
    transfer = await _runtime(request).transfers.follow_transfer(TransferId(transfer_id))
    return show_transfer(request, _without_ticket(transfer), response)


@router.post(
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
    command = _command(
        request, "confirmHolderTransfer", receipt.serial, receipt.signing_key_thumbprint, transfer_id
    )
    transfer, new = await _runtime(request).transfers.confirm_transfer(
        TransferId(transfer_id), receipt, command
    )
    if not new:
        response.headers[REPLAYED] = "true"
    return TransferRead.of(_without_ticket(transfer))


@router.post(
    "/transfers/{transfer_id}:cancel",
    operation_id="cancelHolderTransfer",
    summary="Cancel a transfer as a ticket's holder",
    tags=["gateways"],
    responses={**example(200, {**CANCELLED, "ticket": None}), **open_refusals(404, 409, 422)},
)
async def cancel_holder_transfer(
    instance: InstanceName, transfer_id: Id, body: HolderTransferCancel, request: Request, response: Response
) -> TransferRead:
    """Give a transfer up while it waits; who may is shown by its ticket, or by a context of its container.

    Its id alone is not enough: that stands in events. A box that has begun is let finish (409 `job_running`).
    """
    shown = Shown(
        ticket=None if body.ticket is None else parse_ticket(body.ticket),
        context=None if body.context is None else read_context(body.context),
    )
    transfers, key = _runtime(request).transfers, TransferId(transfer_id)
    waiting = await to_thread.run_sync(transfers.get_transfer, key)
    command = _command(request, "cancelHolderTransfer", waiting.container, transfer_id)
    transfer, new = await transfers.cancel_transfer(key, command, shown=shown)
    if not new:
        response.headers[REPLAYED] = "true"
    return TransferRead.of(_without_ticket(transfer))


def _without_ticket(transfer: Transfer) -> Transfer:
    """For callers who show no more than its id: that stands in events, whose readers must not be able to collect."""
    return replace(transfer, ticket=None)


def _runtime(request: Request) -> InstanceRuntime:
    runtime: InstanceRuntime = request.scope["wops.instance"]
    return runtime


def _command(request: Request, operation: str, container: str, *shown: str) -> Command:
    """What a holder's request is carried out under.

    Holders have no names: what one shows, his container (by its key, which nobody else can sign for) and his ticket or
    transfer, sets his idempotency keys apart from those of strangers.
    """
    principal = "\x00".join((_HOLDER, container, *shown))
    op_id = operation_id_of(request, principal=principal, operation=operation, required=False)
    # What he shows is a secret that lets anybody collect, so the audit chain names his container instead.
    actor = Actor(kind="holder", actor_id=f"container:{container}")
    origin = Origin(actor=actor, action=operation, request_id=request.scope["wops.request_id"])
    return Command(op_id=op_id, fingerprint=fingerprint(request, request.state.body), origin=origin)

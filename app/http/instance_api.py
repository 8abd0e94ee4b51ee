"""`/{instance}/api/v1`: what ERP and CRM systems call. Authenticated and counted."""

from __future__ import annotations

from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Response
from starlette.requests import Request

from app.core.clock import Clock
from app.core.ids import LicenseId
from app.core.outbox import last_sequence, list_events
from app.http.call import WebServiceRoute, call_of, needs
from app.http.etag import IfMatch, etag_of, version_of
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.schema.example import CONTAINER, EVENTS, ITEM, LICENSE, ORDER, TICKET, USAGE, example, refusals
from app.http.schema.licensing import (
    ContainerBlock,
    ContainerRead,
    ContainerRestore,
    ItemBody,
    ItemCreate,
    ItemRead,
    LicenseRead,
    OrderCreate,
    OrderRead,
    TicketRead,
)
from app.http.schema.model import Page
from app.http.schema.report import EventRead, EventsRead, UsageRead
from app.licensing import Decision, Item, License, LicenseFilter, LicenseState, Order, parse_ticket
from app.operations.line import InstanceRuntime
from editions import Month, month_of, usage

router = APIRouter(prefix="/{instance}/api/v1", route_class=WebServiceRoute)

InstanceName = Annotated[str, Path(description="The instance's name in URLs.", examples=["acme-ha"])]
Sku = Annotated[str, Path(max_length=63, examples=["DRAW-PRO"])]
Serial = Annotated[str, Path(max_length=32, examples=["130-1029384756"])]

EVENTS_MAX: Final = 500


@router.post(
    "/items",
    operation_id="createItem",
    summary="Add an item",
    status_code=201,
    tags=["items"],
    openapi_extra=needs("orders"),
    responses={**example(201, ITEM), **refusals(409, 422)},
)
async def create_item(
    instance: InstanceName, body: ItemCreate, request: Request, response: Response
) -> ItemRead:
    """Add what the vendor sells.

    The SKU is the natural key: the same item again answers 200 and changes nothing; other content under the same SKU is
    refused with `item_conflict`.
    """
    call = call_of(request)
    done = await to_thread.run_sync(call.runtime.items.add_item, body.draft(), call.command)
    return _shown_item(call, response, done.value, created=done.created, replayed=done.replayed)


@router.get(
    "/items",
    operation_id="listItems",
    summary="List items",
    tags=["items"],
    openapi_extra=needs("read"),
    responses={**example(200, {"data": [ITEM], "page": {"next": None, "has_more": False}}), **refusals(422)},
)
async def list_items(
    instance: InstanceName, request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[ItemRead]:
    """All items in the order of their making, page by page."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(lambda: _runtime(request).items.list_items(after=after, limit=limit + 1))
    return page_of(request, response, found, limit=limit, show=ItemRead.of, key=_item_key)


@router.get(
    "/items/{sku}",
    operation_id="getItem",
    summary="Read an item",
    tags=["items"],
    openapi_extra=needs("read"),
    responses={**example(200, ITEM), **refusals(404)},
)
async def get_item(instance: InstanceName, sku: Sku, request: Request, response: Response) -> ItemRead:
    """One item, with its version as ETag."""
    item = await to_thread.run_sync(_runtime(request).items.get_item, sku)
    response.headers["ETag"] = etag_of(item.version)
    return ItemRead.of(item)


@router.put(
    "/items/{sku}",
    operation_id="replaceItem",
    summary="Change an item",
    tags=["items"],
    openapi_extra=needs("orders"),
    responses={**example(200, ITEM), **refusals(404, 412, 422, 428)},
)
async def replace_item(
    instance: InstanceName,
    sku: Sku,
    body: ItemBody,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> ItemRead:
    """Change an item that nobody has changed since you read it. Licences already ordered stay as they are."""
    call = call_of(request)
    draft, version = body.to_draft(sku), version_of(if_match)
    done = await to_thread.run_sync(
        lambda: call.runtime.items.replace_item(draft, version=version, command=call.command)
    )
    return _shown_item(call, response, done.value, created=True, replayed=done.replayed, status=200)


@router.post(
    "/orders",
    operation_id="placeOrder",
    summary="Place an order, or extend its ticket",
    status_code=201,
    tags=["orders"],
    openapi_extra=needs("orders"),
    responses={**example(201, ORDER), **refusals(404, 409, 422)},
)
async def place_order(
    instance: InstanceName, body: OrderCreate, request: Request, response: Response
) -> OrderRead:
    """Turn an order into a ticket with licences.

    The order number is the natural key. The same order again answers 200 and changes nothing; positions that
    the order does not have yet extend its ticket; other content in a known position is refused with
    `order_conflict`.
    """
    call = call_of(request)
    draft = body.to_draft()
    done = await to_thread.run_sync(call.runtime.orders.place_order, draft, call.command)
    if done.replayed:
        call.mark_replayed()
    response.status_code = 201 if done.created and not done.replayed else 200
    response.headers["Location"] = f"/{instance}/api/v1/orders/{done.value.order_number}"
    return OrderRead.of(done.value)


@router.get(
    "/orders",
    operation_id="listOrders",
    summary="List orders",
    tags=["orders"],
    openapi_extra=needs("read"),
    responses={**example(200, {"data": [ORDER], "page": {"next": None, "has_more": False}}), **refusals(422)},
)
async def list_orders(
    instance: InstanceName, request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[OrderRead]:
    """All orders in the order of their making, page by page."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(
        lambda: _runtime(request).orders.list_orders(after=after, limit=limit + 1)
    )
    return page_of(request, response, found, limit=limit, show=OrderRead.of, key=_order_key)


@router.get(
    "/orders/{order_number:path}",
    operation_id="getOrder",
    summary="Read an order",
    tags=["orders"],
    openapi_extra=needs("read"),
    responses={**example(200, ORDER), **refusals(404)},
)
async def get_order(
    instance: InstanceName, order_number: Annotated[str, Path(examples=["SO-2026-0815"])], request: Request
) -> OrderRead:
    """One order and its ticket."""
    return OrderRead.of(await to_thread.run_sync(_runtime(request).orders.get_order, order_number))


@router.get(
    "/tickets/{ticket}",
    operation_id="getTicket",
    summary="Read a ticket with its licences",
    tags=["tickets"],
    openapi_extra=needs("read"),
    responses={**example(200, TICKET), **refusals(404, 422)},
)
async def get_ticket(
    instance: InstanceName,
    ticket: Annotated[str, Path(examples=["NFGSX-VWNYJ-T74CD-48H5B-7NEEJ"])],
    request: Request,
) -> TicketRead:
    """A ticket, typed as people type it: any case, with or without dashes."""
    return TicketRead.of(await to_thread.run_sync(_runtime(request).orders.get_ticket, ticket))


@router.get(
    "/licenses",
    operation_id="listLicenses",
    summary="List licences",
    tags=["licenses"],
    openapi_extra=needs("read"),
    responses={
        **example(200, {"data": [LICENSE], "page": {"next": None, "has_more": False}}),
        **refusals(422),
    },
)
async def list_licenses(
    instance: InstanceName,
    request: Request,
    response: Response,
    ticket: Annotated[str | None, Query(max_length=64)] = None,
    container: Annotated[str | None, Query(max_length=32)] = None,
    state: LicenseState | None = None,
    limit: Limit = 25,
    cursor: Cursor = None,
) -> Page[LicenseRead]:
    """Licences in the order of their making, narrowed by ticket, container and state."""
    after = after_of(request, cursor)
    chosen = LicenseFilter(
        ticket=None if ticket is None else parse_ticket(ticket), container=container, state=state
    )
    found = await to_thread.run_sync(
        lambda: _runtime(request).orders.list_licenses(chosen, after=after, limit=limit + 1)
    )
    return page_of(request, response, found, limit=limit, show=LicenseRead.of, key=_license_key)


@router.get(
    "/licenses/{license_id}",
    operation_id="getLicense",
    summary="Read a licence",
    tags=["licenses"],
    openapi_extra=needs("read"),
    responses={**example(200, LICENSE), **refusals(404)},
)
async def get_license(
    instance: InstanceName, license_id: Annotated[str, Path(max_length=64)], request: Request
) -> LicenseRead:
    """One licence."""
    return LicenseRead.of(
        await to_thread.run_sync(_runtime(request).orders.get_license, LicenseId(license_id))
    )


@router.get(
    "/containers/{serial}",
    operation_id="getContainer",
    summary="Read a container with its licences",
    tags=["containers"],
    openapi_extra=needs("read"),
    responses={**example(200, CONTAINER), **refusals(404)},
)
async def get_container(instance: InstanceName, serial: Serial, request: Request) -> ContainerRead:
    """A container as the books have it."""
    return ContainerRead.of(await to_thread.run_sync(_runtime(request).containers.get_container, serial))


@router.post(
    "/containers/{serial}:block",
    operation_id="blockContainer",
    summary="Block a container",
    tags=["containers"],
    openapi_extra=needs("licenses", key=True),
    responses={**example(200, {**CONTAINER, "state": "blocked"}), **refusals(400, 404, 422)},
)
async def block_container(
    instance: InstanceName, serial: Serial, body: ContainerBlock, request: Request
) -> ContainerRead:
    """Refuse everything for a container from now on, for example because it was stolen."""
    call = call_of(request)
    done = await to_thread.run_sync(
        lambda: call.runtime.containers.block_container(serial, reason=body.reason, command=call.command)
    )
    if done.replayed:
        call.mark_replayed()
    return ContainerRead.of(done.value)


@router.post(
    "/containers/{serial}:restore",
    operation_id="restoreContainer",
    summary="Decide about a blocked or contradicting container",
    tags=["containers"],
    openapi_extra=needs("admin", key=True),
    responses={**example(200, CONTAINER), **refusals(400, 404, 409, 422)},
)
async def restore_container(
    instance: InstanceName, serial: Serial, body: ContainerRestore, request: Request
) -> ContainerRead:
    """Let a container go on.

    `keep_recorded`: the books are right. `accept_reported`: the container is right, and what it lacks is
    programmed again with its next update without being counted.
    """
    call = call_of(request)
    done = await to_thread.run_sync(
        lambda: call.runtime.containers.restore_container(
            serial, Decision(body.decision), reason=body.reason, command=call.command
        )
    )
    if done.replayed:
        call.mark_replayed()
    return ContainerRead.of(done.value)


@router.get(
    "/events",
    operation_id="listEvents",
    summary="Read what happened",
    tags=["events"],
    openapi_extra=needs("read"),
    responses={**example(200, EVENTS), **refusals(422)},
)
async def get_events(
    instance: InstanceName,
    request: Request,
    after: Annotated[int, Query(ge=0, le=2**62, description="The last sequence you have.")] = 0,
    limit: Annotated[int, Query(ge=1, le=EVENTS_MAX)] = 100,
) -> EventsRead:
    """Every change of state since a sequence number, oldest first.

    Sequences have no gaps: one on your side is a loss on your side.
    """
    db = _runtime(request).db
    events, last = await to_thread.run_sync(
        lambda: db.read(
            lambda reader: (list_events(reader, after=after, limit=limit + 1), last_sequence(reader))
        )
    )
    shown = [EventRead.of(each) for each in events[:limit]]
    return EventsRead(data=shown, last_sequence=last, has_more=len(events) > limit)


@router.get(
    "/usage",
    operation_id="getUsage",
    summary="Read a month's usage",
    tags=["usage"],
    openapi_extra=needs("read"),
    responses={**example(200, USAGE), **refusals(422)},
)
async def get_usage(
    instance: InstanceName,
    request: Request,
    period: Annotated[
        str | None, Query(description="YYYY-MM, Europe/Berlin; the current month if left out.")
    ] = None,
) -> UsageRead:
    """Activations and web-service calls of a month against the limits in force."""
    return await to_thread.run_sync(read_usage, _runtime(request), period)


def read_usage(runtime: InstanceRuntime, period: str | None) -> UsageRead:
    """A month's usage of an instance. Blocks for a read.

    Raises:
        InputInvalid: not a month.
    """
    clock: Clock = runtime.clock
    month = month_of(clock.now()) if period is None else Month.parse(period)
    return UsageRead.of(runtime.db.read(lambda reader: usage(reader, month)))


def _shown_item(
    call: Any, response: Response, item: Item, *, created: bool, replayed: bool, status: int = 201
) -> ItemRead:
    if replayed:
        call.mark_replayed()
    response.status_code = status if created and not replayed else 200
    response.headers["ETag"] = etag_of(item.version)
    return ItemRead.of(item)


def _runtime(request: Request) -> InstanceRuntime:
    return call_of(request).runtime


def _item_key(item: Item) -> str:
    return item.item_id


def _order_key(order: Order) -> str:
    return order.order_id


def _license_key(license_: License) -> str:
    return license_.license_id

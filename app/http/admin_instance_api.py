"""`/admin/v1/instances/{id}/…`: looking into one instance, and acting on its customer's behalf."""

from __future__ import annotations

from typing import Annotated, cast

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Response
from starlette.requests import Request

from app.http.admin_route import InstanceKey, document, noted, runtime_of
from app.http.instance_api import read_usage
from app.http.schema import admin_example as show
from app.http.schema.example import CONTAINER, ITEM, ORDER, TICKET, USAGE
from app.http.schema.licensing import (
    ContainerRead,
    ContainerRestore,
    ItemCreate,
    ItemRead,
    OrderCreate,
    OrderRead,
    TicketRead,
)
from app.http.schema.report import UsageRead
from app.http.schema.tenancy import LedgerEntryRead, MeterAuditRead
from app.http.staff import StaffRoute, command_of, staff
from app.licensing import Decision
from editions import METERS, Meter, Month, audit_meters, list_ledger

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)


@router.get(
    "/instances/{instance_id}/usage",
    operation_id="getInstanceUsage",
    summary="Read an instance's usage of a month",
    tags=["usage"],
    openapi_extra=staff("look"),
    responses=document(200, USAGE, 404, 410, 422),
)
async def get_usage(
    instance_id: InstanceKey,
    request: Request,
    period: Annotated[str | None, Query(description="YYYY-MM")] = None,
) -> UsageRead:
    """Activations and web-service calls against the limits in force."""
    runtime = await runtime_of(request, instance_id)
    return await to_thread.run_sync(read_usage, runtime, period)


@router.get(
    "/instances/{instance_id}/ledger",
    operation_id="listLedger",
    summary="Read the ledger",
    tags=["usage"],
    openapi_extra=staff("look"),
    responses=document(200, [show.LEDGER_ENTRY], 404, 410, 422),
)
async def get_ledger(
    instance_id: InstanceKey,
    request: Request,
    period: Annotated[str, Query(description="YYYY-MM")],
    meter: Annotated[str, Query(pattern="^(" + "|".join(METERS) + ")$")],
    after: Annotated[str, Query(max_length=128)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[LedgerEntryRead]:
    """The rows that the counters are derived from, oldest first."""
    runtime, month = await runtime_of(request, instance_id), Month.parse(period)
    found = await to_thread.run_sync(
        lambda: runtime.db.read(
            lambda reader: list_ledger(reader, month, meter=cast(Meter, meter), after=after, limit=limit)
        )
    )
    return [LedgerEntryRead.of(each) for each in found]


@router.get(
    "/instances/{instance_id}/meter-audit",
    operation_id="auditMeters",
    summary="Recompute every counter from the ledger",
    tags=["usage"],
    openapi_extra=staff("look"),
    responses=document(200, {"exact": True, "discrepancies": []}, 404, 410),
)
async def get_meter_audit(instance_id: InstanceKey, request: Request) -> MeterAuditRead:
    """Proof that counters and ledger agree; a discrepancy is a defect."""
    runtime = await runtime_of(request, instance_id)
    return MeterAuditRead.of(await to_thread.run_sync(runtime.db.read, audit_meters))


@router.post(
    "/instances/{instance_id}/items",
    operation_id="createItemForCustomer",
    summary="Add an item on a customer's behalf",
    status_code=201,
    tags=["on behalf"],
    openapi_extra=staff("act"),
    responses=document(201, ITEM, 400, 404, 409, 410, 422),
)
async def create_item(
    instance_id: InstanceKey, body: ItemCreate, request: Request, response: Response
) -> ItemRead:
    """For customers without web services (Datacenter edition)."""
    runtime = await runtime_of(request, instance_id)
    done = await to_thread.run_sync(runtime.items.add_item, body.draft(), command_of(request))
    return ItemRead.of(noted(done, response))


@router.post(
    "/instances/{instance_id}/orders",
    operation_id="placeOrderForCustomer",
    summary="Place an order on a customer's behalf",
    status_code=201,
    tags=["on behalf"],
    openapi_extra=staff("act"),
    responses=document(201, ORDER, 400, 404, 409, 410, 422),
)
async def place_order(
    instance_id: InstanceKey, body: OrderCreate, request: Request, response: Response
) -> OrderRead:
    """For customers without web services (Datacenter edition)."""
    runtime = await runtime_of(request, instance_id)
    done = await to_thread.run_sync(runtime.orders.place_order, body.to_draft(), command_of(request))
    return OrderRead.of(noted(done, response))


@router.get(
    "/instances/{instance_id}/tickets/{ticket}",
    operation_id="getTicketForCustomer",
    summary="Read a ticket on a customer's behalf",
    tags=["on behalf"],
    openapi_extra=staff("look"),
    responses=document(200, TICKET, 404, 410, 422),
)
async def get_ticket(
    instance_id: InstanceKey, ticket: Annotated[str, Path(max_length=64)], request: Request
) -> TicketRead:
    """A ticket with its licences."""
    runtime = await runtime_of(request, instance_id)
    return TicketRead.of(await to_thread.run_sync(runtime.orders.get_ticket, ticket))


@router.get(
    "/instances/{instance_id}/containers/{serial}",
    operation_id="getContainerForCustomer",
    summary="Read a container on a customer's behalf",
    tags=["on behalf"],
    openapi_extra=staff("look"),
    responses=document(200, CONTAINER, 404, 410),
)
async def get_container(
    instance_id: InstanceKey, serial: Annotated[str, Path(max_length=32)], request: Request
) -> ContainerRead:
    """A container as the books have it."""
    runtime = await runtime_of(request, instance_id)
    return ContainerRead.of(await to_thread.run_sync(runtime.containers.get_container, serial))


@router.post(
    "/instances/{instance_id}/containers/{serial}:restore",
    operation_id="restoreContainerForCustomer",
    summary="Decide about a contradicting container",
    tags=["on behalf"],
    openapi_extra=staff("act"),
    responses=document(200, CONTAINER, 400, 404, 409, 410, 422),
)
async def restore_container(
    instance_id: InstanceKey,
    serial: Annotated[str, Path(max_length=32)],
    body: ContainerRestore,
    request: Request,
    response: Response,
) -> ContainerRead:
    """Let a blocked or contradicting container go on; see the instance API."""
    runtime = await runtime_of(request, instance_id)
    done = await to_thread.run_sync(
        lambda: runtime.containers.restore_container(
            serial, Decision(body.decision), reason=body.reason, command=command_of(request)
        )
    )
    return ContainerRead.of(noted(done, response))

"""`/admin/v1`: what Wibu's staff do. Every POST needs an `Idempotency-Key`."""

from __future__ import annotations

from typing import Annotated, cast

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Response
from starlette.requests import Request

from app.core.ids import ContractId, CustomerId, InstanceId
from app.http.admin_route import InstanceKey, document, noted, platform_of, started
from app.http.etag import etag_of
from app.http.instance_view import show_instance, show_instances
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.schema import admin_example as show
from app.http.schema.model import Moment, Page
from app.http.schema.operation import OperationRead
from app.http.schema.tenancy import (
    ContractBody,
    ContractRead,
    CustomerCreate,
    CustomerRead,
    EditionRead,
    InstanceCreateBody,
    InstanceRead,
    first_client_of,
)
from app.http.staff import StaffRoute, command_of, staff
from editions import EDITIONS, Meter
from tenancy import ContractCreate, InstanceCreate
from tenancy.record import InstanceState

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)


@router.get(
    "/editions",
    operation_id="listEditions",
    summary="The four editions",
    tags=["editions"],
    openapi_extra=staff("read"),
    responses=document(200, show.EDITIONS),
)
async def list_editions() -> list[EditionRead]:
    """What each edition contains."""
    return [EditionRead.of(edition) for edition in EDITIONS.values()]


@router.post(
    "/customers",
    operation_id="createCustomer",
    summary="Add a customer",
    status_code=201,
    tags=["customers"],
    openapi_extra=staff("change"),
    responses=document(201, show.CUSTOMER, 400, 409, 422),
)
async def create_customer(body: CustomerCreate, request: Request, response: Response) -> CustomerRead:
    """Add a software vendor who rents hosting."""
    done = await to_thread.run_sync(
        lambda: platform_of(request).customers.add_customer(
            body.name, display_name=body.display_name, command=command_of(request)
        )
    )
    return CustomerRead.of(noted(done, response))


@router.get(
    "/customers",
    operation_id="listCustomers",
    summary="List customers",
    tags=["customers"],
    openapi_extra=staff("read"),
    responses=document(200, show.page(show.CUSTOMER), 422),
)
async def list_customers(
    request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[CustomerRead]:
    """All customers, page by page."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(
        lambda: platform_of(request).customers.list_customers(after=after, limit=limit + 1)
    )
    return page_of(
        request, response, found, limit=limit, show=CustomerRead.of, key=lambda each: each.customer_id
    )


@router.get(
    "/customers/{customer_id}",
    operation_id="getCustomer",
    summary="Read a customer",
    tags=["customers"],
    openapi_extra=staff("read"),
    responses=document(200, show.CUSTOMER, 404),
)
async def get_customer(
    customer_id: Annotated[str, Path(max_length=64)], request: Request, response: Response
) -> CustomerRead:
    """One customer, with his version as ETag."""
    found = await to_thread.run_sync(platform_of(request).customers.get_customer, CustomerId(customer_id))
    response.headers["ETag"] = etag_of(found.version)
    return CustomerRead.of(found)


@router.post(
    "/instances",
    operation_id="createInstance",
    summary="Create an instance",
    status_code=202,
    tags=["instances"],
    openapi_extra=staff("change"),
    responses=document(202, show.OPERATION, 400, 404, 409, 422),
)
async def create_instance(body: InstanceCreateBody, request: Request, response: Response) -> OperationRead:
    """Order an instance. It is provisioned by an operation: ask its address until it has `succeeded`."""
    asked = InstanceCreate(
        customer_id=CustomerId(body.customer_id),
        edition=body.edition,
        name=body.name,
        country=body.country,
        countries=tuple(body.countries),
        overage=body.overage,
        lines=body.lines,
        firm_code=body.firm_code,
        first_client=first_client_of(body),
    )
    done = await to_thread.run_sync(
        lambda: platform_of(request).instances.create_instance(asked, command=command_of(request))
    )
    return started(request, done, response)


@router.get(
    "/instances",
    operation_id="listInstances",
    summary="List instances",
    tags=["instances"],
    openapi_extra=staff("read"),
    responses=document(200, show.page(show.INSTANCE), 422),
)
async def list_instances(
    request: Request,
    response: Response,
    limit: Limit = 25,
    cursor: Cursor = None,
    state: Annotated[InstanceState | None, Query(description="In this state only.")] = None,
    retained_before: Annotated[
        Moment | None,
        Query(
            description="Ended ones whose retention ends before; with the time of now, those to be erased."
        ),
    ] = None,
) -> Page[InstanceRead]:
    """All instances, page by page."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(
        lambda: platform_of(request).instances.list_instances(
            after=after, limit=limit + 1, state=state, retained_before=retained_before
        )
    )
    shown = await show_instances(request, found)
    return page_of(
        request,
        response,
        shown,
        limit=limit,
        show=lambda each: each,
        key=lambda each: each.instance_id,
    )


@router.get(
    "/instances/{instance_id}",
    operation_id="getInstance",
    summary="Read an instance",
    tags=["instances"],
    openapi_extra=staff("read"),
    responses=document(200, show.INSTANCE, 404),
)
async def get_instance(instance_id: InstanceKey, request: Request, response: Response) -> InstanceRead:
    """One instance, with its version as ETag."""
    found = await to_thread.run_sync(platform_of(request).instances.get_instance, InstanceId(instance_id))
    response.headers["ETag"] = etag_of(found.version)
    return await show_instance(request, found)


@router.post(
    "/instances/{instance_id}/contracts",
    operation_id="addContract",
    summary="Add a contract",
    status_code=201,
    tags=["contracts"],
    openapi_extra=staff("change"),
    responses=document(201, show.CONTRACT, 400, 404, 409, 422),
)
async def add_contract(
    instance_id: InstanceKey, body: ContractBody, request: Request, response: Response
) -> ContractRead:
    """Add a dated row: another edition, more lines, another policy, negotiated limits.

    Rows are never overwritten; one that has not begun can be withdrawn.
    A limit that one raises lifts a refusal at once.
    """
    limits: dict[Meter, int] | None = (
        None if body.limits is None else cast(dict[Meter, int], dict(body.limits))
    )
    asked = ContractCreate(
        edition=body.edition,
        lines=body.lines,
        overage=body.overage,
        kind=body.kind,
        effective_from=body.effective_from,
        effective_until=body.effective_until,
        limits=limits,
        countries=None if body.countries is None else tuple(body.countries),
    )
    done = await to_thread.run_sync(
        lambda: platform_of(request).contracts.add_contract(
            InstanceId(instance_id), asked, command=command_of(request)
        )
    )
    return ContractRead.of(noted(done, response))


@router.get(
    "/instances/{instance_id}/contracts",
    operation_id="listContracts",
    summary="List contracts",
    tags=["contracts"],
    openapi_extra=staff("read"),
    responses=document(200, [show.CONTRACT], 404),
)
async def list_contracts(instance_id: InstanceKey, request: Request) -> list[ContractRead]:
    """All contract rows of an instance."""
    found = await to_thread.run_sync(platform_of(request).contracts.list_contracts, InstanceId(instance_id))
    return [ContractRead.of(each) for each in found]


@router.delete(
    "/instances/{instance_id}/contracts/{contract_id}",
    operation_id="withdrawContract",
    summary="Withdraw a contract that has not begun",
    status_code=204,
    tags=["contracts"],
    openapi_extra=staff("change"),
    responses=document(204, None, 404, 409, 422),
)
async def withdraw_contract(
    instance_id: InstanceKey,
    contract_id: Annotated[str, Path(max_length=64, description="Id of a contract row.")],
    request: Request,
) -> None:
    """Take a row back before it begins. One that is in force, or has been, stays: 409 `contract_begun`."""
    await to_thread.run_sync(
        lambda: platform_of(request).contracts.withdraw_contract(
            InstanceId(instance_id), ContractId(contract_id), command=command_of(request)
        )
    )

"""`/admin/v1`: what Wibu's staff do. Every POST needs an `Idempotency-Key`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, cast

from anyio import to_thread
from fastapi import APIRouter, Header, Path, Response
from starlette.requests import Request

from app.core.ids import ApiClientId, CustomerId, InstanceId, OperationId
from app.http.admin_route import InstanceKey, document, noted, platform_of
from app.http.etag import IF_MATCH, etag_of, version_of
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.schema import admin_example as show
from app.http.schema.model import Page
from app.http.schema.tenancy import (
    AccessBody,
    AccessRead,
    BoxRead,
    ClientCreate,
    ClientCredentialsRead,
    ClientRead,
    ContractBody,
    ContractRead,
    CustomerCreate,
    CustomerRead,
    EditionRead,
    InstanceCreateBody,
    InstanceRead,
    OperationRead,
    PoolRead,
    StaffCredentialsRead,
    StaffTokenCreate,
    StaffTokenRead,
)
from app.http.staff import ADMIN_ONLY, StaffRoute, command_of
from editions import EDITIONS, Meter
from tenancy import ContractCreate, InstanceCreate, check_scopes, make_policy

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)

OPERATION_RETRY_SECONDS = 1


@router.get(
    "/editions",
    operation_id="listEditions",
    summary="The four editions",
    tags=["editions"],
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
    responses=document(200, show.CUSTOMER, 404),
)
async def get_customer(customer_id: Annotated[str, Path(max_length=64)], request: Request) -> CustomerRead:
    """One customer."""
    return CustomerRead.of(
        await to_thread.run_sync(platform_of(request).customers.get_customer, CustomerId(customer_id))
    )


@router.post(
    "/instances",
    operation_id="createInstance",
    summary="Create an instance",
    status_code=202,
    tags=["instances"],
    responses=document(202, show.OPERATION, 400, 404, 409, 422),
)
async def create_instance(body: InstanceCreateBody, request: Request, response: Response) -> OperationRead:
    """Order an instance. It is provisioned by an operation: ask its address until it has `succeeded`."""
    asked = InstanceCreate(
        customer_id=CustomerId(body.customer_id),
        edition=body.edition,
        name=body.name,
        country=body.country,
        overage=body.overage,
        lines=body.lines,
        firm_code=body.firm_code,
    )
    done = await to_thread.run_sync(
        lambda: platform_of(request).instances.create_instance(asked, command=command_of(request))
    )
    operation = noted(done, response, status=202)
    response.headers["Location"] = f"/admin/v1/operations/{operation.operation_id}"
    response.headers["Retry-After"] = str(OPERATION_RETRY_SECONDS)
    return OperationRead.of(operation)


@router.get(
    "/instances",
    operation_id="listInstances",
    summary="List instances",
    tags=["instances"],
    responses=document(200, show.page(show.INSTANCE), 422),
)
async def list_instances(
    request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[InstanceRead]:
    """All instances, page by page."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(
        lambda: platform_of(request).instances.list_instances(after=after, limit=limit + 1)
    )
    return page_of(
        request, response, found, limit=limit, show=InstanceRead.of, key=lambda each: each.instance_id
    )


@router.get(
    "/instances/{instance_id}",
    operation_id="getInstance",
    summary="Read an instance",
    tags=["instances"],
    responses=document(200, show.INSTANCE, 404),
)
async def get_instance(instance_id: InstanceKey, request: Request) -> InstanceRead:
    """One instance."""
    return InstanceRead.of(
        await to_thread.run_sync(platform_of(request).instances.get_instance, InstanceId(instance_id))
    )


@router.post(
    "/instances/{instance_id}/contracts",
    operation_id="addContract",
    summary="Add a contract",
    status_code=201,
    tags=["contracts"],
    responses=document(201, show.CONTRACT, 400, 404, 409, 422),
)
async def add_contract(
    instance_id: InstanceKey, body: ContractBody, request: Request, response: Response
) -> ContractRead:
    """Add a dated row: another edition, more lines, another policy, negotiated limits.

    Rows are never overwritten. A limit that one raises lifts a refusal at once.
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
    responses=document(200, [show.CONTRACT], 404),
)
async def list_contracts(instance_id: InstanceKey, request: Request) -> list[ContractRead]:
    """All contract rows of an instance."""
    found = await to_thread.run_sync(platform_of(request).contracts.list_contracts, InstanceId(instance_id))
    return [ContractRead.of(each) for each in found]


@router.get(
    "/instances/{instance_id}/access",
    operation_id="getAccessPolicy",
    summary="Read who may call",
    tags=["access"],
    responses=document(200, show.ACCESS, 404),
)
async def get_access(instance_id: InstanceKey, request: Request, response: Response) -> AccessRead:
    """The access policy of an instance's web services, with its version as ETag."""
    found = await to_thread.run_sync(platform_of(request).access.get_policy, InstanceId(instance_id))
    response.headers["ETag"] = etag_of(found.version)
    return AccessRead.of(found)


@router.put(
    "/instances/{instance_id}/access",
    operation_id="putAccessPolicy",
    summary="Change who may call",
    tags=["access"],
    responses=document(200, show.ACCESS, 404, 412, 422, 428),
)
async def put_access(
    instance_id: InstanceKey,
    body: AccessBody,
    request: Request,
    response: Response,
    if_match: Annotated[str | None, Header(description=IF_MATCH)] = None,
) -> AccessRead:
    """Replace the access policy; in force at every line within a second. No methods: closed."""
    version = version_of(if_match)
    policy = make_policy(
        mode=body.mode,
        methods=body.methods,
        networks=body.networks,
        network_scopes=body.network_scopes,
        wide_confirmed=body.confirm_wide_networks,
    )
    done = await to_thread.run_sync(
        lambda: platform_of(request).access.put_policy(
            InstanceId(instance_id), policy, expected_version=version, command=command_of(request)
        )
    )
    response.headers["ETag"] = etag_of(done.value.version)
    return AccessRead.of(noted(done, response))


@router.post(
    "/instances/{instance_id}/clients",
    operation_id="createClient",
    summary="Add an API client",
    status_code=201,
    tags=["access"],
    responses=document(201, show.CREDENTIALS, 400, 404, 409, 422),
)
async def create_client(
    instance_id: InstanceKey, body: ClientCreate, request: Request, response: Response
) -> ClientCredentialsRead:
    """Add an API client. Its secret is in this answer and nowhere else."""
    scopes = check_scopes(body.scopes)
    done = await to_thread.run_sync(
        lambda: platform_of(request).clients.add_client(
            InstanceId(instance_id), name=body.name, scopes=scopes, command=command_of(request)
        )
    )
    return ClientCredentialsRead.of(noted(done, response))


@router.get(
    "/instances/{instance_id}/clients",
    operation_id="listClients",
    summary="List API clients",
    tags=["access"],
    responses=document(200, [show.CLIENT], 404),
)
async def list_clients(instance_id: InstanceKey, request: Request) -> list[ClientRead]:
    """All API clients of an instance; never their secrets."""
    found = await to_thread.run_sync(platform_of(request).clients.list_clients, InstanceId(instance_id))
    return [ClientRead.of(each) for each in found]


@router.post(
    "/instances/{instance_id}/clients/{client_id}:rotate",
    operation_id="rotateClient",
    summary="Give an API client a new secret",
    tags=["access"],
    responses=document(200, show.CREDENTIALS, 400, 404),
)
async def rotate_client(
    instance_id: InstanceKey,
    client_id: Annotated[str, Path(max_length=64)],
    request: Request,
    response: Response,
) -> ClientCredentialsRead:
    """Replace a client's secret; the old one ends at every line within a second."""
    done = await to_thread.run_sync(
        lambda: platform_of(request).clients.rotate_client(
            InstanceId(instance_id), ApiClientId(client_id), command=command_of(request)
        )
    )
    return ClientCredentialsRead.of(noted(done, response))


@router.post(
    "/instances/{instance_id}/clients/{client_id}:disable",
    operation_id="disableClient",
    summary="Shut an API client out",
    tags=["access"],
    responses=document(200, show.CLIENT, 400, 404),
)
async def disable_client(
    instance_id: InstanceKey,
    client_id: Annotated[str, Path(max_length=64)],
    request: Request,
    response: Response,
) -> ClientRead:
    """Shut a client out, at every line within a second."""
    done = await to_thread.run_sync(
        lambda: platform_of(request).clients.disable_client(
            InstanceId(instance_id), ApiClientId(client_id), command=command_of(request)
        )
    )
    return ClientRead.of(noted(done, response))


@router.get(
    "/operations",
    operation_id="listOperations",
    summary="List operations",
    tags=["operations"],
    responses=document(200, show.page(show.OPERATION), 422),
)
async def list_operations(
    request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[OperationRead]:
    """All operations, page by page."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(
        lambda: platform_of(request).operations.list_operations(after=after, limit=limit + 1)
    )
    return page_of(
        request, response, found, limit=limit, show=OperationRead.of, key=lambda each: each.operation_id
    )


@router.get(
    "/operations/{operation_id}",
    operation_id="getOperation",
    summary="Read an operation",
    tags=["operations"],
    responses=document(200, show.OPERATION, 404),
)
async def get_operation(
    operation_id: Annotated[str, Path(max_length=64)], request: Request, response: Response
) -> OperationRead:
    """How far an operation is."""
    operation = await to_thread.run_sync(
        platform_of(request).operations.get_operation, OperationId(operation_id)
    )
    if not operation.finished:
        response.headers["Retry-After"] = str(OPERATION_RETRY_SECONDS)
    return OperationRead.of(operation)


@router.get(
    "/boxes",
    operation_id="listBoxes",
    summary="List boxes",
    tags=["boxes"],
    responses=document(200, [show.BOX]),
)
async def list_boxes(request: Request) -> list[BoxRead]:
    """All Firm Security Boxes as their gateway sees them."""
    return [BoxRead.of(each) for each in await platform_of(request).fsb.boxes()]


@router.get(
    "/pools",
    operation_id="listPools",
    summary="List pools",
    tags=["boxes"],
    responses=document(200, [show.POOL]),
)
async def list_pools(request: Request) -> list[PoolRead]:
    """All pools of boxes: who waits, and for how long."""
    return [PoolRead.of(each) for each in await platform_of(request).fsb.pools()]


@router.post(
    "/staff-tokens",
    operation_id="createStaffToken",
    summary="Make a staff token",
    status_code=201,
    tags=["staff"],
    openapi_extra={ADMIN_ONLY: True},
    responses=document(201, show.STAFF_CREDENTIALS, 400, 422),
)
async def create_staff_token(
    body: StaffTokenCreate, request: Request, response: Response
) -> StaffCredentialsRead:
    """Make a token for a member of staff or a script. Its secret is in this answer and nowhere else."""
    platform = platform_of(request)
    expires_at = platform.clock.now() + timedelta(days=body.expires_in_days)
    done = await to_thread.run_sync(
        lambda: platform.staff_tokens.add_token(
            body.name, body.role, expires_at=expires_at, command=command_of(request)
        )
    )
    return StaffCredentialsRead.of(noted(done, response))


@router.get(
    "/staff-tokens",
    operation_id="listStaffTokens",
    summary="List staff tokens",
    tags=["staff"],
    responses=document(200, show.page(show.STAFF_TOKEN), 422),
)
async def list_staff_tokens(
    request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[StaffTokenRead]:
    """All staff tokens; never their secrets."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(
        lambda: platform_of(request).staff_tokens.list_tokens(after=after, limit=limit + 1)
    )
    return page_of(
        request, response, found, limit=limit, show=StaffTokenRead.of, key=lambda each: each.token_id
    )


@router.post(
    "/staff-tokens/{token_id}:revoke",
    operation_id="revokeStaffToken",
    summary="Revoke a staff token",
    tags=["staff"],
    openapi_extra={ADMIN_ONLY: True},
    responses=document(200, show.STAFF_TOKEN, 400, 404),
)
async def revoke_staff_token(
    token_id: Annotated[str, Path(max_length=64)], request: Request, response: Response
) -> StaffTokenRead:
    """End a token at once."""
    done = await to_thread.run_sync(
        lambda: platform_of(request).staff_tokens.revoke(token_id, command=command_of(request))
    )
    return StaffTokenRead.of(noted(done, response))

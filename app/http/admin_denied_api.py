"""`/admin/v1/denied-networks`: from where nobody is answered."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from starlette.requests import Request

from app.http.admin_route import document, noted, platform_of
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.schema import admin_example as show
from app.http.schema.front import DENIED_NETWORK_EXAMPLE, DeniedNetworkCreate, DeniedNetworkRead
from app.http.schema.model import Page
from app.http.staff import StaffRoute, command_of, staff
from tenancy.front.denied import DeniedId

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)

DeniedKey = Annotated[str, Path(max_length=64, description="Id of a denied network.")]


@router.post(
    "/denied-networks",
    operation_id="denyNetwork",
    summary="Deny a network",
    status_code=201,
    tags=["hosts"],
    openapi_extra=staff("change"),
    responses=document(201, DENIED_NETWORK_EXAMPLE, 400, 409, 422),
)
async def deny_network(body: DeniedNetworkCreate, request: Request, response: Response) -> DeniedNetworkRead:
    """Answer nobody from there, for any instance, at every load balancer and every line within a second."""
    platform = platform_of(request)
    done = await to_thread.run_sync(
        lambda: platform.denied.deny_network(
            body.network,
            reason=body.reason,
            until=body.until,
            wide_confirmed=body.confirm_wide_network,
            command=command_of(request),
        )
    )
    return DeniedNetworkRead.of(noted(done, response), now=platform.clock.now())


@router.get(
    "/denied-networks",
    operation_id="listDeniedNetworks",
    summary="List denied networks",
    tags=["hosts"],
    openapi_extra=staff("read"),
    responses=document(200, show.page(DENIED_NETWORK_EXAMPLE), 422),
)
async def list_denied_networks(
    request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[DeniedNetworkRead]:
    """All of them, page by page; also those that have ended."""
    after, platform = after_of(request, cursor), platform_of(request)
    found = await to_thread.run_sync(lambda: platform.denied.list_networks(after=after, limit=limit + 1))
    now = platform.clock.now()
    return page_of(
        request,
        response,
        found,
        limit=limit,
        show=lambda denied: DeniedNetworkRead.of(denied, now=now),
        key=lambda each: each.denied_id,
    )


@router.get(
    "/denied-networks/{denied_id}",
    operation_id="getDeniedNetwork",
    summary="Read a denied network",
    tags=["hosts"],
    openapi_extra=staff("read"),
    responses=document(200, DENIED_NETWORK_EXAMPLE, 404),
)
async def get_denied_network(denied_id: DeniedKey, request: Request) -> DeniedNetworkRead:
    """One denied network."""
    platform = platform_of(request)
    found = await to_thread.run_sync(platform.denied.get_network, DeniedId(denied_id))
    return DeniedNetworkRead.of(found, now=platform.clock.now())


@router.delete(
    "/denied-networks/{denied_id}",
    operation_id="allowNetwork",
    summary="Deny a network no longer",
    status_code=204,
    tags=["hosts"],
    openapi_extra=staff("change"),
    responses=document(204, None, 404, 409),
)
async def allow_network(denied_id: DeniedKey, request: Request) -> None:
    """Answer it again."""
    await to_thread.run_sync(
        lambda: platform_of(request).denied.allow_network(DeniedId(denied_id), command=command_of(request))
    )

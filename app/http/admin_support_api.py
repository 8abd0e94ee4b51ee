"""`/admin/v1/support-accesses`: support asks customers to be let in."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Response
from starlette.requests import Request

from app.core.ids import InstanceId
from app.http.admin_route import document, noted, platform_of
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.schema import admin_example, staff_example
from app.http.schema.model import Page
from app.http.schema.staff import SupportAccessRead, SupportAsk
from app.http.staff import StaffRoute, command_of, staff, staff_of
from tenancy.staff.support.service import SupportWish

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)


@router.post(
    "/support-accesses",
    operation_id="requestSupportAccess",
    summary="Ask a customer for support access",
    status_code=201,
    tags=["support"],
    openapi_extra=staff("ask"),
    responses=document(201, staff_example.SUPPORT_ACCESS, 400, 404, 409, 422),
)
async def request_support_access(body: SupportAsk, request: Request, response: Response) -> SupportAccessRead:
    """The customer reads the reason in his portal and decides; without an answer the request ends after 7 days."""
    wish = SupportWish(
        instance_id=InstanceId(body.instance_id), reason=body.reason, hours=body.hours, scope=body.scope
    )
    done = await to_thread.run_sync(
        lambda: platform_of(request).support.request_access(
            wish, by=staff_of(request), command=command_of(request)
        )
    )
    return SupportAccessRead.of(noted(done, response))


@router.get(
    "/support-accesses",
    operation_id="listSupportAccesses",
    summary="List support accesses",
    tags=["support"],
    openapi_extra=staff("read"),
    responses=document(200, admin_example.page(staff_example.SUPPORT_ACCESS), 422),
)
async def list_support_accesses(
    request: Request,
    response: Response,
    limit: Limit = 25,
    cursor: Cursor = None,
    instance_id: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[SupportAccessRead]:
    """All accesses that were ever asked for, page by page."""
    after = after_of(request, cursor)
    chosen = None if instance_id is None else InstanceId(instance_id)
    found = await to_thread.run_sync(
        lambda: platform_of(request).support.list_accesses(after=after, limit=limit + 1, instance_id=chosen)
    )
    return page_of(
        request, response, found, limit=limit, show=SupportAccessRead.of, key=lambda each: each.access_id
    )


@router.get(
    "/support-accesses/{access_id}",
    operation_id="getSupportAccess",
    summary="Read a support access",
    tags=["support"],
    openapi_extra=staff("read"),
    responses=document(200, staff_example.SUPPORT_APPROVED, 404),
)
async def get_support_access(
    access_id: Annotated[str, Path(max_length=64)], request: Request
) -> SupportAccessRead:
    """Whether the customer has answered, and how long the access holds."""
    return SupportAccessRead.of(
        await to_thread.run_sync(lambda: platform_of(request).support.get_access(access_id))
    )

"""`/admin/v1`: staff look after host names, of instances and of the platform, and after revocation lists."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Depends, Response
from starlette.requests import Request

from app.core.ids import InstanceId
from app.http.access_work import command_if_any
from app.http.admin_route import InstanceKey, document, platform_of, shared_router
from app.http.front_api import HOST_ROUTES, OWN_ROUTES
from app.http.front_work import FrontWork, take_up
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.schema import admin_example as show
from app.http.schema.front import HOST_EXAMPLE, HostRead
from app.http.schema.model import Page
from app.http.staff import StaffNeed, StaffRoute, staff


async def begin_instance_work(instance_id: InstanceKey, request: Request, response: Response) -> None:
    """Staff ask the customer whether a host name is his."""
    work = FrontWork(
        request=request,
        response=response,
        owner=InstanceId(instance_id),
        command=command_if_any(request),
        proven=True,
    )
    take_up(work)


async def begin_platform_work(request: Request, response: Response) -> None:
    """A host name that is added here is the platform's; one that is named by its id may be anybody's."""
    work = FrontWork(
        request=request, response=response, owner=None, command=command_if_any(request), proven=True
    )
    take_up(work)


def _platform_need(need: StaffNeed) -> dict[str, object]:
    """A host name of the platform is no customer's own data."""
    return staff("read" if need == "look" else need)


instance_router = shared_router(begin_instance_work, HOST_ROUTES, OWN_ROUTES)

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute, dependencies=[Depends(begin_platform_work)])
HOST_ROUTES.add_to(
    router,
    document=lambda status, value, *refused: document(status, value, *refused, 404),
    own="Platform",
    demand=_platform_need,
)


@router.get(
    "/hosts",
    operation_id="listPlatformHosts",
    summary="List all host names",
    tags=["hosts"],
    openapi_extra=staff("read"),
    responses=document(200, show.page(HOST_EXAMPLE), 422),
)
async def list_platform_hosts(
    request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[HostRead]:
    """Of the platform and of every instance, page by page."""
    after, platform = after_of(request, cursor), platform_of(request)
    found = await to_thread.run_sync(lambda: platform.hosts.list_hosts(after=after, limit=limit + 1))
    now = platform.clock.now()
    return page_of(
        request,
        response,
        found,
        limit=limit,
        show=lambda host: HostRead.of(host, now=now),
        key=lambda each: each.host_id,
    )

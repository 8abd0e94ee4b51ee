"""`/portal/v1/{instance}/lines`: a customer sees who serves his instance."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request

from app.http.admin_route import platform_of
from app.http.portal_route import PORTAL, InstanceName, PortalRoute, document, instance_of
from app.http.schema import line as show
from app.http.schema.line import OwnLineRead

router = APIRouter(prefix=PORTAL, route_class=PortalRoute)


@router.get(
    "/lines",
    operation_id="listOwnLines",
    summary="List the instance's lines",
    tags=["lines"],
    responses=document(200, [show.OWN]),
)
async def list_lines(instance: InstanceName, request: Request) -> list[OwnLineRead]:
    """All lines by number, those that are only planned too."""
    platform = platform_of(request)
    lines = await to_thread.run_sync(platform.lines.list_lines, instance_of(request))
    seen = await platform.lines_seen()
    return [OwnLineRead.of(each, None if seen is None else seen.get(each.line_id)) for each in lines]

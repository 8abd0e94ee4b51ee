"""`/admin/v1/instances/{instance_id}`: staff look after who may call an instance, as its customer can himself."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response
from starlette.requests import Request

from app.core.ids import InstanceId
from app.http.access_api import add_access_routes
from app.http.access_work import AccessWork, command_if_any, take_up
from app.http.admin_route import InstanceKey, document
from app.http.staff import StaffRoute, staff


async def begin_work(instance_id: InstanceKey, request: Request, response: Response) -> None:
    """Staff are never shut out by what they change, and may give any rate."""
    work = AccessWork(
        request=request,
        response=response,
        instance_id=InstanceId(instance_id),
        command=command_if_any(request),
    )
    take_up(work)


router = APIRouter(
    prefix="/admin/v1/instances/{instance_id}", route_class=StaffRoute, dependencies=[Depends(begin_work)]
)
add_access_routes(
    router,
    document=lambda status, value, *refused: document(status, value, *refused, 404, 410),
    demand=staff,
)

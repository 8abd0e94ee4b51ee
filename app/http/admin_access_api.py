"""`/admin/v1/instances/{instance_id}`: staff look after who may call an instance, as its customer can himself."""

from __future__ import annotations

from fastapi import Response
from starlette.requests import Request

from app.core.ids import InstanceId
from app.http.access_api import ACCESS_ROUTES
from app.http.access_work import AccessWork, command_if_any, take_up
from app.http.admin_route import InstanceKey, shared_router


async def begin_work(instance_id: InstanceKey, request: Request, response: Response) -> None:
    """Staff are never shut out by what they change, and may give any rate."""
    work = AccessWork(
        request=request,
        response=response,
        instance_id=InstanceId(instance_id),
        command=command_if_any(request),
    )
    take_up(work)


router = shared_router(begin_work, ACCESS_ROUTES)

"""`/portal/v1/{instance}`: a customer looks after who may call his instance."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response
from starlette.requests import Request

from app.http.access_api import ACCESS_ROUTES
from app.http.access_work import AccessWork, command_if_any, take_up
from app.http.portal_route import PORTAL, InstanceName, PortalRoute, caller_of, document, instance_of
from tenancy import DEFAULT_RATE


async def begin_work(instance: InstanceName, request: Request, response: Response) -> None:
    """A customer does not shut himself out by mistake, and gives no more than the platform's own rate."""
    work = AccessWork(
        request=request,
        response=response,
        instance_id=instance_of(request),
        command=command_if_any(request),
        caller=caller_of(request),
        highest_rate=max(DEFAULT_RATE.per_second, DEFAULT_RATE.burst),
    )
    take_up(work)


router = APIRouter(prefix=PORTAL, route_class=PortalRoute, dependencies=[Depends(begin_work)])
ACCESS_ROUTES.add_to(router, document=document, own="Own")

"""`/portal/v1/{instance}`: a customer looks after his own host names and revocation lists."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response
from starlette.requests import Request

from app.http.access_work import command_if_any
from app.http.front_api import HOST_ROUTES, OWN_ROUTES
from app.http.front_work import FrontWork, take_up
from app.http.portal_route import PORTAL, InstanceName, PortalRoute, document, instance_of


async def begin_work(instance: InstanceName, request: Request, response: Response) -> None:
    """A customer proves that a host name is his by the certificate that he brings."""
    work = FrontWork(
        request=request, response=response, owner=instance_of(request), command=command_if_any(request)
    )
    take_up(work)


router = APIRouter(prefix=PORTAL, route_class=PortalRoute, dependencies=[Depends(begin_work)])
for _routes in (HOST_ROUTES, OWN_ROUTES):
    _routes.add_to(router, document=document, own="Own")

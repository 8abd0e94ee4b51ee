"""`/portal/v1/{instance}/rules…`: a customer looks after the rules of his instance."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response
from starlette.requests import Request

from app.http.access_work import command_if_any
from app.http.portal_route import PORTAL, InstanceName, PortalRoute, document, instance_of
from app.http.rule_api import RULE_ROUTES
from app.http.rule_work import RuleWork, take_up


async def begin_work(instance: InstanceName, request: Request, response: Response) -> None:
    """Whose rules it is about."""
    work = RuleWork(
        request=request,
        response=response,
        instance_id=instance_of(request),
        command=command_if_any(request),
    )
    take_up(work)


router = APIRouter(prefix=PORTAL, route_class=PortalRoute, dependencies=[Depends(begin_work)])
RULE_ROUTES.add_to(router, document=document, own="Own")

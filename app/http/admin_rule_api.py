"""`/admin/v1/instances/{id}/rules…`: staff look after the rules of an instance, as its customer can himself."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response
from starlette.requests import Request

from app.core.ids import InstanceId
from app.http.access_work import command_if_any
from app.http.admin_route import InstanceKey, document
from app.http.rule_api import RULE_ROUTES
from app.http.rule_work import RuleWork, take_up
from app.http.staff import StaffRoute, staff


async def begin_work(instance_id: InstanceKey, request: Request, response: Response) -> None:
    """Whose rules it is about."""
    work = RuleWork(
        request=request,
        response=response,
        instance_id=InstanceId(instance_id),
        command=command_if_any(request),
    )
    take_up(work)


router = APIRouter(
    prefix="/admin/v1/instances/{instance_id}", route_class=StaffRoute, dependencies=[Depends(begin_work)]
)
RULE_ROUTES.add_to(
    router,
    document=lambda status, value, *refused: document(status, value, *refused, 404, 410),
    demand=staff,
)

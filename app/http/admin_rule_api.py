"""`/admin/v1/instances/{id}/rules…`: staff look after the rules of an instance, as its customer can himself."""

from __future__ import annotations

from fastapi import Response
from starlette.requests import Request

from app.core.ids import InstanceId
from app.http.access_work import command_if_any
from app.http.admin_route import InstanceKey, shared_router
from app.http.rule_api import RULE_ROUTES
from app.http.rule_work import RuleWork, take_up


async def begin_work(instance_id: InstanceKey, request: Request, response: Response) -> None:
    """Whose rules it is about."""
    work = RuleWork(
        request=request,
        response=response,
        instance_id=InstanceId(instance_id),
        command=command_if_any(request),
    )
    take_up(work)


router = shared_router(begin_work, RULE_ROUTES)

"""Where an instance stands at the boxes, for its systems (a counted call) and for its customer in the portal."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from app.http import instance_api, portal_route
from app.http.call import WebServiceRoute, call_of, needs
from app.http.portal_route import PORTAL, PortalRoute, document
from app.http.schema.example import QUEUE, example, refusals
from app.http.schema.queue import InstanceQueueRead

api = APIRouter(prefix="/{instance}/api/v1", route_class=WebServiceRoute)
portal = APIRouter(prefix=PORTAL, route_class=PortalRoute)


@api.get(
    "/queue",
    operation_id="getQueue",
    summary="Read where the instance stands at the boxes",
    tags=["transfers"],
    openapi_extra=needs("read"),
    responses={**example(200, QUEUE), **refusals()},
)
async def get_queue(instance: instance_api.InstanceName, request: Request) -> InstanceQueueRead:
    """How long a transfer that came now would wait, how much of that is other customers' work, and the own jobs.

    Other customers' jobs are counted and never named. Times are measured, not promised.
    """
    return InstanceQueueRead.of(await call_of(request).runtime.transfers.read_queue())


@portal.get(
    "/queue",
    operation_id="getOwnQueue",
    summary="See where the instance stands at the boxes",
    tags=["queue"],
    responses=document(200, QUEUE),
)
async def get_own_queue(instance: portal_route.InstanceName, request: Request) -> InstanceQueueRead:
    """How long a transfer that came now would wait, how much of that is other customers' work, and the own jobs."""
    return InstanceQueueRead.of(await portal_route.runtime_of(request).transfers.read_queue())

"""`/admin/v1/front`: how load balancers are, and what would change now."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from app.http.admin_route import document, platform_of
from app.http.schema.front_report import (
    FRONT_EXAMPLE,
    FRONT_PLAN_EXAMPLE,
    FrontPlanRead,
    FrontRead,
)
from app.http.staff import StaffRoute, staff

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)


@router.get(
    "/front",
    operation_id="getFront",
    summary="See how load balancers are",
    tags=["hosts"],
    openapi_extra=staff("read"),
    responses=document(200, FRONT_EXAMPLE),
)
async def get_front(request: Request) -> FrontRead:
    """Of each whether it is what it is to be, or why not; the last change; and until when certificates last."""
    platform = platform_of(request)
    return FrontRead.of(platform.fronts.report(), now=platform.clock.now())


@router.post(
    "/front:plan",
    operation_id="planFront",
    summary="See what would change at load balancers now",
    tags=["hosts"],
    openapi_extra=staff("change"),
    responses=document(200, [FRONT_PLAN_EXAMPLE], 400, 409),
)
async def plan_front(request: Request) -> list[FrontPlanRead]:
    """Nothing is touched. In step, there is nothing to do."""
    return [FrontPlanRead.of(each) for each in await platform_of(request).fronts.plan()]

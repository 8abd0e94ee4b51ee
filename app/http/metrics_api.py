"""`/metrics`: figures of the Firm Security Boxes, as Prometheus reads them."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.admin_route import platform_of
from app.http.staff import StaffRoute, staff

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""**Source:** Prometheus, "Exposition formats", text-based format."""

router = APIRouter(route_class=StaffRoute)


@router.get("/metrics", operation_id="readMetrics", openapi_extra=staff("read"), include_in_schema=False)
async def read_metrics(request: Request) -> Response:
    """What the gateway counts and measures; names of instances stand in it, so it is for staff."""
    return Response(await platform_of(request).fsb.metrics(), media_type=_TEXT)

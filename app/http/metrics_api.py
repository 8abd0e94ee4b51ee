"""`/metrics`: figures of the Firm Security Boxes, as Prometheus reads them; while their gateway is away, that it is."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.admin_route import platform_of
from app.http.staff import StaffRoute, staff
from fsb_gateway.error import FsbError

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""**Source:** Prometheus, "Exposition formats", text-based format."""

router = APIRouter(route_class=StaffRoute)


_ANSWERS_WITHIN_SECONDS: Final = 5.0
"""Half of what Prometheus waits for. **Source:** Prometheus, "Configuration": `scrape_timeout` is 10 s."""
_UP: Final = """\
# HELP wops_fsb_gateway_up 1 if the gateway of the Firm Security Boxes answers; 0: its own figures are missing here.
# TYPE wops_fsb_gateway_up gauge
wops_fsb_gateway_up {}
"""


@router.get("/metrics", operation_id="readMetrics", openapi_extra=staff("read"), include_in_schema=False)
async def read_metrics(request: Request) -> Response:
    """Whether the gateway answers, and what it counts and measures, by names of instances: so it is for staff."""
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_SECONDS):
            figures = await platform_of(request).fsb.metrics()
    except (FsbError, TimeoutError):
        return Response(_UP.format(0), media_type=_TEXT)
    return Response(_UP.format(1) + figures, media_type=_TEXT)

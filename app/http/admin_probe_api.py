"""`/admin/v1/probes`: what is tried again and again while everything runs, and what came of it."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.http.admin_route import document, noted, platform_of
from app.http.schema.probe import PROBE_RESULT, ProbeResultRead
from app.http.staff import StaffRoute, command_of, staff

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)


@router.get(
    "/probes/isolation",
    operation_id="listIsolationProbes",
    summary="Read what the isolation probe found",
    tags=["probes"],
    openapi_extra=staff("read"),
    responses=document(200, [PROBE_RESULT], 422),
)
async def list_isolation_probes(
    request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 10
) -> list[ProbeResultRead]:
    """The last rounds, newest first: which instance tried what at which other one, and that it was refused."""
    probe = platform_of(request).isolation_probe
    return [
        ProbeResultRead.of(each) for each in await to_thread.run_sync(lambda: probe.list_results(limit=limit))
    ]


@router.post(
    "/probes/isolation:run",
    operation_id="runIsolationProbe",
    summary="Try the isolation now",
    tags=["probes"],
    openapi_extra=staff("change"),
    responses=document(200, PROBE_RESULT, 400, 409),
)
async def run_isolation_probe(request: Request, response: Response) -> ProbeResultRead:
    """One round now, besides those that run by themselves; one at a time."""
    done = await platform_of(request).isolation_probe.run(command_of(request))
    return ProbeResultRead.of(noted(done, response))

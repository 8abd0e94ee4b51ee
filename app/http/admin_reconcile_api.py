"""`/admin/v1/reconcile`: what is healed, what is not and why, and what is left alone."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Response
from starlette.requests import Request

from app.http.admin_route import document, noted, platform_of
from app.http.idempotency import REPLAYED
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.schema import admin_example
from app.http.schema import reconcile as show
from app.http.schema.model import Page
from app.http.schema.reconcile import (
    DecisionRead,
    PartRelease,
    PartReleased,
    PausePut,
    PauseRead,
    ReconcileRead,
)
from app.http.staff import StaffRoute, command_of, staff
from app.operations.reconcile.record import LONGEST_SCOPE

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)

Scope = Annotated[
    str,
    Path(
        max_length=LONGEST_SCOPE,
        description="`all`, all of a kind like `line:*`, `group:` with a group, or the key of a part.",
    ),
]
Part = Annotated[
    str | None, Query(max_length=LONGEST_SCOPE, description="Key of a part, like `line:acme-1`.")
]


@router.get(
    "/reconcile",
    operation_id="getReconcile",
    summary="See what is healed, and what is not and why",
    tags=["reconcile"],
    openapi_extra=staff("read"),
    responses=document(200, show.RECONCILE_EXAMPLE),
)
async def get_reconcile(request: Request) -> ReconcileRead:
    """Every part with the evidence, the decision and its reason, as they were at the last look; pauses and alarms."""
    service, report = platform_of(request).reconcile, platform_of(request).healer.report
    lease = await to_thread.run_sync(service.find_lease)
    pauses = await to_thread.run_sync(service.list_pauses)
    return ReconcileRead.of(report, lease, pauses, await to_thread.run_sync(service.list_alarms))


@router.get(
    "/reconcile/decisions",
    operation_id="listReconcileDecisions",
    summary="Read the journal of self-healing",
    tags=["reconcile"],
    openapi_extra=staff("read"),
    responses=document(200, admin_example.page(show.DECISION_EXAMPLE), 422),
)
async def list_decisions(
    request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None, part: Part = None
) -> Page[DecisionRead]:
    """Every action, and every decision not to act that was another than before; the newest first."""
    before, service = after_of(request, cursor), platform_of(request).reconcile
    found = await to_thread.run_sync(lambda: service.list_entries(before=before, limit=limit + 1, part=part))
    return page_of(
        request, response, found, limit=limit, show=DecisionRead.of, key=lambda each: each.entry_id
    )


@router.put(
    "/reconcile/pauses/{scope}",
    operation_id="pauseReconcile",
    summary="Leave something alone",
    tags=["reconcile"],
    openapi_extra=staff("change"),
    responses=document(200, show.PAUSE_EXAMPLE, 404, 409, 422),
)
async def pause_reconcile(scope: Scope, body: PausePut, request: Request, response: Response) -> PauseRead:
    """Nothing is done about it until the pause ends; it is looked at all the same."""
    service = platform_of(request).reconcile
    done = await to_thread.run_sync(
        lambda: service.pause(scope, reason=body.reason, until=body.until, command=command_of(request))
    )
    return PauseRead.of(noted(done, response))


@router.delete(
    "/reconcile/pauses/{scope}",
    operation_id="resumeReconcile",
    summary="Look after something again",
    status_code=204,
    tags=["reconcile"],
    openapi_extra=staff("change"),
    responses=document(204, None, 404, 409),
)
async def resume_reconcile(scope: Scope, request: Request) -> None:
    """End a pause."""
    service = platform_of(request).reconcile
    await to_thread.run_sync(lambda: service.resume(scope, command=command_of(request)))


@router.post(
    "/reconcile:release",
    operation_id="releaseReconcilePart",
    summary="Say that a part has been seen to",
    tags=["reconcile"],
    openapi_extra=staff("change"),
    responses=document(200, show.RELEASED_EXAMPLE, 400, 409, 422),
)
async def release_part(body: PartRelease, request: Request, response: Response) -> PartReleased:
    """After a person was called about a part, nothing is done about it until somebody says this."""
    service = platform_of(request).reconcile
    if await to_thread.run_sync(lambda: service.release(body.part, command=command_of(request))):
        response.headers[REPLAYED] = "true"
    return PartReleased(part=body.part)

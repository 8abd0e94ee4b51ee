"""`/portal/v1/{instance}/audit`: a customer reads what anybody has done to his instance."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Response
from starlette.requests import Request

from app.http.admin_route import platform_of
from app.http.audit_page import Asked, Since, Until, WantedEntries
from app.http.page import after_of, linked_page
from app.http.portal_route import PORTAL, InstanceName, PortalRoute, document, instance_of
from app.http.schema import admin_example as show
from app.http.schema.audit import OWN_ENTRY, OwnAuditEntryRead
from app.http.schema.model import Page
from app.operations.audit.own import OwnPosition, find_own

router = APIRouter(prefix=PORTAL, route_class=PortalRoute)


@router.get(
    "/audit",
    operation_id="listOwnAudit",
    summary="Read who did what",
    tags=["audit"],
    responses=document(200, show.page(OWN_ENTRY)),
)
async def list_own_audit(  # noqa: PLR0913 - parameters of the request
    instance: InstanceName,
    request: Request,
    response: Response,
    wanted: Annotated[WantedEntries, Depends()],
    asked: Annotated[Asked, Depends()],
    since: Since = None,
    until: Until = None,
) -> Page[OwnAuditEntryRead]:
    """What was done in the instance and to it, newest first: by your clients, by staff, by wops itself.

    Entries of two chains, merged by time: the instance's own, and what the platform's says of it. A page may be empty
    and have a next one.
    """
    reader, instance_id = platform_of(request).audit.reader, instance_of(request)
    at = OwnPosition.of_text(after_of(request, asked.cursor))
    filters = wanted.between(since, until)
    found = await to_thread.run_sync(lambda: find_own(reader, instance_id, filters, at=at, limit=asked.limit))
    following = None if found.following is None else found.following.to_text()
    shown = [OwnAuditEntryRead.of(each) for each in found.entries]
    return linked_page(request, response, shown, following)

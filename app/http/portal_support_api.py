"""`/portal/v1/{instance}/support-access`: a customer decides whether support may look into his instance."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from starlette.requests import Request

from app.core.command import Done
from app.http.admin_route import noted, platform_of
from app.http.etag import IfMatch, etag_of, version_of
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.portal_route import (
    PORTAL,
    InstanceName,
    PortalRoute,
    admitted_of,
    command_of,
    document,
    instance_of,
)
from app.http.schema import admin_example, staff_example
from app.http.schema.model import Page
from app.http.schema.staff import SupportAccessRead, SupportUseRead
from tenancy.staff.support.record import SupportAccess
from tenancy.staff.support.service import SupportService

router = APIRouter(prefix=PORTAL, route_class=PortalRoute)

AccessKey = Annotated[str, Path(max_length=64, description="Id of a support access.")]


@router.get(
    "/support-access",
    operation_id="listOwnSupportAccesses",
    summary="List what support has asked for",
    tags=["support"],
    responses=document(200, admin_example.page(staff_example.SUPPORT_ACCESS)),
)
async def list_accesses(
    instance: InstanceName, request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[SupportAccessRead]:
    """Every access that support has ever asked for to this instance, and what has become of it."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(
        lambda: _support(request).list_accesses(
            after=after, limit=limit + 1, instance_id=instance_of(request)
        )
    )
    return page_of(
        request, response, found, limit=limit, show=SupportAccessRead.of, key=lambda each: each.access_id
    )


@router.get(
    "/support-access/{access_id}",
    operation_id="getOwnSupportAccess",
    summary="Read what support has asked for",
    tags=["support"],
    responses=document(200, staff_example.SUPPORT_ACCESS),
)
async def get_access(
    instance: InstanceName, access_id: AccessKey, request: Request, response: Response
) -> SupportAccessRead:
    """One access, with its version as ETag, which approving and refusing need."""
    found = await to_thread.run_sync(
        lambda: _support(request).get_access(access_id, instance_id=instance_of(request))
    )
    response.headers["ETag"] = etag_of(found.version)
    return SupportAccessRead.of(found)


@router.post(
    "/support-access/{access_id}:approve",
    operation_id="approveSupportAccess",
    summary="Let support in",
    tags=["support"],
    responses=document(200, staff_example.SUPPORT_APPROVED, 400, 409, 412, 428),
)
async def approve_access(
    instance: InstanceName,
    access_id: AccessKey,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> SupportAccessRead:
    """From now on and for as many hours as support has asked for; ends by itself, or as soon as it is revoked."""
    version = version_of(if_match)
    return await _decide(
        request, response, access_id, partial(_support(request).approve_access, expected_version=version)
    )


@router.post(
    "/support-access/{access_id}:refuse",
    operation_id="refuseSupportAccess",
    summary="Do not let support in",
    tags=["support"],
    responses=document(200, {**staff_example.SUPPORT_APPROVED, "state": "refused"}, 400, 409, 412, 428),
)
async def refuse_access(
    instance: InstanceName,
    access_id: AccessKey,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> SupportAccessRead:
    """Support stays outside."""
    version = version_of(if_match)
    return await _decide(
        request, response, access_id, partial(_support(request).refuse_access, expected_version=version)
    )


@router.post(
    "/support-access/{access_id}:revoke",
    operation_id="revokeSupportAccess",
    summary="Let support in no longer",
    tags=["support"],
    responses=document(200, {**staff_example.SUPPORT_APPROVED, "state": "revoked", "version": 3}, 400, 409),
)
async def revoke_access(
    instance: InstanceName, access_id: AccessKey, request: Request, response: Response
) -> SupportAccessRead:
    """At any time, and at once: the next request of support is refused."""
    return await _decide(request, response, access_id, _support(request).revoke_access)


@router.get(
    "/support-access/{access_id}/uses",
    operation_id="listSupportUses",
    summary="List when support was here",
    tags=["support"],
    responses=document(200, admin_example.page(staff_example.SUPPORT_USE)),
)
async def list_uses(
    instance: InstanceName,
    access_id: AccessKey,
    request: Request,
    response: Response,
    limit: Limit = 25,
    cursor: Cursor = None,
) -> Page[SupportUseRead]:
    """One entry for each hour in which support was in this instance; each stands in its audit chain, too."""
    after = int(after_of(request, cursor) or -1)
    found = await to_thread.run_sync(
        lambda: _support(request).list_uses(instance_of(request), access_id, after=after, limit=limit + 1)
    )
    return page_of(
        request,
        response,
        found,
        limit=limit,
        show=lambda each: SupportUseRead.of(each[1]),
        key=lambda each: str(each[0]),
    )


def _support(request: Request) -> SupportService:
    return platform_of(request).support


def _decider(request: Request) -> str:
    principal = admitted_of(request).principal
    return principal.client_id or principal.name


async def _decide(
    request: Request, response: Response, access_id: str, decide: Callable[..., Done[SupportAccess]]
) -> SupportAccessRead:
    """Carry out what the customer has decided, in the name of the client that says so."""
    instance_id, by, command = instance_of(request), _decider(request), command_of(request)
    done = await to_thread.run_sync(lambda: decide(instance_id, access_id, by=by, command=command))
    response.headers["ETag"] = etag_of(done.value.version)
    return SupportAccessRead.of(noted(done, response))

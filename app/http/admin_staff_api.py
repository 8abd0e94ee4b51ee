"""`/admin/v1/people`, `/admin/v1/staff-tokens`: who works here, and with which tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from starlette.requests import Request

from app.http.admin_route import document, noted, platform_of
from app.http.guarded import ask_approval
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.schema import admin_example, staff_example
from app.http.schema.model import Page
from app.http.schema.staff import (
    ApprovalRead,
    GuardedAsk,
    PersonRead,
    StaffCredentialsRead,
    StaffTokenCreate,
    StaffTokenRead,
    StaffTokenRotate,
)
from app.http.staff import StaffRoute, command_of, staff

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)

TokenKey = Annotated[str, Path(max_length=64, description="Id of a staff token.")]
PersonKey = Annotated[str, Path(max_length=64, description="Id of a member of staff.")]


@router.post(
    "/staff-tokens",
    operation_id="createStaffToken",
    summary="Make a staff token",
    status_code=201,
    tags=["staff"],
    openapi_extra=staff("admin"),
    responses=document(201, staff_example.STAFF_CREDENTIALS, 400, 422),
)
async def create_staff_token(
    body: StaffTokenCreate, request: Request, response: Response
) -> StaffCredentialsRead:
    """Make a token for a member of staff or a script of theirs. Its secret is in this answer and nowhere else."""
    platform = platform_of(request)
    expires_at = platform.clock.now() + timedelta(days=body.expires_in_days)
    done = await to_thread.run_sync(
        lambda: platform.staff_tokens.add_token(
            body.name, body.role, person=body.person, expires_at=expires_at, command=command_of(request)
        )
    )
    return StaffCredentialsRead.of(noted(done, response))


@router.get(
    "/staff-tokens",
    operation_id="listStaffTokens",
    summary="List staff tokens",
    tags=["staff"],
    openapi_extra=staff("read"),
    responses=document(200, admin_example.page(staff_example.STAFF_TOKEN), 422),
)
async def list_staff_tokens(
    request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[StaffTokenRead]:
    """All staff tokens; never their secrets."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(
        lambda: platform_of(request).staff_tokens.list_tokens(after=after, limit=limit + 1)
    )
    return page_of(
        request, response, found, limit=limit, show=StaffTokenRead.of, key=lambda each: each.token_id
    )


@router.post(
    "/staff-tokens/{token_id}:rotate",
    operation_id="rotateStaffToken",
    summary="Give a staff token a new secret",
    tags=["staff"],
    openapi_extra=staff("admin"),
    responses=document(200, staff_example.STAFF_CREDENTIALS, 400, 404, 409, 422),
)
async def rotate_staff_token(
    token_id: TokenKey, body: StaffTokenRotate, request: Request, response: Response
) -> StaffCredentialsRead:
    """Make a new secret, shown this once; the old one holds on for some hours, so that no call fails."""
    overlap = timedelta(hours=body.overlap_hours)
    done = await to_thread.run_sync(
        lambda: platform_of(request).staff_tokens.rotate(
            token_id, overlap=overlap, command=command_of(request)
        )
    )
    return StaffCredentialsRead.of(noted(done, response))


@router.post(
    "/staff-tokens/{token_id}:revoke",
    operation_id="revokeStaffToken",
    summary="Revoke a staff token",
    tags=["staff"],
    openapi_extra=staff("admin"),
    responses=document(200, staff_example.STAFF_TOKEN, 400, 404),
)
async def revoke_staff_token(token_id: TokenKey, request: Request, response: Response) -> StaffTokenRead:
    """End a token at once, and its secret before the last rotation."""
    done = await to_thread.run_sync(
        lambda: platform_of(request).staff_tokens.revoke(token_id, command=command_of(request))
    )
    return StaffTokenRead.of(noted(done, response))


@router.get(
    "/people",
    operation_id="listPeople",
    summary="List members of staff",
    tags=["staff"],
    openapi_extra=staff("read"),
    responses=document(200, admin_example.page(staff_example.PERSON), 422),
)
async def list_people(
    request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[PersonRead]:
    """Everybody who has or had a staff token; erased people without their names."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(
        lambda: platform_of(request).people.list_people(after=after, limit=limit + 1)
    )
    return page_of(request, response, found, limit=limit, show=PersonRead.of, key=lambda each: each.person_id)


@router.post(
    "/people/{person_id}:erase",
    operation_id="erasePerson",
    summary="Ask to forget a member of staff",
    status_code=202,
    tags=["staff"],
    openapi_extra=staff("change"),
    responses=document(202, staff_example.APPROVAL, 400, 404, 409, 422),
)
async def erase_person(
    person_id: PersonKey, body: GuardedAsk, request: Request, response: Response
) -> ApprovalRead:
    """Once a second person has approved it: all tokens end, and the name is unreadable wherever it stands."""
    return await ask_approval(
        request, response, action="erasePerson", object_id=person_id, reason=body.reason
    )

"""`/admin/v1/approvals`: what waits for a second person; and actions of the fleet that need one."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Response
from starlette.requests import Request

from app.core.ids import InstanceId
from app.http.admin_route import InstanceKey, document, noted, platform_of
from app.http.etag import IfMatch, etag_of, version_of
from app.http.guarded import ask_approval
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.schema import admin_example, staff_example
from app.http.schema.model import Page
from app.http.schema.staff import ApprovalDecision, ApprovalRead, GuardedAsk, QuotaCorrection
from app.http.staff import StaffRoute, command_of, staff, staff_of

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)

ApprovalKey = Annotated[str, Path(max_length=64, description="Id of a request for approval.")]


@router.get(
    "/approvals",
    operation_id="listApprovals",
    summary="List requests for approval",
    tags=["approvals"],
    openapi_extra=staff("read"),
    responses=document(200, admin_example.page(staff_example.APPROVAL), 422),
)
async def list_approvals(
    request: Request,
    response: Response,
    limit: Limit = 25,
    cursor: Cursor = None,
    waiting: Annotated[bool, Query(description="Only those that can be decided now.")] = False,
) -> Page[ApprovalRead]:
    """What somebody has asked for that a second person has to approve, page by page."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(
        lambda: platform_of(request).approvals.list_approvals(after=after, limit=limit + 1, waiting=waiting)
    )
    return page_of(
        request, response, found, limit=limit, show=ApprovalRead.of, key=lambda each: each.approval_id
    )


@router.get(
    "/approvals/{approval_id}",
    operation_id="getApproval",
    summary="Read a request for approval",
    tags=["approvals"],
    openapi_extra=staff("read"),
    responses=document(200, staff_example.APPROVAL, 404),
)
async def get_approval(approval_id: ApprovalKey, request: Request, response: Response) -> ApprovalRead:
    """Who asks for what, and exactly what will be done; its version as ETag, which approving needs."""
    found = await to_thread.run_sync(platform_of(request).approvals.get_approval, approval_id)
    response.headers["ETag"] = etag_of(found.version)
    return ApprovalRead.of(found)


@router.post(
    "/approvals/{approval_id}:approve",
    operation_id="approveApproval",
    summary="Approve what somebody else asks for",
    tags=["approvals"],
    openapi_extra=staff("change"),
    responses=document(200, staff_example.APPROVED, 400, 404, 409, 412, 422, 428),
)
async def approve_approval(
    approval_id: ApprovalKey,
    body: ApprovalDecision,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> ApprovalRead:
    """Let it happen: the operation named in the answer starts at once. Nobody approves his own request."""
    version = version_of(if_match)
    done = await to_thread.run_sync(
        lambda: platform_of(request).approvals.approve(
            approval_id,
            expected_version=version,
            by=staff_of(request),
            reason=body.reason,
            command=command_of(request),
        )
    )
    response.headers["ETag"] = etag_of(done.value.version)
    return ApprovalRead.of(noted(done, response))


@router.post(
    "/approvals/{approval_id}:reject",
    operation_id="rejectApproval",
    summary="Reject what somebody asks for",
    tags=["approvals"],
    openapi_extra=staff("change"),
    responses=document(200, staff_example.REJECTED, 400, 404, 409, 422),
)
async def reject_approval(
    approval_id: ApprovalKey, body: GuardedAsk, request: Request, response: Response
) -> ApprovalRead:
    """Close a request for good; whoever has asked may do so too."""
    done = await to_thread.run_sync(
        lambda: platform_of(request).approvals.reject(
            approval_id, by=staff_of(request), reason=body.reason, command=command_of(request)
        )
    )
    response.headers["ETag"] = etag_of(done.value.version)
    return ApprovalRead.of(noted(done, response))


@router.post(
    "/instances/{instance_id}/firm-key:install",
    operation_id="installFirmKey",
    summary="Ask to install an instance's firm key again",
    status_code=202,
    tags=["approvals"],
    openapi_extra=staff("change"),
    responses=document(202, staff_example.APPROVAL, 400, 404, 409, 410, 422),
)
async def install_firm_key(
    instance_id: InstanceKey, body: GuardedAsk, request: Request, response: Response
) -> ApprovalRead:
    """Once a second person has approved it: into all boxes of its pool, e.g. after one was added or replaced."""
    return await ask_approval(
        request, response, action="installFirmKey", object_id=instance_id, reason=body.reason
    )


@router.post(
    "/instances/{instance_id}/quota:correct",
    operation_id="correctQuota",
    summary="Ask to take counts back",
    status_code=202,
    tags=["approvals"],
    openapi_extra=staff("change"),
    responses=document(202, staff_example.APPROVAL, 400, 404, 409, 410, 422),
)
async def correct_quota(
    instance_id: InstanceKey, body: QuotaCorrection, request: Request, response: Response
) -> ApprovalRead:
    """Once a second person has approved it: counted ledger entries no longer count; the ledger keeps them."""
    work = platform_of(request).staff_operations
    return await ask_approval(
        request,
        response,
        action="correctQuota",
        object_id=instance_id,
        reason=body.reason,
        parameters=lambda: work.plan_correction(
            InstanceId(instance_id), month=body.month, effect_ids=body.effect_ids
        ),
    )

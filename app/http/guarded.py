"""What a route answers whose action needs a second person: 202 with the request for approval, and nothing done."""

from __future__ import annotations

from collections.abc import Awaitable

from anyio import to_thread
from fastapi import Response
from starlette.requests import Request

from app.core.errors import DomainError
from app.core.json import JsonObject
from app.http.admin_route import noted, platform_of
from app.http.schema.staff import ApprovalRead
from app.http.staff import command_of, staff_of
from tenancy.staff.approval import Plan


async def ask_approval(
    request: Request,
    response: Response,
    *,
    action: str,
    object_id: str,
    reason: str,
    parameters: JsonObject | Plan | None = None,
) -> ApprovalRead:
    """Ask for a guarded action; the route says `status_code=202`.

    Args:
        action: as registered with `Platform.guarded`; the route's operationId.
        parameters: exactly what will be done, for the one who approves it; or what finds it out, blocking. No
            secrets, no names of people.

    Raises:
        DomainError: see `ApprovalService.request`.
    """
    approvals = platform_of(request).approvals
    done = await to_thread.run_sync(
        lambda: approvals.request(
            action,
            object_id,
            parameters=parameters or {},
            reason=reason,
            by=staff_of(request),
            command=command_of(request),
        )
    )
    approval = noted(done, response, status=202)
    response.headers["Location"] = f"/admin/v1/approvals/{approval.approval_id}"
    return ApprovalRead.of(approval)


async def planned(work: Awaitable[JsonObject]) -> Plan:
    """What would be done, found out with the help of somebody who is asked in the event loop, e.g. the gateway.

    What he refuses is raised once it is known that the request is no repeat.
    """
    try:
        found = await work
    except DomainError as error:
        return _refusing(error)
    return lambda: found


def _refusing(error: DomainError) -> Plan:
    def refuse() -> JsonObject:
        raise error

    return refuse

"""`/admin/v1/instances/{id}/lines`: who serves an instance, and how."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from starlette.requests import Request

from app.core.command import Command, Done
from app.core.ids import InstanceId, LineId
from app.http.admin_route import InstanceKey, changed, document, platform_of, started
from app.http.etag import IfMatch, etag_of, version_of
from app.http.guarded import ask_approval
from app.http.schema import admin_example, staff_example
from app.http.schema import line as show
from app.http.schema.line import LineAddBody, LineChangeBody, LineRead
from app.http.schema.operation import OperationRead
from app.http.schema.staff import ApprovalRead
from app.http.staff import StaffRoute, command_of, staff
from tenancy.line.record import LineRecord
from tenancy.line.service import LineService

router = APIRouter(prefix="/admin/v1/instances/{instance_id}/lines", route_class=StaffRoute, tags=["lines"])

LineKey = Annotated[str, Path(max_length=64, description="Id of a line.", examples=["acme-ha-1"])]
_BESIDE_PROGRAMMING_SECONDS: Final = 5
"""What a request takes beside waiting for a box: transactions of a busy database. Our own decision."""

_Change = Callable[[LineService, int, Command], Done[LineRecord]]


@router.get(
    "",
    operation_id="listLines",
    summary="List an instance's lines",
    openapi_extra=staff("read"),
    responses=document(200, [show.LINE, show.TEMPORARY, show.EMBEDDED], 404),
)
async def list_lines(instance_id: InstanceKey, request: Request) -> list[LineRead]:
    """All lines by number, those that are only planned too: what is wanted of them, and what is seen of them."""
    platform = platform_of(request)
    lines = await to_thread.run_sync(platform.lines.list_lines, InstanceId(instance_id))
    return [await _view(request, each) for each in lines]


@router.get(
    "/{line}",
    operation_id="getLine",
    summary="Read a line",
    openapi_extra=staff("read"),
    responses=document(200, show.LINE, 404),
)
async def get_line(instance_id: InstanceKey, line: LineKey, request: Request, response: Response) -> LineRead:
    """One line, with its version as ETag."""
    platform = platform_of(request)
    found = await to_thread.run_sync(platform.lines.get_line, InstanceId(instance_id), LineId(line))
    response.headers["ETag"] = etag_of(found.version)
    return await _view(request, found)


@router.post(
    "",
    operation_id="addLine",
    summary="Ask for a temporary line",
    status_code=202,
    openapi_extra=staff("change"),
    responses=document(202, staff_example.APPROVAL, 400, 404, 409, 422),
)
async def add_line(
    instance_id: InstanceKey, body: LineAddBody, request: Request, response: Response
) -> ApprovalRead:
    """High Availability only. Once a second person has approved it: a box with the firm key, a process, then requests.

    It is contracted from its start to its end, so the month's quota grows with it. It ends by itself.
    """
    return await ask_approval(
        request,
        response,
        action="addLine",
        object_id=instance_id,
        reason=body.reason,
        parameters=body.asked(),
    )


@router.patch(
    "/{line}",
    operation_id="changeLine",
    summary="Change a line's weight",
    openapi_extra=staff("change"),
    responses=document(200, {**show.LINE, "weight": 50, "version": 2}, 404, 409, 412, 422, 428),
)
async def change_line(
    instance_id: InstanceKey,
    line: LineKey,
    body: LineChangeBody,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> LineRead:
    """Needs the ETag that was read. The only line that takes requests keeps some weight: 409 `line_last`."""
    return await _change(
        request,
        response,
        if_match,
        lambda lines, version, command: lines.weigh_line(
            InstanceId(instance_id), LineId(line), body.weight, version=version, command=command
        ),
    )


@router.post(
    "/{line}:drain",
    operation_id="drainLine",
    summary="Take a line out of service",
    openapi_extra=staff("change"),
    responses=document(200, show.DRAINED, 400, 404, 409, 412, 428),
)
async def drain_line(
    instance_id: InstanceKey, line: LineKey, request: Request, response: Response, if_match: IfMatch = None
) -> LineRead:
    """Needs the ETag that was read. No new requests; `idle_within_seconds` says how long those under way may take.

    Never the only line that takes requests: 409 `line_last`.
    """
    return await _change(
        request,
        response,
        if_match,
        lambda lines, version, command: lines.drain_line(
            InstanceId(instance_id), LineId(line), by="staff", version=version, command=command
        ),
    )


@router.post(
    "/{line}:restore",
    operation_id="restoreLine",
    summary="Put a line back into service",
    openapi_extra=staff("change"),
    responses=document(200, {**show.LINE, "version": 3}, 400, 404, 409, 412, 428),
)
async def restore_line(
    instance_id: InstanceKey, line: LineKey, request: Request, response: Response, if_match: IfMatch = None
) -> LineRead:
    """Needs the ETag that was read. Whoever had taken it out."""
    return await _change(
        request,
        response,
        if_match,
        lambda lines, version, command: lines.restore_line(
            InstanceId(instance_id), LineId(line), version=version, command=command
        ),
    )


@router.delete(
    "/{line}",
    operation_id="removeLine",
    summary="End a temporary line now",
    status_code=202,
    openapi_extra=staff("change"),
    responses=document(202, admin_example.OPERATION, 404, 409, 412, 428),
)
async def remove_line(
    instance_id: InstanceKey, line: LineKey, request: Request, response: Response, if_match: IfMatch = None
) -> OperationRead:
    """Needs the ETag that was read. Out of the front, then, when nothing runs, its process ends and its box is removed.

    One that is only being made ends when that operation is cancelled: 409 `operation_running` names it.
    """
    version = version_of(if_match)
    done = await to_thread.run_sync(
        lambda: platform_of(request).lines.end_line(
            InstanceId(instance_id), LineId(line), version=version, command=command_of(request)
        )
    )
    return started(request, done, response)


async def _change(request: Request, response: Response, if_match: str | None, change: _Change) -> LineRead:
    lines = platform_of(request).lines
    return await _view(request, await changed(request, response, if_match, partial(change, lines)))


async def _view(request: Request, line: LineRecord) -> LineRead:
    platform = platform_of(request)
    seen = await platform.lines_seen()
    longest = math.ceil(platform.settings.program_wait_seconds) + _BESIDE_PROGRAMMING_SECONDS
    found = None if seen is None else seen.get(line.line_id)
    return LineRead.of(line, found, longest_request=longest, now=platform.clock.now())

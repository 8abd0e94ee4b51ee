"""`/admin/v1/operations`: long-running changes, their log, live events, and what staff decide about them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, Final

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.requests import Request

from app.container import Platform
from app.core.command import Command, Done
from app.core.errors import DatabaseUnavailable
from app.core.ids import OperationId
from app.http.admin_route import RETRY_SECONDS, document, noted, platform_of
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.schema import admin_example as show
from app.http.schema.model import Page
from app.http.schema.operation import EVENTS, LOG_LINE, DecisionBody, LogLineRead, OperationRead, StateName
from app.http.staff import StreamRoute, command_of, staff
from tenancy import LogLine, Operation

router = APIRouter(prefix="/admin/v1", route_class=StreamRoute, tags=["operations"])

_LOG_PAGE: Final = 100
_LOOK_EVERY_SECONDS: Final = 0.25
"""How far an event may lag behind; a look is one small read. Our own decision."""

OperationKey = Annotated[
    str, Path(max_length=64, description="Id of an operation.", examples=["opn_019b0a3c"])
]
_MOST_NUMBER: Final = 2**62
_FOLLOW_SECONDS: Final = 300.0
"""After which a stream ends, and with it the right to look on that a token gave which is no longer good. Our own
decision."""
_LOOKS_AT_ONCE: Final = 4
"""Of all streams together; a database takes 32 callers. Our own decision."""
_LOOKS: Final = RunVar[CapacityLimiter]("looks_at_operations")

LogNumber = Annotated[
    int, Query(ge=0, le=_MOST_NUMBER, description="Number of the last line that is known already.")
]
LastEvent = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID", max_length=20, description="Number of the last line received; goes on there."
    ),
]


@router.get(
    "/operations",
    operation_id="listOperations",
    summary="List operations",
    openapi_extra=staff("read"),
    responses=document(200, show.page(show.OPERATION), 422),
)
async def list_operations(
    request: Request,
    response: Response,
    limit: Limit = 25,
    cursor: Cursor = None,
    object_id: Annotated[str | None, Query(max_length=64, description="Of this object only.")] = None,
    state: Annotated[StateName | None, Query(description="In this state only.")] = None,
) -> Page[OperationRead]:
    """Operations, oldest first, page by page."""
    after, operations = after_of(request, cursor), platform_of(request).operations
    found = await to_thread.run_sync(
        lambda: operations.list_operations(after=after, limit=limit + 1, object_id=object_id, state=state)
    )
    return page_of(
        request,
        response,
        found,
        limit=limit,
        show=lambda each: _read(request, each),
        key=lambda each: each.operation_id,
    )


@router.get(
    "/operations/{operation_id}",
    operation_id="getOperation",
    summary="Read an operation",
    openapi_extra=staff("read"),
    responses=document(200, show.OPERATION, 404),
)
async def get_operation(operation_id: OperationKey, request: Request, response: Response) -> OperationRead:
    """How far an operation is, and what staff may decide about it."""
    operation = await to_thread.run_sync(
        platform_of(request).operations.get_operation, OperationId(operation_id)
    )
    if not operation.finished:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return _read(request, operation)


@router.get(
    "/operations/{operation_id}/log",
    operation_id="getOperationLog",
    summary="Read an operation's log",
    openapi_extra=staff("read"),
    responses=document(200, [LOG_LINE], 404, 422),
)
async def get_operation_log(
    operation_id: OperationKey, request: Request, after: LogNumber = 0
) -> list[LogLineRead]:
    """What has happened, oldest first, at most 100 lines. Ask again with the last number for the next ones."""
    operations = platform_of(request).operations
    lines = await to_thread.run_sync(
        lambda: operations.list_log(OperationId(operation_id), after=after, limit=_LOG_PAGE)
    )
    return [LogLineRead.of(line) for line in lines]


async def existing(operation_id: OperationKey, request: Request) -> Operation:
    """The operation, before a stream about it begins: a refusal is still possible then."""
    return await to_thread.run_sync(platform_of(request).operations.get_operation, OperationId(operation_id))


@router.get(
    "/operations/{operation_id}/events",
    operation_id="streamOperationEvents",
    summary="Follow an operation",
    openapi_extra=staff("read"),
    response_class=EventSourceResponse,
    responses={
        **document(200, LOG_LINE, 404, 422),
        200: {
            "description": "Lines as they are written.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EVENTS}},
        },
    },
)
async def stream_operation_events(
    operation: Annotated[Operation, Depends(existing)], request: Request, last_event_id: LastEvent = None
) -> AsyncIterator[ServerSentEvent]:
    """The log as Server-Sent Events, live; each carries its line's number as id.

    The last event is `end` with the operation as it is then: over, or given up as `fatal` until staff decide. A stream
    without it goes on where it is asked for again with `Last-Event-ID`: each ends after five minutes, so that the token
    is looked at again.
    """
    platform = platform_of(request)
    after = 0
    if last_event_id is not None and last_event_id.isdecimal():
        after = min(int(last_event_id), _MOST_NUMBER)
    async for seen in _follow(platform, operation.operation_id, after=after):
        if isinstance(seen, LogLine):
            yield ServerSentEvent(event=seen.event, id=str(seen.number), data=LogLineRead.of(seen))
        else:
            yield ServerSentEvent(event="end", data=_read(request, seen))


def _looks() -> CapacityLimiter:
    """How many streams look at a time: however many there are, they leave room for everybody else."""
    try:
        return _LOOKS.get()
    except LookupError:
        limiter = CapacityLimiter(_LOOKS_AT_ONCE)
        _LOOKS.set(limiter)
        return limiter


async def _follow(
    platform: Platform, operation_id: OperationId, *, after: int
) -> AsyncIterator[LogLine | Operation]:
    """Lines as they are written, and the operation itself once nothing happens to it any more.

    Ends without it when it has lasted long enough, or when the server stops. Holds nothing while it waits.
    """
    ends_at = platform.clock.monotonic() + _FOLLOW_SECONDS
    while not platform.stopping.is_set() and platform.clock.monotonic() < ends_at:
        look = partial(platform.operations.read_on, operation_id, after=after, limit=_LOG_PAGE)
        try:
            operation, lines = await to_thread.run_sync(look, limiter=_looks())
        except DatabaseUnavailable:
            # Busy or away: it is asked again, and the stream goes on where it is.
            await _pause(platform)
            continue
        for line in lines:
            after = line.number
            yield line
        if (operation.finished or operation.state == "fatal") and len(lines) < _LOG_PAGE:
            yield operation
            return
        if not lines:
            await _pause(platform)


async def _pause(platform: Platform) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(platform.stopping.wait(), _LOOK_EVERY_SECONDS)


@router.post(
    "/operations/{operation_id}:retry",
    operation_id="retryOperation",
    summary="Try again",
    openapi_extra=staff("change"),
    responses=document(200, show.OPERATION, 400, 404, 409),
)
async def retry_operation(operation_id: OperationKey, request: Request, response: Response) -> OperationRead:
    """Another round: of the failed step, or of a recovery that was given up."""
    decide = platform_of(request).operations.retry
    return await _decide(
        request, response, lambda command: decide(OperationId(operation_id), command=command)
    )


@router.post(
    "/operations/{operation_id}:skip",
    operation_id="skipOperationStep",
    summary="Go on without a step",
    openapi_extra=staff("change"),
    responses=document(200, show.OPERATION, 400, 404, 409, 422),
)
async def skip_operation_step(
    operation_id: OperationKey, body: DecisionBody, request: Request, response: Response
) -> OperationRead:
    """Leave the failed step out; only where the kind of operation allows it."""
    decide, key = platform_of(request).operations.skip, OperationId(operation_id)
    return await _decide(request, response, lambda command: decide(key, reason=body.reason, command=command))


@router.post(
    "/operations/{operation_id}:cancel",
    operation_id="cancelOperation",
    summary="Cancel an operation",
    openapi_extra=staff("change"),
    responses=document(200, show.OPERATION, 400, 404, 409, 422),
)
async def cancel_operation(
    operation_id: OperationKey, body: DecisionBody, request: Request, response: Response
) -> OperationRead:
    """Stop an operation and undo what it has done; not after its point of no return."""
    decide, key = platform_of(request).operations.cancel, OperationId(operation_id)
    return await _decide(request, response, lambda command: decide(key, reason=body.reason, command=command))


@router.post(
    "/operations/{operation_id}:recover",
    operation_id="recoverOperation",
    summary="Undo a failed operation",
    openapi_extra=staff("change"),
    responses=document(200, show.OPERATION, 400, 404, 409),
)
async def recover_operation(
    operation_id: OperationKey, request: Request, response: Response
) -> OperationRead:
    """Undo a failed operation now; it would do so by itself at its deadline."""
    decide = platform_of(request).operations.recover
    return await _decide(
        request, response, lambda command: decide(OperationId(operation_id), command=command)
    )


async def _decide(
    request: Request, response: Response, decide: Callable[[Command], Done[Operation]]
) -> OperationRead:
    command = command_of(request)
    done = await to_thread.run_sync(lambda: decide(command))
    return _read(request, noted(done, response))


def _read(request: Request, operation: Operation) -> OperationRead:
    return OperationRead.of(operation, platform_of(request).operations.decisions(operation))

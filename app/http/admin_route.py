"""What the routes of the admin API have in common."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

from anyio import to_thread
from fastapi import Path, Response
from starlette.requests import Request

from app.container import Platform
from app.core.command import Done
from app.core.ids import InstanceId
from app.http.idempotency import REPLAYED
from app.http.schema.example import documenter
from app.http.schema.operation import OperationRead
from app.operations.line import InstanceRuntime
from tenancy import Operation

T = TypeVar("T")

InstanceKey = Annotated[str, Path(max_length=64, description="Id of an instance.", examples=["ins_019b0a3c"])]


document: Final = documenter(401, 403, 503)
"""Describes what an admin route answers."""
RETRY_SECONDS: Final = 1
"""After which it is worth asking again how far an operation is."""


def platform_of(request: Request) -> Platform:
    """The platform that this process runs."""
    platform: Platform = request.app.state.platform
    return platform


async def runtime_of(request: Request, instance_id: str) -> InstanceRuntime:
    """An instance as one of its lines serves it.

    Raises:
        InstanceNotFound, InstanceNotReady, InstanceErased: there is nothing to act on.
        InstanceFrozen: the request changes something, and it is frozen; looking is possible.
    """
    platform = platform_of(request)
    runtime = await to_thread.run_sync(platform.runtime, InstanceId(instance_id))
    if request.method not in ("GET", "HEAD"):
        await to_thread.run_sync(runtime.require_open)
    return runtime


def noted(done: Done[T], response: Response, *, status: int = 200) -> T:
    """Say in the answer that a request was a repeat, and set the status that a repeat gets."""
    if done.replayed:
        response.headers[REPLAYED] = "true"
        response.status_code = status
    return done.value


def started(request: Request, done: Done[Operation], response: Response) -> OperationRead:
    """The answer of an admin route that has started an operation; the route says `status_code=202`."""
    operation = accepted(done, response, address="/admin/v1/operations")
    return OperationRead.of(operation, platform_of(request).operations.decisions(operation))


def accepted(done: Done[Operation], response: Response, *, address: str) -> Operation:
    """Say in the answer where to ask how far an operation is, and when."""
    operation = noted(done, response, status=202)
    response.headers["Location"] = f"{address}/{operation.operation_id}"
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return operation

"""What the routes of the admin API have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Protocol, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Response
from starlette.requests import Request

from app.container import Platform
from app.core.command import Command, Done
from app.core.ids import InstanceId
from app.http.etag import etag_of, version_of
from app.http.idempotency import REPLAYED
from app.http.schema.example import documenter
from app.http.schema.operation import OperationRead
from app.http.shared_route import SharedRoutes
from app.http.staff import StaffRoute, command_of, staff
from app.operations.line import InstanceRuntime
from tenancy import Operation

T = TypeVar("T")


class _Versioned(Protocol):
    @property
    def version(self) -> int: ...


V = TypeVar("V", bound=_Versioned)

InstanceKey = Annotated[str, Path(max_length=64, description="Id of an instance.", examples=["ins_019b0a3c"])]


document: Final = documenter(401, 403, 503)
"""Describes what an admin route answers."""
RETRY_SECONDS: Final = 1
"""After which it is worth asking again how far an operation is."""


def shared_router(begin_work: Callable[..., Awaitable[None]], *shared: SharedRoutes) -> APIRouter:
    """What an instance's customer has in the portal, for staff.

    Args:
        begin_work: the dependency that keeps for the routes what is staff's own.
    """
    router = APIRouter(
        prefix="/admin/v1/instances/{instance_id}",
        route_class=StaffRoute,
        dependencies=[Depends(begin_work)],
    )
    for routes in shared:
        routes.add_to(
            router,
            document=lambda status, value, *refused: document(status, value, *refused, 404, 410),
            demand=staff,
        )
    return router


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


async def changed(
    request: Request, response: Response, if_match: str | None, change: Callable[[int, Command], Done[V]]
) -> V:
    """Change something that routing depends on as it was read; this process knows it when it is answered.

    Args:
        change: of the version that was read; blocks.

    Raises:
        IfMatchMissing, IfMatchStale: nobody has read what is to be changed.
    """
    version, command = version_of(if_match), command_of(request)

    def work() -> Done[V]:
        done = change(version, command)
        platform_of(request).directory.follow()
        return done

    value = noted(await to_thread.run_sync(work), response)
    response.headers["ETag"] = etag_of(value.version)
    return value


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

"""What the routes of the admin API have in common."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from anyio import to_thread
from fastapi import Path, Response
from starlette.requests import Request

from app.container import Platform
from app.core.command import Done
from app.core.ids import InstanceId
from app.http.idempotency import REPLAYED
from app.http.schema.example import example, problem
from app.operations.line import InstanceRuntime

T = TypeVar("T")

InstanceKey = Annotated[str, Path(max_length=64, description="Id of an instance.", examples=["ins_019b0a3c"])]


def document(status: int, value: object, *refused: int) -> dict[int | str, dict[str, Any]]:
    """A successful answer, and the refusals every admin route has besides its own."""
    found = example(status, value)
    for each in sorted({*refused, 401, 403, 503}):
        found.update(problem(each))
    return found


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

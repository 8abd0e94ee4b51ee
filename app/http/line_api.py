"""The private API of a line: what control asks it, on a socket in the line's own directory."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.core.clock import Clock
from app.core.errors import DomainError, InputInvalid
from app.core.ids import InstanceId, new_id
from app.http.problem import problem_response
from tenancy.line_status import LineStatus

_BODY_MAX = 1024


class _Drain(msgspec.Struct, forbid_unknown_fields=True):
    within_seconds: float


class LineControl(Protocol):
    """What can be asked of a line."""

    def status(self) -> LineStatus:
        """How it is."""
        ...

    def drain(self, within: timedelta) -> None:
        """Be unready, finish what runs and end; returns at once."""
        ...

    async def settle(self, instance_id: InstanceId) -> bool:
        """Write down what is in memory for an instance; whether no transfer is under way there."""
        ...

    async def forget(self, instance_id: InstanceId) -> None:
        """Serve an instance no longer."""
        ...


def create_line_api(line: LineControl, *, clock: Clock) -> Starlette:
    """The application; whoever may open the line's directory may ask it anything."""

    async def status(_request: Request) -> Response:
        return _answer(line.status())

    async def drain(request: Request) -> Response:
        line.drain(_duration(await _body(request)))
        return _answer({}, status=202)

    async def settle(request: Request) -> Response:
        return _answer({"settled": await line.settle(_instance(request))})

    async def forget(request: Request) -> Response:
        await line.forget(_instance(request))
        return _answer({})

    async def refuse(_request: Request, error: Exception) -> Response:
        return problem_response(error, request_id=new_id("req"), clock=clock)

    return Starlette(
        routes=[
            Route("/v1/status", status, methods=["GET"]),
            Route("/v1/drain", drain, methods=["POST"]),
            Route("/v1/instances/{instance_id}/settle", settle, methods=["POST"]),
            Route("/v1/instances/{instance_id}/forget", forget, methods=["POST"]),
        ],
        exception_handlers={DomainError: refuse, Exception: refuse},
    )


def _answer(value: object, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def _instance(request: Request) -> InstanceId:
    return InstanceId(request.path_params["instance_id"])


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _BODY_MAX:
            raise InputInvalid("The body is too long.", field="body")
    return body


def _duration(body: bytes) -> timedelta:
    try:
        seconds = msgspec.json.decode(body, type=_Drain).within_seconds
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputInvalid('Send {"within_seconds": …}.', field="within_seconds") from error
    if not 0 <= seconds <= 3600:
        raise InputInvalid("An hour at most.", field="within_seconds")
    return timedelta(seconds=seconds)

"""What the routes under `/portal/v1/{instance}` have in common: a customer looks after his own instance.

    policy (network → certificate → Basic) ► an API client with scope admin ► rate ► body ► operation id ► route
        ► RateLimit headers

The portal is control, not a web service: nothing is counted, every edition has it, and a frozen instance, too.
Whoever the instance does not know gets the 404 of an instance that does not exist.

A router says `APIRouter(prefix=PORTAL, route_class=PortalRoute)`; its routes take the `request` alone and ask
`instance_of`, `command_of` and `caller_of` for the rest; `{instance}` in the path is described by `InstanceName`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import Path
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from app.core.command import Command
from app.core.ids import InstanceId
from app.http.call import admit, credentials_of, limit_headers, origin_of
from app.http.idempotency import operation_id_of
from app.http.problem import problem_response
from app.http.request_body import fingerprint, read_body
from app.http.schema.example import documenter
from app.operations.line import InstanceRuntime
from tenancy import Admitted, CallerCredentials
from tenancy.errors import CredentialsMissing

PORTAL: Final = "/portal/v1/{instance}"

InstanceName = Annotated[str, Path(max_length=64, description="Name of an instance.", examples=["acme-ha"])]

document: Final = documenter(401, 403, 404, 422, 429, 503)
"""Describes what a route of the portal answers."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PortalRoute(APIRoute):
    """A route of the portal: for API clients with scope admin. POSTs need an idempotency key."""

    def get_route_handler(self) -> Handler:
        """Put the check before the route."""
        original = super().get_route_handler()
        reads = (self.methods or set()) <= {"GET", "HEAD"}
        operation = str(self.operation_id)

        async def handle(request: Request) -> Response:
            runtime = runtime_of(request)
            admitted = await admit(request, runtime)
            _require_admin(admitted)
            rate = runtime.access.take_token(admitted)
            request.state.admitted = admitted
            try:
                if not reads:
                    request.state.command = await _command(request, admitted, operation=operation)
                response = await original(request)
            except Exception as error:
                response = problem_response(
                    error, request_id=request.scope["wops.request_id"], clock=runtime.clock
                )
            response.headers.update(limit_headers(rate, (), runtime.clock.now()))
            return response

        return handle


def runtime_of(request: Request) -> InstanceRuntime:
    """The instance as its line serves it."""
    runtime: InstanceRuntime = request.scope["wops.instance"]
    return runtime


def instance_of(request: Request) -> InstanceId:
    """The id of the instance that the caller looks after."""
    return runtime_of(request).instance_id


def command_of(request: Request) -> Command:
    """Operation id, fingerprint and origin of a change by a customer."""
    command: Command = request.state.command
    return command


def admitted_of(request: Request) -> Admitted:
    """Who is calling."""
    admitted: Admitted = request.state.admitted
    return admitted


def caller_of(request: Request) -> CallerCredentials:
    """With what the caller came in: a change must not shut that out unless he insists."""
    return credentials_of(request)


async def _command(request: Request, admitted: Admitted, *, operation: str) -> Command:
    body = await read_body(request)
    op_id = operation_id_of(
        request,
        principal=admitted.principal.name,
        operation=operation,
        required=request.method == "POST",
    )
    return Command(
        op_id=op_id,
        fingerprint=fingerprint(request, body),
        origin=origin_of(request, admitted.principal, action=operation),
    )


def _require_admin(admitted: Admitted) -> None:
    if admitted.principal.kind != "client":
        raise CredentialsMissing("The portal is for API clients; a network alone does not open it.")
    admitted.require("admin")

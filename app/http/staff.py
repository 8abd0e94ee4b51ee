"""Who of the staff is calling the admin API: by bearer token, or by being allowed to open the control socket."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import unquote

from anyio import to_thread
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from app.core.command import Command
from app.core.errors import InputInvalid
from app.core.logging import bind
from app.core.origin import Actor, Origin
from app.http.idempotency import operation_id_of
from app.http.request_body import fingerprint, read_body
from tenancy import StaffPrincipal, StaffRole, StaffTokenService
from tenancy.errors import StaffRoleInsufficient, StaffTokenInvalid

LOCAL_OPERATOR: Final = StaffPrincipal(token_id="local", name="control-socket", role="admin")  # noqa: S106 - no token
_BEARER_MAX: Final = 512
_WRITERS: Final[frozenset[StaffRole]] = frozenset({"operator", "admin"})
ADMIN_ONLY: Final = "x-wops-admin-only"
REASON: Final = "Wops-Reason"
"""Header of every change by staff: why. Stands in the audit chain."""
_REASON_MAX: Final = 500

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StaffRoute(APIRoute):
    """A route of the admin API. Support and auditors read; operators change; admins make tokens."""

    def get_route_handler(self) -> Handler:
        """Put the check before the route."""
        original = super().get_route_handler()
        reads = (self.methods or set()) <= {"GET", "HEAD"}
        admin_only = bool((self.openapi_extra or {}).get(ADMIN_ONLY))
        operation = str(self.operation_id)

        async def handle(request: Request) -> Response:
            principal = await _principal_of(request)
            request.scope["wops.principal"] = f"staff:{principal.name}"
            bind(principal=request.scope["wops.principal"])
            _check_role(principal, reads=reads, admin_only=admin_only)
            if not reads:
                body = await read_body(request)
                op_id = operation_id_of(
                    request,
                    principal=principal.token_id,
                    operation=operation,
                    required=request.method == "POST",
                )
                request.state.command = Command(
                    op_id=op_id,
                    fingerprint=fingerprint(request, body),
                    origin=_origin_of(request, principal, action=operation),
                )
            return await original(request)

        return handle


def command_of(request: Request) -> Command:
    """The operation id and fingerprint of a change by staff."""
    command: Command = request.state.command
    return command


def _origin_of(request: Request, principal: StaffPrincipal, *, action: str) -> Origin:
    actor = Actor(kind="staff", actor_id=principal.token_id)
    return Origin(
        actor=actor,
        action=action,
        request_id=request.scope["wops.request_id"],
        reason=_reason_of(request),
    )


def _reason_of(request: Request) -> str:
    """Why, as the caller says in a header; percent-encoded, because headers are ASCII (RFC 8187 §3.2.1)."""
    given = unquote(request.headers.get(REASON, ""))
    if len(given) > _REASON_MAX or not given.isprintable():
        raise InputInvalid(f"{REASON} holds at most {_REASON_MAX} printable characters.", field=REASON)
    return given


async def _principal_of(request: Request) -> StaffPrincipal:
    if request.scope.get("wops.local_operator"):
        return LOCAL_OPERATOR
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > _BEARER_MAX:
        raise StaffTokenInvalid("Send a staff token as Authorization: Bearer.")
    tokens: StaffTokenService = request.app.state.platform.staff_tokens
    return await to_thread.run_sync(tokens.check, token.strip())


def _check_role(principal: StaffPrincipal, *, reads: bool, admin_only: bool) -> None:
    if (admin_only and principal.role != "admin") or (not reads and principal.role not in _WRITERS):
        raise StaffRoleInsufficient(f"The role {principal.role} may not do this.", role=principal.role)

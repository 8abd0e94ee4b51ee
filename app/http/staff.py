"""Who of the staff is calling the admin API: by bearer token, else by being allowed to open the control socket."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Literal
from urllib.parse import unquote

from anyio import BrokenResourceError, to_thread
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.core.command import Command
from app.core.errors import InputInvalid
from app.core.ids import InstanceId
from app.core.logging import bind
from app.core.origin import Actor, Origin
from app.http.idempotency import operation_id_of
from app.http.request_body import fingerprint, read_body
from tenancy import STAFF_ROLES, StaffPrincipal, StaffRole, StaffTokenService
from tenancy.errors import StaffRoleInsufficient, StaffTokenInvalid
from tenancy.staff.record import LOCAL_PERSON, WRITERS
from tenancy.staff.support.service import SupportService

LOCAL_OPERATOR: Final = StaffPrincipal(token_id=LOCAL_PERSON, role="admin", person_id=LOCAL_PERSON)
_BEARER_MAX: Final = 512
NEEDS: Final = "x-wops-staff"
"""What a route of the admin API demands of its caller; stands in the API's description."""
REASON: Final = "Wops-Reason"
"""Header of every change by staff: why. Stands in the audit chain."""
REASON_MAX: Final = 500
"""Characters, once decoded."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

StaffNeed = Literal["read", "audit", "change", "admin", "look", "act", "ask"]
"""What a route does, and so who may call it:

    read    shows the fleet                                    everybody
    audit   shows what anybody has done, anywhere              auditor, operator, admin
    change  changes the fleet                                  operator, admin
    admin   gives rights to staff                              admin
    look    shows a customer's own data, path `{instance_id}`  everybody; support while the customer lets them look
    act     changes a customer's own data, likewise            operator, admin; support while the customer lets them act
            (never who gets in: with that, support could let itself in for ever, so it is `change`)
    ask     asks a customer for support access                 support, admin
"""

_ALL: Final = frozenset(STAFF_ROLES)
_ROLES: Final[Mapping[StaffNeed, frozenset[StaffRole]]] = {
    "read": _ALL,
    "audit": _ALL - {"support"},
    "change": WRITERS,
    "admin": frozenset({"admin"}),
    "look": _ALL,
    "act": WRITERS | {"support"},
    "ask": frozenset({"support", "admin"}),
}


def staff(need: StaffNeed) -> dict[str, Any]:
    """What a route of the admin API demands, for FastAPI's `openapi_extra`."""
    return {NEEDS: need}


class StaffRoute(APIRoute):
    """A route of the admin API; what it demands stands in its `openapi_extra`, see `staff`."""

    def get_route_handler(self) -> Handler:
        """Put the check before the route."""
        original = super().get_route_handler()
        reads = (self.methods or set()) <= {"GET", "HEAD"}
        need = _need_of(self)
        operation = str(self.operation_id)

        async def handle(request: Request) -> Response:
            principal = await _principal_of(request)
            request.state.staff = principal
            request.scope["wops.principal"] = f"staff:{principal.token_id}"
            bind(principal=request.scope["wops.principal"])
            _check_role(principal, need)
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
            if principal.role == "support" and need in ("look", "act"):
                await _note_support(request, principal, need=need, action=operation)
            return await original(request)

        return handle


class StreamRoute(StaffRoute):
    """A route whose answer may be a stream that its reader leaves at any moment."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; that nobody reads on is no error."""
        try:
            await super().handle(scope, receive, send)
        except* BrokenResourceError:
            # FastAPI's sender finds the stream closed if the reader hangs up while it has something to send.
            pass


def _need_of(route: APIRoute) -> StaffNeed:
    """What a route declares; one that has forgotten to is for admins alone until a test finds it."""
    declared: StaffNeed | None = (route.openapi_extra or {}).get(NEEDS)
    return declared or "admin"


def command_of(request: Request) -> Command:
    """The operation id and fingerprint of a change by staff."""
    command: Command = request.state.command
    return command


def staff_of(request: Request) -> StaffPrincipal:
    """Who of the staff is calling."""
    principal: StaffPrincipal = request.state.staff
    return principal


def _origin_of(request: Request, principal: StaffPrincipal, *, action: str) -> Origin:
    actor = Actor(
        kind="staff",
        actor_id=principal.token_id,
        person=principal.person_id,
        sealed_name=principal.sealed_name,
    )
    return Origin(
        actor=actor,
        action=action,
        request_id=request.scope["wops.request_id"],
        reason=_reason_of(request),
    )


def _reason_of(request: Request) -> str:
    """Why, as the caller says in a header; percent-encoded, because headers are ASCII (RFC 8187 §3.2.1)."""
    given = unquote(request.headers.get(REASON, ""))
    if len(given) > REASON_MAX or not given.isprintable():
        raise InputInvalid(f"{REASON} holds at most {REASON_MAX} printable characters.", field=REASON)
    return given


async def _principal_of(request: Request) -> StaffPrincipal:
    given = request.headers.get("authorization")
    if given is None and request.scope.get("wops.local_operator"):
        # Whoever shows a token wants to be its owner, on the control socket, too: a second person may sit there.
        return LOCAL_OPERATOR
    scheme, _, token = (given or "").partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > _BEARER_MAX:
        raise StaffTokenInvalid("Send a staff token as Authorization: Bearer.")
    tokens: StaffTokenService = request.app.state.platform.staff_tokens
    return await to_thread.run_sync(tokens.check, token.strip())


def _check_role(principal: StaffPrincipal, need: StaffNeed) -> None:
    if principal.role not in _ROLES[need]:
        raise StaffRoleInsufficient(f"The role {principal.role} may not do this.", role=principal.role)


async def _note_support(request: Request, principal: StaffPrincipal, *, need: StaffNeed, action: str) -> None:
    """Let support into an instance if its customer does, and write down that they have been there."""
    support: SupportService = request.app.state.platform.support
    await to_thread.run_sync(
        lambda: support.use_access(
            InstanceId(request.path_params["instance_id"]),
            scope="write" if need == "act" else "read",
            by=principal,
            origin=_origin_of(request, principal, action=action),
        )
    )

"""One web-service call: who it is, whether it may, and how it is counted.

    network → certificate → Basic → frozen → scope → edition → rate → body → quota → the route
            → counted or given back → answer

Reads take a right from the line's stock before they are served. Writes are counted in the transaction of
their own effect; a write that was processed but refused (404, 409, 412) is counted like a read, and so is a
transfer, whose answer is known only when a box has done its work. Malformed requests, repeats that change
nothing, our own 5xx and 429 are not counted. **Source:** "Decisions" in the domain reference; which 4xx count
as processed is our own decision.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Final, cast

from anyio import to_thread
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from app.core.command import Command
from app.core.db import Tx
from app.core.errors import OperationInProgress
from app.core.logging import bind
from app.core.origin import Actor, Origin
from app.http.front_header import FRONT_WORD, FrontWord
from app.http.idempotency import REPLAYED, operation_id_of
from app.http.inner_door import PROBING
from app.http.problem import problem_response
from app.http.request_body import fingerprint, read_body
from app.operations.line import InstanceRuntime
from editions import (
    CallPermit,
    EditionsError,
    QuotaState,
    WebServiceCall,
    count_call,
    rate_limit_headers,
)
from tenancy import Address, Admitted, BasicCredentials, CallerCredentials, Principal, Scope
from tenancy.access.rate import RateState, limit_field, policy_field
from tenancy.access.revocation.verification import Verification

PROCESSED: Final = frozenset({404, 409, 412})
"""Refusals that a service has worked out; together with every answer below 400 they count."""
SCOPE: Final = "x-wops-scope"
NEEDS_KEY: Final = "x-wops-idempotency-key-required"
_BASIC_MAX: Final = 512
_UNKNOWN_PEER: Final = ipaddress.IPv6Address("::")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Call:
    """An admitted call of an instance's web services."""

    def __init__(
        self,
        request: Request,
        runtime: InstanceRuntime,
        admitted: Admitted,
        *,
        operation: str,
        command: Command | None,
        rate: RateState,
    ) -> None:
        self.runtime = runtime
        self._rate = rate
        self.principal = admitted.principal.name
        self._request = request
        self._operation = operation
        self._permit: CallPermit | None = None
        self._charged: QuotaState | None = None
        self._replayed = False
        self._is_attempt = False
        self._quotas: list[QuotaState] = []
        self._command = None if command is None else replace(command, charge=self._charge)

    @property
    def command(self) -> Command:
        """Under which a change is carried out, counted in the transaction of its effect."""
        if self._command is None:
            raise RuntimeError("a read carries nothing out")
        return self._command

    async def command_by_answer(self) -> Command:
        """As `command`, for a change that may still fail after its first transaction: it is counted by its answer.

        A repeat needs no right: a missing one refuses only what is new.
        """
        try:
            await self.begin_read()
        except EditionsError as error:
            return replace(self.command, charge=partial(_refuse, error))
        return replace(self.command, charge=_count_later)

    async def begin_read(self) -> None:
        """Take a right for a call that changes nothing.

        Raises:
            QuotaExceeded, EditionFeatureUnavailable, NoContractInForce: no right is left, or there are none.
        """
        calls = self.runtime.calls
        self._permit = calls.try_begin() or await to_thread.run_sync(calls.begin)

    def mark_replayed(self) -> None:
        """The request had been carried out before: it is not counted, and the answer says so."""
        self._replayed = True

    def mark_attempt(self) -> None:
        """Another attempt of the same request is under way: that one is counted."""
        self._is_attempt = True

    def show_quota(self, state: QuotaState) -> None:
        """Show a further quota in the answer's RateLimit headers."""
        self._quotas.append(state)

    async def end(self, response: Response) -> Response:
        """Count the call by its answer and show the quota.

        Raises:
            QuotaExceeded: a refused write found no right left to be counted with.
        """
        if self._replayed:
            response.headers[REPLAYED] = "true"
        if self._charged is None:
            await self._settle(response.status_code)
        state = self._charged or self.runtime.calls.state
        shown = [*self._quotas, *([state] if state is not None else [])]
        response.headers.update(limit_headers(self._rate, shown, self.runtime.clock.now()))
        return response

    async def _settle(self, status: int) -> None:
        counts = not (self._replayed or self._is_attempt) and (status < 400 or status in PROCESSED)
        if not counts:
            if self._permit is not None:
                self._permit.give_back()
            return
        if self._permit is None:
            try:
                await self.begin_read()
            except EditionsError:
                if status < 400:
                    # A receipt is never refused for a quota; without a right left it stays uncounted: overshoot is 0.
                    return
                raise
        if self._permit is not None:
            self._permit.count(self._call(status))

    def _charge(self, tx: Tx) -> None:
        self._charged = count_call(tx, self._call(201))

    def _call(self, status: int) -> WebServiceCall:
        return WebServiceCall(
            operation=self._operation,
            principal=self.principal,
            request_id=self._request.scope["wops.request_id"],
            answered_at=self.runtime.clock.now(),
            status=status,
        )


def limit_headers(rate: RateState, quotas: Sequence[QuotaState], now: datetime) -> dict[str, str]:
    """RateLimit header fields: how fast the client may call, and beside it what is left of its quotas."""
    fields = {"RateLimit-Policy": policy_field(rate.rate), "RateLimit": limit_field(rate)}
    for name, value in rate_limit_headers(quotas, now):
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _refuse(error: EditionsError, _tx: Tx) -> None:
    raise error


def _count_later(_tx: Tx) -> None:
    """A right has been taken; the answer decides what becomes of it."""


class WebServiceRoute(APIRoute):
    """A route of an instance's web services: authenticated, scoped, metered. Nothing is served without."""

    def get_route_handler(self) -> Handler:
        """Put admission before the route and counting after it."""
        original = super().get_route_handler()
        extra: Mapping[str, Any] = self.openapi_extra or {}
        scope = cast(Scope, extra[SCOPE])
        operation = str(self.operation_id)
        reads = (self.methods or set()) <= {"GET", "HEAD"}
        key_required = bool(extra.get(NEEDS_KEY))

        async def handle(request: Request) -> Response:
            runtime: InstanceRuntime = request.scope["wops.instance"]
            admitted = await admit(request, runtime)
            await check_open(runtime)
            admitted.require(scope)
            await check_edition(runtime)
            rate = runtime.access.take_token(admitted)
            command = None
            if not reads:
                body, principal = await read_body(request), admitted.principal.name
                op_id = operation_id_of(
                    request, principal=principal, operation=operation, required=key_required
                )
                command = Command(
                    op_id=op_id,
                    fingerprint=fingerprint(request, body),
                    origin=origin_of(request, admitted.principal, action=operation),
                )
            call = Call(request, runtime, admitted, operation=operation, command=command, rate=rate)
            request.state.call = call
            if reads:
                await call.begin_read()
            try:
                response = await original(request)
            except Exception as error:
                if isinstance(error, OperationInProgress):
                    call.mark_attempt()
                response = problem_response(
                    error, request_id=request.scope["wops.request_id"], clock=runtime.clock
                )
            return await call.end(response)

        return handle


class PlainRoute(APIRoute):
    """A route of an instance that is no web service: not frozen, bounded body of the right type, nothing else."""

    def get_route_handler(self) -> Handler:
        """Read the body before the route does."""
        original = super().get_route_handler()
        reads = (self.methods or set()) <= {"GET", "HEAD"}

        async def handle(request: Request) -> Response:
            await check_open(request.scope["wops.instance"])
            request.state.body = b"" if reads else await read_body(request)
            return await original(request)

        return handle


async def admit(request: Request, runtime: InstanceRuntime) -> Admitted:
    """Let a caller in by the instance's access policy.

    Raises:
        AccessDenied, TooManyFailures, InstanceNotFound: see `tenancy.AccessCache.check`.
    """
    peer, basic, certificate = peer_of(request), basic_of(request), certificate_of(request)
    verification = verification_of(request)
    counted = PROBING not in request.scope
    admitted = None
    if counted:
        admitted = runtime.access.check_held(
            peer=peer, basic=basic, certificate=certificate, verification=verification
        )
    if admitted is None:
        admitted = await to_thread.run_sync(
            lambda: runtime.access.check(
                peer=peer, basic=basic, certificate=certificate, verification=verification, counted=counted
            )
        )
    request.scope["wops.principal"] = admitted.principal.name
    bind(principal=admitted.principal.name)
    return admitted


async def check_open(runtime: InstanceRuntime) -> None:
    """Refuse everybody while an instance is frozen, at every line a second after it was at the latest.

    Raises:
        InstanceFrozen: it is.
        InstanceNotReady: it has not been configured yet.
    """
    held = runtime.access.held_profile()
    if held is None or held.frozen:
        await to_thread.run_sync(runtime.require_open)


async def check_edition(runtime: InstanceRuntime) -> None:
    """Refuse editions without web services, after a look at the contracts themselves.

    Raises:
        EditionFeatureUnavailable: the edition in force has none.
    """
    if runtime.access.held_web_services():
        return
    await to_thread.run_sync(runtime.require_web_services)


def origin_of(request: Request, principal: Principal, *, action: str) -> Origin:
    """Who asks for a change of an instance, for its audit chain."""
    actor = Actor(kind=principal.kind, actor_id=principal.client_id or principal.name)
    return Origin(actor=actor, action=action, request_id=request.scope["wops.request_id"])


def call_of(request: Request) -> Call:
    """The call that a web-service route is serving."""
    return cast(Call, request.state.call)


def credentials_of(request: Request) -> CallerCredentials:
    """Everything by which a call may be let in."""
    return CallerCredentials(
        peer=peer_of(request),
        basic=basic_of(request),
        certificate=certificate_of(request),
        verification=verification_of(request),
    )


def certificate_of(request: Request) -> bytes | None:
    """The caller's client certificate (DER), if the trusted front named one."""
    front: FrontWord | None = request.scope.get(FRONT_WORD)
    return None if front is None else front.certificate


def verification_of(request: Request) -> Verification:
    """What the trusted front found when it checked the certificate."""
    front: FrontWord | None = request.scope.get(FRONT_WORD)
    return "good" if front is None else front.verification


def peer_of(request: Request) -> Address:
    """The caller's address as the front or this server saw it; headers that callers can set are never believed."""
    front: FrontWord | None = request.scope.get(FRONT_WORD)
    if front is not None:
        return front.peer
    client = request.client
    return _UNKNOWN_PEER if client is None else _address_of(client.host)


@lru_cache(maxsize=1024)
def _address_of(host: str) -> Address:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return _UNKNOWN_PEER


def basic_of(request: Request) -> BasicCredentials | None:
    """User name and secret of an `Authorization: Basic` header; None if there is none that could be read."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or len(value) > _BASIC_MAX:
        return None
    try:
        user, colon, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, secret) if colon else None


def needs(scope: Scope, *, key: bool = False) -> dict[str, Any]:
    """What a web-service route demands, for FastAPI's `openapi_extra`: a scope, and maybe an idempotency key."""
    return {SCOPE: scope, **({NEEDS_KEY: True} if key else {})}

"""Every refusal and every failure as one kind of answer: RFC 9457 problem+json with a stable `code`.

    DomainError ─────────────┐
    RequestValidationError ──┼─► case (what may be told) ─► members and headers ─► ProblemResponse
    HTTPException ───────────┤
    anything else ───────────┘   told as internal_error; its own words go to the log only

**Source:** RFC 9457; members of our own, headers and the type of a used-up quota: peers reference §3.3 and §3.9.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match

from app.core.clock import Clock, SystemClock
from app.core.errors import DomainError
from app.core.json import JsonObject, JsonValue, dump_json
from app.http.problem_catalog import INTERNAL_ERROR, PROBLEM_BY_CODE, problem_kind_of
from app.http.problem_catalog_field import field_problems
from app.http.problem_catalog_kind import ProblemKind
from editions import QuotaExceeded, rate_limit_headers
from editions.header import POLICY_NAMES
from fsb_gateway.carrier.exchange import GatewayAway
from tenancy.access.rate import RateLimited, limit_field, policy_field

_log = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
QUOTA_TYPE: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REQUEST_ID_KEY: Final = "wops.request_id"
"""Where the outermost layer leaves the request's id in the scope."""

_BASIC: Final = 'Basic realm="wops", charset="UTF-8"'
_CHALLENGES: Final[Mapping[str, str]] = {
    "credentials_missing": _BASIC,
    "credentials_invalid": _BASIC,
    "staff_token_invalid": 'Bearer realm="wops"',
}
_HTTP_CODES: Final[Mapping[int, str]] = {
    404: "route_not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "media_type_unsupported",
}
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_CLOSING: Final = frozenset({"request_too_slow"})
"""Whoever gets one of these still sends, and the connection would be kept for him. **Source:** RFC 9110 §15.5.9."""
_KEPT_HEADERS: Final = frozenset({"allow", "retry-after", "www-authenticate"})
_SYSTEM_CLOCK: Final = SystemClock()


class ProblemResponse(JSONResponse):
    """A problem as it is sent."""

    media_type = PROBLEM_MEDIA_TYPE

    def render(self, content: object) -> bytes:
        """Encode it; half a surrogate pair in a text must not turn a refusal into a failure."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One occurrence: what may be told about it.

    Attributes:
        status: the kind's own, except for rare refusals of the framework.
        context: facts of the error.
        members: further members at the top level.
    """

    kind: ProblemKind
    status: int
    detail: str
    retry_after_s: int | None = None
    context: JsonObject = field(default_factory=dict)
    members: JsonObject = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_response(
    error: Exception, *, request_id: str, clock: Clock = _SYSTEM_CLOCK, for_staff: bool = False
) -> ProblemResponse:
    """The answer to a request that ended with an error. What we broke is logged with its traceback.

    Args:
        error: why it ended.
        request_id: the request's id; empty if it has none.
        clock: tells how long a quota's month still lasts.
        for_staff: it may name machines and files of the platform.
    """
    case = _case_of(error, clock.now())
    if isinstance(error, GatewayAway) and not for_staff:
        case = _general_case(case.kind)
    if case.kind.is_ours:
        code = error.code if isinstance(error, DomainError) else case.kind.code
        _log.error("request failed", exc_info=error, extra={"request_id": request_id, "code": code})
    return ProblemResponse(_members(case, request_id), status_code=case.status, headers=_headers(case))


def register_problem_handlers(app: FastAPI, *, clock: Clock = _SYSTEM_CLOCK, for_staff: bool = False) -> None:
    """Let an application answer every error with a problem.

    What nobody foresaw is answered by Starlette's outermost layer, which raises it again afterwards: a server
    around the application logs it a second time.
    """

    async def answer(request: Request, error: Exception) -> ProblemResponse:
        request_id = str(request.scope.get(REQUEST_ID_KEY, ""))
        if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            error = HTTPException(error.status_code, headers={"Allow": _allowed_methods(request)})
        return problem_response(error, request_id=request_id, clock=clock, for_staff=for_staff)

    for caught in (DomainError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(caught, answer)


def _allowed_methods(request: Request) -> str:
    """The methods of all routes of a path. Starlette names those of the first route only (RFC 9110 §10.2.1)."""
    found = [
        method
        for method in _METHODS
        for route in request.app.router.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    ]
    return ", ".join(dict.fromkeys(found))


def _members(case: _Case, request_id: str) -> JsonObject:
    kind = case.kind
    problem: JsonObject = {
        "type": QUOTA_TYPE if kind.code == QuotaExceeded.code else f"/problems/{kind.slug}",
        "title": kind.title_en,
        "status": case.status,
        "detail": case.detail,
        "code": kind.code,
        "retryable": kind.retryable,
        "hotline_text": {"de": kind.hotline_de, "en": kind.hotline_en},
        **case.members,
    }
    if request_id:
        problem["instance"] = f"urn:wops:request:{quote(request_id, safe='', errors='replace')}"
    if case.retry_after_s is not None:
        problem["retry_after_s"] = case.retry_after_s
    if case.context:
        problem["context"] = case.context
    return problem


def _headers(case: _Case) -> dict[str, str]:
    headers = {"Cache-Control": "no-store", **case.headers}
    if case.retry_after_s is not None:
        headers["Retry-After"] = str(case.retry_after_s)
    if case.kind.code in _CLOSING:
        headers["Connection"] = "close"
    if case.kind.code in _CHALLENGES:
        headers["WWW-Authenticate"] = _CHALLENGES[case.kind.code]
    return headers


def _case_of(error: Exception, now: datetime) -> _Case:
    if isinstance(error, DomainError):
        return _domain_case(error, now)
    if isinstance(error, RequestValidationError):
        return _validation_case(error)
    if isinstance(error, HTTPException):
        return _http_case(error)
    return _general_case(INTERNAL_ERROR)


def _general_case(kind: ProblemKind) -> _Case:
    """A case of which nothing but its kind is told."""
    return _Case(kind=kind, status=kind.status, detail=kind.hotline_en, retry_after_s=kind.retry_after_s)


def _domain_case(error: DomainError, now: datetime) -> _Case:
    kind = problem_kind_of(error)
    if kind.is_ours:
        return _general_case(kind)
    members, headers = _limit_parts(error, now)
    return _Case(
        kind=kind,
        status=kind.status,
        detail=error.message,
        retry_after_s=_pause(error, kind, now),
        context={name: value for name, value in error.detail.items() if _is_json(name, value)},
        members=members,
        headers=headers,
    )


def _limit_parts(error: DomainError, now: datetime) -> tuple[JsonObject, dict[str, str]]:
    """Members and headers that only a used-up quota and a rate have."""
    if isinstance(error, QuotaExceeded):
        quota = dict(rate_limit_headers([error.state], now))
        return {"violated-policies": [POLICY_NAMES[error.state.meter]]}, quota
    if isinstance(error, RateLimited):
        rate = {"RateLimit-Policy": policy_field(error.state.rate), "RateLimit": limit_field(error.state)}
        return {"violated-policies": ["burst"]}, rate
    return {}, {}


def _pause(error: DomainError, kind: ProblemKind, now: datetime) -> int | None:
    """Seconds to wait: what the error itself knows, or else the kind's."""
    if isinstance(error, QuotaExceeded):
        return max(1, error.state.month.seconds_to_end(now))
    wait = error.detail.get("expected_wait_seconds")
    if kind.retryable and isinstance(wait, (int, float)) and math.isfinite(wait):
        return max(1, math.ceil(wait))
    return kind.retry_after_s


def _is_json(name: str, value: JsonValue) -> bool:
    try:
        dump_json({name: value})
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _validation_case(error: RequestValidationError) -> _Case:
    found = error.errors()
    for each in found:
        if each.get("type") == "json_invalid":
            return _json_case(each.get("loc"))
    kind = PROBLEM_BY_CODE["request_invalid"]
    problems = field_problems(found)
    count = "One field of the request is" if len(problems) == 1 else "Several fields of the request are"
    return _Case(
        kind=kind,
        status=kind.status,
        detail=f"{count} wrong; see `errors`.",
        members={"errors": problems},
    )


def _json_case(location: object) -> _Case:
    """Unreadable JSON; `position` counts characters from 0 to where reading stopped."""
    case = _general_case(PROBLEM_BY_CODE["json_malformed"])
    match location:
        case ("body", int(position)):
            return replace(case, context={"position": position})
    return case


def _http_case(error: HTTPException) -> _Case:
    if error.status_code >= 500:
        return _general_case(INTERNAL_ERROR)
    # FastAPI says 400 for JSON that is no Unicode, is nested too deeply or holds too long a number.
    if error.status_code == 400 and isinstance(error.__cause__, (ValueError, RecursionError)):
        return _general_case(PROBLEM_BY_CODE["json_malformed"])
    code = _HTTP_CODES.get(error.status_code)
    kind = PROBLEM_BY_CODE[code or "request_refused"]
    kept = {name: value for name, value in (error.headers or {}).items() if name.lower() in _KEPT_HEADERS}
    return _Case(kind=kind, status=error.status_code, detail=kind.hotline_en, headers=kept)

"""The gateway's HTTP interface: a plain ASGI application, because what it adds is added to every activation.

    POST /v1/jobs?wait=seconds                       200 result · 202 where the job stands
    GET|DELETE /v1/jobs/{id}                         the same (with wait) · cancel
    GET  /v1/instances/{id}/queue                    where an instance stands; ?pool=NAME says where it sends its jobs
    GET  /v1/pools  /v1/boxes  /v1/firm-keys  /v1/root
    PUT|DELETE /v1/boxes/{name}                      a specification (`wire.encode_spec`)
    PUT|DELETE /v1/instances/{id}/firm-keys/{code}   {pool, algorithm}
    PUT|DELETE /v1/boxes/{name}/firm-keys/{code}     copy, drop
    POST /v1/firm-keys/{code}/rotation               {key_id}
    POST /v1/firm-keys/{code}/retirement
    GET  /livez  /readyz  /metrics

Lines are served a part of it: jobs, queues, the root and the first two of the last line. Whoever may connect is told
apart by the address at which he does. Refusals are application/problem+json with a stable `code`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qs

import msgspec

from app.core.errors import DomainError
from fsb_gateway.error import (
    BoxBusy,
    BoxLast,
    BoxQueueFull,
    BoxSpecInvalid,
    BoxUnknown,
    FileFormatError,
    FirmCodeNotOwned,
    FirmKeyConflict,
    FirmKeyMissing,
    FirmKeyUnfit,
    FsbError,
    FsbUnavailable,
    JobCancelled,
    JobDeadlinePassed,
    JobIdReused,
    JobMalformed,
    JobRunning,
    JobUnknown,
    PoolDrained,
    PoolForeign,
    PoolUnknown,
    TokenTaken,
    UpdateTooLarge,
)
from fsb_gateway.gateway.gateway import Gateway
from fsb_gateway.job import Algorithm, JobPending, ProgrammingResult
from fsb_gateway.wire import decode_job, decode_spec, encode_pending, encode_result

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer = tuple[int, bytes, bytes]
Surface = Literal["control", "lines"]
T = TypeVar("T")

BODY_LIMIT = 1024 * 1024
# A caller that wants to wait longer asks again; proxies cut connections that are silent for a minute.
WAIT_LIMIT_SECONDS = 50.0

_JSON = b"application/json"
_PROBLEM = b"application/problem+json"
_PEM = b"application/x-pem-file"
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"
_STATUS: dict[type[DomainError], int] = {
    JobMalformed: 422,
    BoxSpecInvalid: 422,
    FirmKeyUnfit: 422,
    UpdateTooLarge: 422,
    FileFormatError: 422,
    JobIdReused: 409,
    JobDeadlinePassed: 409,
    JobCancelled: 409,
    JobRunning: 409,
    PoolDrained: 409,
    FirmKeyMissing: 409,
    FirmKeyConflict: 409,
    BoxBusy: 409,
    BoxLast: 409,
    TokenTaken: 409,
    FirmCodeNotOwned: 403,
    PoolForeign: 403,
    PoolUnknown: 404,
    BoxUnknown: 404,
    JobUnknown: 404,
    BoxQueueFull: 429,
    FsbUnavailable: 503,
}
_WAIT_QUERY = b"wait="
_NOTHING_HERE = "there is nothing at this path for this method"


class _FirmKeyBody(msgspec.Struct, forbid_unknown_fields=True):
    pool: str
    algorithm: Algorithm = "ES256"


class _RotationBody(msgspec.Struct, forbid_unknown_fields=True):
    key_id: str


class RequestRefused(FsbError):
    """The HTTP request itself cannot be served: unknown path, wrong method, body too large."""

    code = "request_refused"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def create_gateway_app(gateway: Gateway, *, surface: Surface = "control") -> App:
    """Make the ASGI application of a gateway; its lifespan closes the gateway.

    Args:
        surface: `lines` may only send, find and cancel jobs, and see where an instance stands.
    """
    route = _route_control if surface == "control" else _route_line

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            status, content_type, body = await _answer(route, gateway, scope, receive)
            await _send(send, status, content_type, body)
        elif scope["type"] == "lifespan":
            await _live(gateway, receive, send)

    return app


Route = Callable[[Gateway, Scope, Receive], Awaitable[Answer]]


async def _answer(route: Route, gateway: Gateway, scope: Scope, receive: Receive) -> Answer:
    try:
        return await route(gateway, scope, receive)
    except FsbError as error:
        return _problem(error)
    except Exception:
        _log.exception("request failed: %s %s", scope["method"], scope["path"])
        return _problem(FsbUnavailable("the gateway failed; send the same job again"))


async def _route_line(gateway: Gateway, scope: Scope, receive: Receive) -> Answer:
    """What lines may ask."""
    match scope["method"], _segments(scope):
        case "POST", ["v1", "jobs"]:
            job = decode_job(await _read_body(scope, receive))
            return _job_answer(await gateway.program(job, wait=_wait(scope)))
        case "GET", ["v1", "jobs", job_id]:
            return _job_answer(await gateway.find(job_id, wait=_wait(scope)))
        case "DELETE", ["v1", "jobs", job_id]:
            await gateway.cancel(job_id)
            return _json(200, {})
        case "GET", ["v1", "instances", instance_id, "queue"]:
            return _json(200, gateway.queue(instance_id, pool=_pool(scope)))
        case "GET", ["v1", "root"]:
            return 200, _PEM, (await gateway.root_certificate()).encode()
        case "GET", ["livez"]:
            return _json(200, {"live": True})
        case "GET", ["readyz"]:
            return _json(200 if gateway.ready() else 503, {"ready": gateway.ready()})
    raise RequestRefused(404, _NOTHING_HERE)


async def _route_control(gateway: Gateway, scope: Scope, receive: Receive) -> Answer:
    """Everything."""
    match scope["method"], _segments(scope):
        case "GET", ["v1", "pools"]:
            return _json(200, {"pools": gateway.pools()})
        case "GET", ["v1", "boxes"]:
            return _json(200, {"boxes": gateway.boxes()})
        case "GET", ["metrics"]:
            # Not loaded before somebody asks: it takes longer than all the rest of this package.
            from fsb_gateway.gateway.metric import write_metrics  # noqa: PLC0415

            return 200, _METRICS, write_metrics(gateway)
        case "PUT", ["v1", "boxes", name]:
            spec = decode_spec(await _read_body(scope, receive), name=name)
            return _json(200, await gateway.ensure_box(spec))
        case "DELETE", ["v1", "boxes", name]:
            await gateway.remove_box(name)
            return _json(200, {})
        case _, ["v1", *rest] if "firm-keys" in rest:
            return await _route_firm_key(gateway, scope, receive)
    return await _route_line(gateway, scope, receive)


async def _route_firm_key(gateway: Gateway, scope: Scope, receive: Receive) -> Answer:
    match scope["method"], _segments(scope)[1:]:
        case "GET", ["firm-keys"]:
            return _json(200, {"firm_keys": await gateway.firm_keys()})
        case "PUT", ["instances", instance_id, "firm-keys", firm_code]:
            wanted = _decode(await _read_body(scope, receive), _FirmKeyBody)
            number = _firm_code(firm_code)
            key = gateway.ensure_firm_key(instance_id, number, pool=wanted.pool, algorithm=wanted.algorithm)
            return _json(200, await key)
        case "DELETE", ["instances", instance_id, "firm-keys", firm_code]:
            await gateway.remove_firm_key(instance_id, _firm_code(firm_code))
            return _json(200, {})
        case "PUT", ["boxes", name, "firm-keys", firm_code]:
            return _json(200, await gateway.copy_firm_key(_firm_code(firm_code), to=name))
        case "DELETE", ["boxes", name, "firm-keys", firm_code]:
            await gateway.drop_firm_key(_firm_code(firm_code), box=name)
            return _json(200, {})
        case "POST", ["firm-keys", firm_code, "rotation"]:
            body = _decode(await _read_body(scope, receive), _RotationBody)
            return _json(200, await gateway.rotate_firm_key(_firm_code(firm_code), key_id=body.key_id))
        case "POST", ["firm-keys", firm_code, "retirement"]:
            return _json(200, await gateway.retire_firm_key(_firm_code(firm_code)))
    raise RequestRefused(404, _NOTHING_HERE)


def _segments(scope: Scope) -> list[str]:
    path: str = scope["path"]
    return path.strip("/").split("/")


def _firm_code(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len("4294967295")):
        raise JobMalformed("the firm code is not a number", field="firm_code")
    return int(text)


def _job_answer(outcome: ProgrammingResult | JobPending) -> Answer:
    if isinstance(outcome, ProgrammingResult):
        return 200, _JSON, encode_result(outcome)
    return 202, _JSON, encode_pending(outcome)


def _wait(scope: Scope) -> timedelta:
    query: bytes = scope["query_string"]
    if not query:
        return timedelta(0)
    is_alone = query.startswith(_WAIT_QUERY) and b"&" not in query
    text = query[len(_WAIT_QUERY) :] if is_alone else _find_wait(query)
    try:
        seconds = float(text)
    except ValueError as error:
        raise JobMalformed("wait is not a number of seconds", field="wait") from error
    return timedelta(seconds=min(max(seconds, 0.0), WAIT_LIMIT_SECONDS) if seconds == seconds else 0.0)


def _pool(scope: Scope) -> str | None:
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("pool", [None])[-1] if query else None


def _find_wait(query: bytes) -> str:
    """Among other parameters; the client sends this one alone, which needs no parser."""
    return parse_qs(query.decode("latin-1")).get("wait", ["0"])[-1]


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestRefused(400, "the request ended before its body")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > BODY_LIMIT:
            raise RequestRefused(413, f"the body is larger than {BODY_LIMIT} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _decode(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise JobMalformed(f"the body cannot be read: {error}") from error


def _json(status: int, value: object) -> Answer:
    return status, _JSON, msgspec.json.encode(value)


def _problem(error: FsbError) -> Answer:
    status = error.status if isinstance(error, RequestRefused) else problem_status(type(error))
    body = {"title": error.message, "status": status, "code": error.code, "detail": error.detail}
    return status, _PROBLEM, msgspec.json.encode(body)


def problem_status(kind: type[FsbError]) -> int:
    """The HTTP status of a kind of error: its own or that of its nearest ancestor; 500 for what we broke."""
    return next((_STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in _STATUS), 500)


async def _send(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(gateway: Gateway, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await gateway.close()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

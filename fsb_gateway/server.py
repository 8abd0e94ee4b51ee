"""The gateway's HTTP interface: a plain ASGI application, because what it adds is added to every activation.

    POST /v1/jobs?wait=seconds     200 result · 202 where the job stands
    GET  /v1/jobs/{id}?wait=…      the same
    GET  /v1/pools  /v1/boxes  /v1/root
    PUT  /v1/boxes/{name}          {pool, driver, operation_time_seconds}
    DELETE /v1/boxes/{name}
    PUT  /v1/instances/{id}/firm-keys/{firm_code}      {pool, algorithm}
    DELETE /v1/instances/{id}/firm-keys/{firm_code}
    GET  /livez  /readyz

Refusals are application/problem+json with a stable `code`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from app.core.errors import DomainError
from fsb_gateway.box_driver import BoxSpec, DriverName
from fsb_gateway.box_worker import BoxStatus
from fsb_gateway.error import (
    BoxBusy,
    BoxQueueFull,
    BoxSpecInvalid,
    BoxUnknown,
    FileFormatError,
    FirmCodeNotOwned,
    FirmKeyConflict,
    FirmKeyMissing,
    FsbError,
    FsbUnavailable,
    JobDeadlinePassed,
    JobIdReused,
    JobMalformed,
    JobUnknown,
    PoolUnknown,
)
from fsb_gateway.gateway import FirmKeyStatus, Gateway
from fsb_gateway.job import Algorithm, JobPending, ProgrammingResult
from fsb_gateway.pool import PoolStatus
from fsb_gateway.wire import decode_job, encode_result

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer = tuple[int, bytes, bytes]
T = TypeVar("T")

BODY_LIMIT = 1024 * 1024
# A caller that wants to wait longer asks again; proxies cut connections that are silent for a minute.
WAIT_LIMIT_SECONDS = 50.0

_JSON = b"application/json"
_PROBLEM = b"application/problem+json"
_PEM = b"application/x-pem-file"
_STATUS: dict[type[DomainError], int] = {
    JobMalformed: 422,
    BoxSpecInvalid: 422,
    FileFormatError: 422,
    JobIdReused: 409,
    JobDeadlinePassed: 409,
    FirmKeyMissing: 409,
    BoxBusy: 409,
    FirmKeyConflict: 409,
    FirmCodeNotOwned: 403,
    PoolUnknown: 404,
    BoxUnknown: 404,
    JobUnknown: 404,
    BoxQueueFull: 429,
    FsbUnavailable: 503,
}


class _BoxBody(msgspec.Struct, forbid_unknown_fields=True):
    pool: str
    driver: DriverName = "software"
    operation_time_seconds: float = 0.0


class _FirmKeyBody(msgspec.Struct, forbid_unknown_fields=True):
    pool: str
    algorithm: Algorithm = "ES256"


class RequestRefused(FsbError):
    """The HTTP request itself cannot be served: unknown path, wrong method, body too large."""

    code = "request_refused"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def create_gateway_app(gateway: Gateway) -> App:
    """Make the ASGI application of a gateway; its lifespan closes the gateway."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            status, content_type, body = await _answer(gateway, scope, receive)
            await _send(send, status, content_type, body)
        elif scope["type"] == "lifespan":
            await _live(gateway, receive, send)

    return app


async def _answer(gateway: Gateway, scope: Scope, receive: Receive) -> Answer:
    try:
        return await _route(gateway, scope, receive)
    except FsbError as error:
        return _problem(error)
    except Exception:
        _log.exception("request failed: %s %s", scope["method"], scope["path"])
        return _problem(FsbUnavailable("the gateway failed; send the same job again"))


async def _route(gateway: Gateway, scope: Scope, receive: Receive) -> Answer:
    segments = scope["path"].strip("/").split("/")
    match scope["method"], segments:
        case "POST", ["v1", "jobs"]:
            job = decode_job(await _read_body(scope, receive))
            return _job_answer(await gateway.program(job, wait=_wait(scope)))
        case "GET", ["v1", "jobs", job_id]:
            return _job_answer(await gateway.find(job_id, wait=_wait(scope)))
        case "PUT", ["v1", "boxes", name]:
            return await _put_box(gateway, name, await _read_body(scope, receive))
        case "PUT", ["v1", "instances", instance_id, "firm-keys", firm_code]:
            body = await _read_body(scope, receive)
            return await _put_firm_key(gateway, (instance_id, firm_code), body)
        case "DELETE", ["v1", "boxes", name]:
            await gateway.remove_box(name)
            return _json(200, {})
        case "DELETE", ["v1", "instances", instance_id, "firm-keys", firm_code]:
            await gateway.remove_firm_key(instance_id, _firm_code(firm_code))
            return _json(200, {})
        case "GET", rest:
            return await _get(gateway, rest)
    raise RequestRefused(404, "there is nothing at this path for this method")


async def _get(gateway: Gateway, segments: list[str]) -> Answer:
    match segments:
        case ["v1", "pools"]:
            return _json(200, {"pools": [_plain(pool) for pool in gateway.pools()]})
        case ["v1", "boxes"]:
            return _json(200, {"boxes": [_plain(box) for box in gateway.boxes()]})
        case ["v1", "root"]:
            return 200, _PEM, (await gateway.root_certificate()).encode()
        case ["livez"]:
            return _json(200, {"live": True})
        case ["readyz"]:
            return _json(200 if gateway.ready() else 503, {"ready": gateway.ready()})
    raise RequestRefused(404, "there is nothing at this path for this method")


async def _put_box(gateway: Gateway, name: str, body: bytes) -> Answer:
    wanted = _decode(body, _BoxBody)
    if not math.isfinite(wanted.operation_time_seconds) or abs(wanted.operation_time_seconds) > BODY_LIMIT:
        raise BoxSpecInvalid("the time per operation is out of range", field="operation_time_seconds")
    operation_time = timedelta(seconds=wanted.operation_time_seconds)
    spec = BoxSpec(name=name, pool=wanted.pool, driver=wanted.driver, operation_time=operation_time)
    return _json(200, _plain(await gateway.ensure_box(spec)))


async def _put_firm_key(gateway: Gateway, target: tuple[str, str], body: bytes) -> Answer:
    instance_id, firm_code = target
    number = _firm_code(firm_code)
    wanted = _decode(body, _FirmKeyBody)
    status = await gateway.ensure_firm_key(instance_id, number, pool=wanted.pool, algorithm=wanted.algorithm)
    return _json(200, _plain(status))


def _firm_code(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len("4294967295")):
        raise JobMalformed("the firm code is not a number", field="firm_code")
    return int(text)


def _job_answer(outcome: ProgrammingResult | JobPending) -> Answer:
    if isinstance(outcome, ProgrammingResult):
        return 200, _JSON, encode_result(outcome)
    return _json(202, _plain(outcome))


def _plain(value: JobPending | PoolStatus | BoxStatus | FirmKeyStatus) -> dict[str, Any]:
    """A status as JSON-ready values; durations get their unit into the name, as everywhere at the edges."""
    plain: dict[str, Any] = {}
    for field in fields(value):
        item = getattr(value, field.name)
        if isinstance(item, timedelta):
            plain[f"{field.name}_seconds"] = item.total_seconds()
        else:
            plain[field.name] = item
    return plain


def _wait(scope: Scope) -> timedelta:
    values = parse_qs(scope["query_string"].decode("latin-1")).get("wait", ["0"])
    try:
        seconds = float(values[-1])
    except ValueError as error:
        raise JobMalformed("wait is not a number of seconds", field="wait") from error
    return timedelta(seconds=min(max(seconds, 0.0), WAIT_LIMIT_SECONDS) if seconds == seconds else 0.0)


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

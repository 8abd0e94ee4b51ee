"""Reading a request body: not more than allowed, in time, and of the right type, before anything looks into it."""

from __future__ import annotations

import hashlib
from typing import Final

from anyio import fail_after
from starlette.requests import Request

from app.core.errors import DomainError

BODY_MAX: Final = 1024 * 1024
"""Bytes. **Source:** ecosystem reference §8 (limits)."""


BODY_WITHIN_SECONDS: Final = 60.0
"""From the end of its head on. A whole body takes it at 140 kbit/s; who sends more slowly would keep a call open, and
what it holds, for as long as he likes. A load balancer in front cuts him earlier. Our own decision."""


class BodyTooLarge(DomainError):
    """The request body is larger than this server reads."""

    code = "body_too_large"


class BodyTooSlow(DomainError):
    """The request body did not come in time."""

    code = "request_too_slow"


class MediaTypeUnsupported(DomainError):
    """The request body is of another type than the route understands."""

    code = "media_type_unsupported"


async def read_body(request: Request, *, within_seconds: float = BODY_WITHIN_SECONDS) -> bytes:
    """Read the whole body; the request keeps it, so that the route can read it again.

    Raises:
        BodyTooLarge: it says so, or grows so.
        BodyTooSlow: it is not there in time.
        MediaTypeUnsupported: there is a body and it is not JSON.
    """
    if _declared_length(request) > BODY_MAX:
        raise _too_large()
    try:
        with fail_after(within_seconds):
            body = await _receive(request)
    except TimeoutError:
        raise BodyTooSlow("The request did not arrive in time.") from None
    request._body = body
    if (
        body
        and request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json"
    ):
        raise MediaTypeUnsupported("Send the body as application/json.", expected="application/json")
    return body


def fingerprint(request: Request, body: bytes) -> str:
    """What makes two requests the same: method, path, query and body."""
    digest = hashlib.sha256()
    for part in (request.method.encode(), request.url.path.encode(), request.url.query.encode(), body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


async def _receive(request: Request) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > BODY_MAX:
            raise _too_large()
    return bytes(received)


def _declared_length(request: Request) -> int:
    declared = request.headers.get("content-length", "0")
    return int(declared) if declared.isascii() and declared.isdigit() else 0


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"A request body has at most {BODY_MAX} bytes.", most=BODY_MAX)

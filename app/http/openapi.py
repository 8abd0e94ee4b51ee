"""The description of an API: what FastAPI derives, with what it cannot know put right.

FastAPI knows neither how callers prove who they are nor the idempotency key: both are looked at before a route is.
And it describes malformed requests as its own handler would answer them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final, Literal

from anyio import to_thread
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from app.http.call import NEEDS_KEY, SCOPE
from app.http.idempotency import HEADER
from app.http.problem import PROBLEM_MEDIA_TYPE
from app.http.schema.example import problem
from app.http.staff import REASON, REASON_MAX

Credentials = Literal["basic", "bearer"]
Document = dict[str, Any]

_TEXT: Final[Document] = {"type": "string"}
_PROBLEM: Final[Document] = {
    "type": "object",
    "description": "A refusal (RFC 9457). Programs look at `code`; `hotline_text` is for people.",
    "required": ["type", "title", "status", "detail", "code", "retryable", "hotline_text"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "instance": {"type": "string", "format": "uri", "description": "Holds the request's id."},
        "code": {"type": "string", "description": "Stable."},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "retry_after_s": {"type": "integer", "description": "Seconds, as in Retry-After."},
        "hotline_text": {
            "type": "object",
            "required": ["de", "en"],
            "properties": {"de": _TEXT, "en": _TEXT},
        },
        "context": {"type": "object", "description": "Facts of this case."},
        "errors": {"type": "array", "description": "Fields that are wrong.", "items": {"type": "object"}},
        "violated-policies": {"type": "array", "items": _TEXT},
    },
}
_SCHEMES: Final[dict[Credentials, Document]] = {
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "User name and secret of an API client; the customer's policy may ask for a network, too.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "A staff token."},
}
_RATE_HEADERS: Final[Document] = {
    "RateLimit-Policy": {
        "description": "How many requests may come at once (`q`) and in how many seconds that is refilled (`w`): the "
        "client's rate as `burst`, and beside it the month's quotas that the request touches.",
        "schema": _TEXT,
        "example": '"burst";q=50;w=1',
    },
    "RateLimit": {
        "description": "What is left of it (`r`), and after how many seconds all of it is there again (`t`).",
        "schema": _TEXT,
        "example": '"burst";r=49;t=1',
    },
}
_LONGEST_ENCODED: Final = 12
"""Characters of a header for one character of text: up to four bytes of UTF-8, three for each."""
_WRITES: Final = frozenset({"post", "put", "patch", "delete"})
_OWN_MODELS: Final = ("HTTPValidationError", "ValidationError")


def describe_api(app: FastAPI, *, credentials: Credentials) -> Document:
    """The OpenAPI 3.1 description of an application."""
    found = deepcopy(app.openapi())
    for method, path, operation in _operations(found):
        writes, by_client = method in _WRITES, SCOPE in operation or path.startswith("/portal/")
        _sort_path(operation, path)
        if writes:
            _add_key(operation, required=_needs_key(operation, method, path))
        if writes and credentials == "bearer":
            _add_reason(operation)
        _mend_refusals(operation, writes=writes)
        if by_client:
            _add_rate(operation)
        if by_client or credentials == "bearer":
            operation["security"] = [{credentials: []}]
    components = found.setdefault("components", {})
    if credentials == "basic":
        components["headers"] = _RATE_HEADERS
    schemas = components.setdefault("schemas", {})
    for name in _OWN_MODELS:
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    components["securitySchemes"] = {credentials: _SCHEMES[credentials]}
    return found


class ApiDescription:
    """The description of an application as it is served: made when somebody first asks, once, beside the event loop."""

    def __init__(self, app: FastAPI, *, credentials: Credentials) -> None:
        self._app = app
        self._credentials = credentials
        self._making = asyncio.Lock()
        self._made: tuple[bytes, str] | None = None

    async def answer(self, request: Request) -> Response:
        """All of it, or 304 if the caller has it already (RFC 9110 §13.1.2)."""
        async with self._making:
            if self._made is None:
                self._made = await to_thread.run_sync(self._make)
        text, etag = self._made
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        known = {
            each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")
        }
        if known & {etag, "*"}:
            return Response(status_code=304, headers=headers)
        return Response(text, media_type="application/json", headers=headers)

    def _make(self) -> tuple[bytes, str]:
        described = describe_api(self._app, credentials=self._credentials)
        text = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
        return text, f'"{hashlib.sha256(text).hexdigest()[:32]}"'


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _needs_key(operation: Document, method: str, path: str) -> bool:
    return bool(operation.get(NEEDS_KEY)) or (method == "post" and path.startswith(("/admin/", "/portal/")))


def _add_key(operation: Document, *, required: bool) -> None:
    reason = "required here" if required else "optional here, because the request has a natural key"
    operation.setdefault("parameters", []).append(
        {
            "name": HEADER,
            "in": "header",
            "required": required,
            "description": f"A new UUID for each request, the same for its repeats; {reason}.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 130},
            "example": "019b0a3c-6a1b-7c2d-8e9f-0a1b2c3d4e5f",
        }
    )


def _add_reason(operation: Document) -> None:
    operation.setdefault("parameters", []).append(
        {
            "name": REASON,
            "in": "header",
            "required": False,
            "description": "Why: `reason` of the entry in the audit log. UTF-8, percent-encoded, at most "
            f"{REASON_MAX} printable characters once decoded. Not needed where the body asks for a reason.",
            "schema": {"type": "string", "maxLength": REASON_MAX * _LONGEST_ENCODED},
            "example": "Ticket%204711%3A%20K%C3%BCndigung",
        }
    )


def _sort_path(operation: Document, path: str) -> None:
    """Parameters of the path in its order, and first: FastAPI has those that a dependency reads behind the others."""
    parameters: list[Document] = operation.get("parameters", [])
    parameters.sort(key=lambda each: path.index(f"{{{each['name']}}}") if each["in"] == "path" else len(path))


def _add_rate(operation: Document) -> None:
    shown = {name: {"$ref": f"#/components/headers/{name}"} for name in _RATE_HEADERS}
    for status, response in operation["responses"].items():
        if status < "300" or status == "429":
            response["headers"] = {**response.get("headers", {}), **shown}


def _mend_refusals(operation: Document, *, writes: bool) -> None:
    responses: Document = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", {}):
        responses.update({str(status): each for status, each in problem(422).items()})
    for status in (400, 413, 415):
        if writes:
            responses.setdefault(str(status), problem(status)[status])
        else:
            responses.pop(str(status), None)
    for code, response in responses.items():
        if PROBLEM_MEDIA_TYPE in response.get("content", {}):
            shown = response["content"][PROBLEM_MEDIA_TYPE]
            response["content"] = {
                PROBLEM_MEDIA_TYPE: {**shown, "schema": {"$ref": "#/components/schemas/Problem"}}
            }
        elif int(code) >= 400:
            raise ValueError(f"{operation['operationId']}: {code} is not described as a problem")
    operation["responses"] = dict(sorted(responses.items()))

"""The description of an API: what FastAPI derives, with what it cannot know put right.

FastAPI knows neither how callers prove who they are nor the idempotency key: both are looked at before a route is.
And it describes malformed requests as its own handler would answer them.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final, Literal

from fastapi import FastAPI

from app.http.call import NEEDS_KEY, SCOPE
from app.http.idempotency import HEADER
from app.http.problem import PROBLEM_MEDIA_TYPE
from app.http.schema.example import problem

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
_WRITES: Final = frozenset({"post", "put", "patch", "delete"})
_OWN_MODELS: Final = ("HTTPValidationError", "ValidationError")


def describe_api(app: FastAPI, *, credentials: Credentials) -> Document:
    """The OpenAPI 3.1 description of an application."""
    found = deepcopy(app.openapi())
    for method, path, operation in _operations(found):
        writes = method in _WRITES
        if writes:
            _add_key(operation, required=_needs_key(operation, method, path))
        _mend_refusals(operation, writes=writes)
        if SCOPE in operation or credentials == "bearer" or path.startswith("/portal/"):
            operation["security"] = [{credentials: []}]
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _OWN_MODELS:
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    components["securitySchemes"] = {credentials: _SCHEMES[credentials]}
    return found


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

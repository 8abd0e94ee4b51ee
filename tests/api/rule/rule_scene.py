"""What tests of rules send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2

from tests.api.site import HERE, good

Ask = Callable[..., httpx2.Response]
PAUSE = {"name": "pause", "action": {"kind": "maintenance", "retry_after_seconds": 7}}
FACTS = {"method": "GET", "path": "/api/v1/items", "source": HERE}


def put(ask: Ask, rules: list[Any], *, sources: Any = None, etag: str | None = None, **more: Any) -> Any:
    answer = send(ask, {"rules": rules, "sources": sources or {}, **more}, etag=etag)
    return good(answer)


def send(ask: Ask, body: Any, *, etag: str | None = None) -> httpx2.Response:
    etag = etag or ask("GET", "/rules").headers["ETag"]
    return ask("PUT", "/rules", body, headers={"If-Match": etag})


def pin(line: str, *, name: str = "pin", otherwise: str = "any_line", **match: Any) -> dict[str, Any]:
    action = {"kind": "lines", "weights": {line: 1}, "otherwise": otherwise}
    return {"name": name, "match": match, "action": action}

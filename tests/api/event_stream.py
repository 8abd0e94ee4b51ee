"""Server-Sent Events as a test reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2

from tests.api.site import HERE, Site


class EventStream:
    """Server-Sent Events of an operation, as a browser reads them, for as long as the context lasts."""

    def __init__(
        self, site: Site, operation_id: str, *, token: str | None = None, after: int | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {token or site.token}", "Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        path = f"/admin/v1/operations/{operation_id}/events"
        with ExitStack() as stack:
            address = f"http://{HERE}:{site.port}"
            caller = stack.enter_context(
                httpx2.Client(base_url=address, timeout=20, trust_env=False, verify=False)
            )
            self.response = stack.enter_context(caller.stream("GET", path, headers=headers))
            # From here on the stream closes what has been opened; before, the failure does.
            self._stack = stack.pop_all()
        self._lines = self.response.iter_lines()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        event: dict[str, Any] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if line == "" and event:
                yield event
                event = {}
            elif name == "data":
                event["data"] = json.loads(value)
            elif name in ("event", "id"):
                event[name] = value

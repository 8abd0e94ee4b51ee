"""The door of a line in a process of its own: its health, and the instances that it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.clock import Clock
from app.core.ids import LineId
from app.core.logging import bind
from app.http.entrance import note_front
from app.http.problem import problem_response
from app.operations.line import InstanceRuntime
from tenancy.access.policy import Address
from tenancy.line_status import ServingState


class LineDoor:
    """Sends a request to the instance in its path.

    Args:
        app: serves instances.
        find: the instance of a name.
        state: how the line is.
        refuse_denied: raises if nobody from an address is answered.
    """

    def __init__(
        self,
        line_id: LineId,
        app: ASGIApp,
        *,
        find: Callable[[str], Awaitable[InstanceRuntime]],
        state: Callable[[], ServingState],
        refuse_denied: Callable[[Address], None],
        clock: Clock,
    ) -> None:
        self._line_id = line_id
        self._app = app
        self._find = find
        self._state = state
        self._refuse_denied = refuse_denied
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == "/livez":
            await JSONResponse({"status": "ok"})(scope, receive, send)
        elif path == "/readyz":
            state = self._state()
            answer = JSONResponse({"status": state}, status_code=200 if state == "ready" else 503)
            await answer(scope, receive, send)
        else:
            await self._serve(path.partition("/")[2].partition("/")[0], scope, receive, send)

    async def _serve(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        bind(instance=name, line=self._line_id)
        try:
            note_front(scope, self._refuse_denied)
            scope["wops.instance"] = await self._find(name)
            scope["wops.instance_name"] = name
        except Exception as error:
            # No application has the request yet, so nobody else would answer.
            refusal = problem_response(error, request_id=scope["wops.request_id"], clock=self._clock)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

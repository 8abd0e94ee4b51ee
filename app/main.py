"""The ASGI applications of the embedded platform, and the process that serves them.

request ─► TraceLayer ─► FrontDoor ─┬─ /livez /readyz
                                    ├─ /admin /metrics /problems …  control
                                    ├─ /portal/v1/{instance}/…  control, for the customer
                                    └─ /{instance}/…       a line, chosen by lb.choose_line; none here when lines
                                                           work in processes of their own (`app.line_process`)
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from anyio import to_thread
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.container import Platform
from app.core.errors import DomainError
from app.core.logging import bind
from app.core.quiet_server import QuietServer, address_socket
from app.http import (
    admin_access_api,
    admin_api,
    admin_approval_api,
    admin_audit_api,
    admin_box_api,
    admin_denied_api,
    admin_firm_key_api,
    admin_front_api,
    admin_host_api,
    admin_instance_api,
    admin_lifecycle_api,
    admin_line_api,
    admin_migration_api,
    admin_operation_api,
    admin_probe_api,
    admin_reconcile_api,
    admin_rule_api,
    admin_server_api,
    admin_staff_api,
    admin_support_api,
    metrics_api,
    portal_access_api,
    portal_audit_api,
    portal_export_api,
    portal_front_api,
    portal_line_api,
    portal_rule_api,
    portal_support_api,
    queue_api,
)
from app.http.cursor import CursorCodec
from app.http.entrance import TrustedFrontDoor, make_server, note_front
from app.http.inner_door import PROBING, InnerDoor
from app.http.instance_app import make_instance_app, new_app
from app.http.openapi import ApiDescription
from app.http.problem import problem_response
from app.http.problem_catalog import PROBLEM_KINDS
from app.http.rule_caller import caller_of
from app.http.trace import TraceLayer
from app.operations.line import Address, InstanceRuntime
from app.web.problem_page import create_problem_router
from app.workers import FlushWorker, Loop, run_loop

CONTROL_SEGMENTS: Final = frozenset({"admin", "metrics", "problems", "openapi"})
PORTAL_SEGMENT: Final = "portal"
THREADS: Final = 128
"""Threads for blocking work. A database that hangs holds half of them at most: a quarter in it, and a quarter that
wait to be let in (`app.core.db.MOST_AT_ONCE`)."""
_OPERATIONS_EVERY_SECONDS: Final = 0.2
_OPERATION_SWEEP_EVERY_SECONDS: Final = 1.0
_SWEEP_EVERY_SECONDS: Final = 2.0
_FORGET_EVERY_SECONDS: Final = 3600.0
_FOLLOW_EVERY_SECONDS: Final = 0.5
"""What another process changes about an instance is known here within a second."""
_PUSH_EVERY_SECONDS: Final = 1.0
_FRONTS_EVERY_SECONDS: Final = 0.2
"""What anybody changes is in force at every load balancer within a second."""
_BOXES_EVERY_SECONDS: Final = 1.0
"""How long a gateway that starts anew may lack boxes, and a change of a box goes untold. Our own decision."""
_LINES_EVERY_SECONDS: Final = 0.5
"""How long a line that is wanted has no process, or does not know what it is to serve. Our own decision."""
_RECONCILE_EVERY_SECONDS: Final = 1.0
"""A third of how long a part must be sick before it is healed (`Rails.patience`)."""
_END_LINES_EVERY_SECONDS: Final = 1.0
_EXPIRE_EVERY_SECONDS: Final = 60.0
_SIGN_EVERY_SECONDS: Final = 30.0
"""Half of the minute within which a grown audit chain is signed. **Source:** operations reference §7.2."""

_log = logging.getLogger(__name__)


def create_instance_app(platform: Platform) -> FastAPI:
    """What lines serve: web services and gateways of instances. One application for all lines of a process."""
    return make_instance_app(
        platform.clock,
        cursor_key=platform.key.derive("cursor"),
        root_certificate=platform.fsb.root_certificate,
    )


def create_control_app(platform: Platform) -> FastAPI:
    """What control serves: the admin API and the pages that explain problems."""
    app = new_app(
        platform.clock,
        "wops admin API",
        "Running the fleet: customers, instances, contracts, access, operations.",
        for_staff=True,
    )
    app.state.platform = platform
    app.state.cursors = CursorCodec(platform.key.derive("cursor"))
    app.include_router(admin_api.router)
    app.include_router(admin_box_api.router)
    app.include_router(admin_firm_key_api.router)
    app.include_router(admin_access_api.router)
    app.include_router(admin_instance_api.router)
    app.include_router(admin_lifecycle_api.router)
    app.include_router(admin_line_api.router)
    app.include_router(admin_migration_api.router)
    app.include_router(admin_operation_api.router)
    app.include_router(admin_probe_api.router)
    app.include_router(admin_reconcile_api.router)
    app.include_router(admin_rule_api.router)
    app.include_router(admin_server_api.router)
    app.include_router(admin_host_api.instance_router)
    app.include_router(admin_host_api.router)
    app.include_router(admin_denied_api.router)
    app.include_router(admin_front_api.router)
    app.include_router(admin_staff_api.router)
    app.include_router(admin_approval_api.router)
    app.include_router(admin_audit_api.router)
    app.include_router(admin_support_api.router)
    app.include_router(metrics_api.router)
    app.include_router(create_problem_router(PROBLEM_KINDS))
    return app


def create_portal_app(platform: Platform) -> FastAPI:
    """What customers look after their own instance with."""
    app = new_app(
        platform.clock,
        "wops portal API",
        "A customer looks after his own instance: who may call it, and what has happened.",
    )
    app.state.platform = platform
    app.state.cursors = CursorCodec(platform.key.derive("cursor"))
    app.include_router(portal_access_api.router)
    app.include_router(portal_audit_api.router)
    app.include_router(portal_export_api.router)
    app.include_router(portal_front_api.router)
    app.include_router(portal_line_api.router)
    app.include_router(portal_rule_api.router)
    app.include_router(portal_support_api.router)
    app.include_router(queue_api.portal)
    return app


class ServedElsewhere(DomainError):
    """Lines in processes of their own serve instances, not control."""

    code = "instance_served_elsewhere"


class FrontDoor:
    """Sends a request to control or to the line that serves the instance in its path."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._instance_app = create_instance_app(platform)
        self._control_app = create_control_app(platform)
        self._portal_app = create_portal_app(platform)
        self.ready = False
        self._own: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/openapi/instance.json": ApiDescription(self._instance_app, credentials="basic").answer,
            "/openapi/admin.json": ApiDescription(self._control_app, credentials="bearer").answer,
            "/openapi/portal.json": ApiDescription(self._portal_app, credentials="basic").answer,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        segment = scope["path"].partition("/")[2].partition("/")[0]
        own = self._own.get(scope["path"])
        # Whom load balancers let through may talk to control, so that staff can take a denial back.
        is_control = own is not None or segment in CONTROL_SEGMENTS or PROBING in scope
        try:
            note_front(scope, None if is_control else self._platform.denied_book.refuse)
        except DomainError as error:
            await self._refuse(error, scope, receive, send)
            return
        if own is not None:
            response = await own(Request(scope))
            await response(scope, receive, send)
            return
        if segment in CONTROL_SEGMENTS:
            await self._control_app(scope, receive, send)
        elif segment == PORTAL_SEGMENT:
            await self._serve_portal(scope, receive, send)
        elif self._platform.has_line_processes and PROBING not in scope:
            bind(instance=segment)
            elsewhere = ServedElsewhere(
                "Lines in processes of their own serve instances; ask the load balancer."
            )
            await self._refuse(elsewhere, scope, receive, send)
        else:
            await self._serve_instance(segment, self._instance_app, scope, receive, send)

    async def _serve_portal(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`/portal/v1/{instance}/…`; any other path below `/portal` is unknown to the application."""
        parts = scope["path"].split("/")
        if len(parts) > 3 and parts[2] == "v1":
            await self._serve_instance(parts[3], self._portal_app, scope, receive, send)
        else:
            await self._portal_app(scope, receive, send)

    async def _serve_instance(
        self, name: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        bind(instance=name)
        try:
            scope["wops.instance"] = await self._find(name, app, scope)
            scope["wops.instance_name"] = name
        except Exception as error:
            await self._refuse(error, scope, receive, send)
            return
        await app(scope, receive, send)

    async def _refuse(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a problem: no application has the request yet, so nobody else would."""
        clock = self._platform.clock
        refusal = problem_response(error, request_id=scope["wops.request_id"], clock=clock)
        await refusal(scope, receive, send)

    async def _find(self, name: str, app: ASGIApp, scope: Scope) -> InstanceRuntime:
        directory = self._platform.directory
        # The portal and our own probe are no business of rules, nor of lines that are out of service.
        address = directory.find_for_control(name)
        if address is None:
            await to_thread.run_sync(directory.look_up, name)
            return await self._find(name, app, scope)
        if app is self._instance_app and PROBING not in scope:
            caller = await caller_of(scope, self._open, address) if directory.has_rules(name) else None
            address = directory.find(name, request_key=scope["wops.request_id"], caller=caller) or address
        bind(line=address.line_id)
        known = self._platform.line(address.line_id).find(address.instance_id)
        return known if known is not None else await to_thread.run_sync(self._open, address)

    def _open(self, address: Address) -> InstanceRuntime:
        return self._platform.line(address.line_id).open(address.instance_id)

    def inner_door(self) -> InnerDoor:
        """This door, for the isolation probe.

        Wherever lines work, the probe knocks here: what it tries are the routes and the instances' databases, which are
        the same there, and no caller can come in as the probe does.
        """
        return InnerDoor(self, (self._instance_app, self._portal_app))

    async def _livez(self, _request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, _request: Request) -> JSONResponse:
        return JSONResponse(
            {"status": "ready" if self.ready else "starting"}, status_code=200 if self.ready else 503
        )


class LocalOperatorDoor:
    """The same application behind the control socket: whoever may open the data directory is staff."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request as the local operator."""
        if scope["type"] == "http":
            scope["wops.local_operator"] = True
        await self._app(scope, receive, send)


class Server:
    """One process that serves the embedded platform on an address, on the control and on the front's socket.

    Args:
        platform: started by `run`.
        on_ready: called with the bound port when requests are served.
    """

    def __init__(
        self, platform: Platform, *, on_ready: Callable[[int], Awaitable[None]] | None = None
    ) -> None:
        self._platform = platform
        self._on_ready = on_ready
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ask the server to finish what is running and end."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until told to stop.

        Raises:
            DomainError: the platform cannot start.
            OSError: the address is taken.
        """
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        listener = address_socket(self._platform.settings.host, self._platform.settings.port)
        try:
            await self._platform.start()
            await self._serve(listener)
        finally:
            await self._platform.stop()
            listener.close()

    async def _serve(self, listener: socket.socket) -> None:
        platform = self._platform
        front = FrontDoor(platform)
        platform.isolation_probe.open_door(front.inner_door())
        app = TraceLayer(front, clock=platform.clock)
        control_socket = _private_socket(platform.settings.control_socket)
        front_socket = _private_socket(platform.settings.front_socket)
        servers = [make_server(app), make_server(LocalOperatorDoor(app)), make_server(TrustedFrontDoor(app))]
        flusher = FlushWorker()
        platform.on_work = flusher.wake
        serving = [
            asyncio.create_task(server.serve(sockets=[sock]), name=f"server {sock.getsockname()}")
            for server, sock in zip(servers, (listener, control_socket, front_socket), strict=True)
        ]
        loops_end, flushing_ends = asyncio.Event(), asyncio.Event()
        loops = self._start_loops(loops_end)
        flushing = asyncio.create_task(flusher.run(flushing_ends), name="flush")
        everything = [*serving, *loops, flushing]
        listening = asyncio.create_task(_all_listening(servers))
        await asyncio.wait([listening, *everything], return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        front.ready = True
        if self._on_ready is not None:
            everything.append(asyncio.create_task(self._announce(listener.getsockname()[1])))
        too_early = await self._until_stop([*serving, *loops, flushing])
        front.ready = False
        # Whoever follows an operation would hold the servers up until their patience ends.
        platform.stopping.set()
        for server in servers:
            server.should_exit = True
        # What is answered while the servers finish is still written down within its second: the flusher ends last.
        await asyncio.gather(*serving, return_exceptions=True)
        loops_end.set()
        await asyncio.gather(*loops, return_exceptions=True)
        flushing_ends.set()
        ended = await asyncio.gather(*everything, return_exceptions=True)
        for sock, path in (
            (control_socket, platform.settings.control_socket),
            (front_socket, platform.settings.front_socket),
        ):
            sock.close()
            path.unlink(missing_ok=True)
        _raise_first(ended, too_early)

    async def _until_stop(self, parts: Sequence[asyncio.Task[None]]) -> list[str]:
        """Wait until the server is told to stop, or a part of it has ended by itself; returns the names of those."""
        asked = asyncio.create_task(self._stop.wait())
        await asyncio.wait([asked, *parts], return_when=asyncio.FIRST_COMPLETED)
        too_early = [] if self._stop.is_set() else [part.get_name() for part in parts if part.done()]
        for name in too_early:
            # Half a server would take calls that nobody writes down: rather none, which a supervisor starts again.
            _log.critical("part_ended", extra={"part": name})
        asked.cancel()
        return too_early

    async def _announce(self, port: int) -> None:
        if self._on_ready is not None:
            await self._on_ready(port)

    def _start_loops(self, stop: asyncio.Event) -> list[asyncio.Task[None]]:
        platform = self._platform
        every_probe = platform.settings.probe_every_seconds
        loops = (
            Loop("operations", partial(platform.runner.run, stop), _OPERATIONS_EVERY_SECONDS),
            Loop("operation_sweep", platform.sweep_operations, _OPERATION_SWEEP_EVERY_SECONDS),
            Loop("sweep", platform.sweep, _SWEEP_EVERY_SECONDS),
            Loop("forget", platform.forget_operations, _FORGET_EVERY_SECONDS),
            Loop("follow", platform.follow_instances, _FOLLOW_EVERY_SECONDS),
            Loop("denied", platform.follow_denied, _FOLLOW_EVERY_SECONDS),
            Loop("delete_exports", platform.delete_exports, _FORGET_EVERY_SECONDS),
            Loop("push", platform.push_config, _PUSH_EVERY_SECONDS),
            Loop("boxes", platform.boxes.keeper.look, _BOXES_EVERY_SECONDS, waits_first=True),
            Loop("tell_customers", platform.tell_customers, _PUSH_EVERY_SECONDS, waits_first=True),
            Loop("lines", platform.keep_lines, _LINES_EVERY_SECONDS),
            Loop("reconcile", platform.healer.turn, _RECONCILE_EVERY_SECONDS, waits_first=True),
            Loop("end_lines", platform.end_lines, _END_LINES_EVERY_SECONDS, waits_first=True),
            Loop("expire", platform.expire_requests, _EXPIRE_EVERY_SECONDS),
            Loop("sign", platform.sign_checkpoints, _SIGN_EVERY_SECONDS, waits_first=True),
            Loop("fronts", platform.fronts.turn, _FRONTS_EVERY_SECONDS),
            Loop("probe", platform.isolation_probe.run_unless_running, every_probe, waits_first=True),
        )
        return [asyncio.create_task(run_loop(loop, stop), name=loop.name) for loop in loops]


def _raise_first(ended: Sequence[object], too_early: Sequence[str]) -> None:
    for each in ended:
        if isinstance(each, Exception):
            raise each
    if too_early:
        raise RuntimeError(f"ended without being asked to: {', '.join(too_early)}")


async def _all_listening(servers: Sequence[QuietServer]) -> None:
    for server in servers:
        await server.listening.wait()


def _private_socket(path: Path) -> socket.socket:
    """A Unix socket that only those may open who may open the data directory."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener

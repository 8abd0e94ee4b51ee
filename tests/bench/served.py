"""A platform with one instance that has something to read, and its application with and without metering."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from anyio import to_thread
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from app.container import Platform
from app.core.command import Command
from app.core.logging import configure_logging
from app.core.quiet_server import address_socket
from app.http import instance_api
from app.http.call import PlainRoute
from app.http.entrance import make_server
from app.http.trace import TraceLayer
from app.licensing import ItemDraft, OrderDraft, OrderedPosition, ProductOptions
from app.main import FrontDoor
from app.operations.line import InstanceRuntime
from app.settings import Settings
from editions import WEB_SERVICE_CALLS
from tenancy import HIGHEST_RATE, ClientLimits, InstanceCreate, make_policy

OPERATION: Final = "getLicense"
_NAME: Final = "bench"
_NETWORK: Final = "127.0.0.0/8"


@dataclass(frozen=True, slots=True)
class _Served:
    """What the route looks for in the place of an admitted call."""

    runtime: InstanceRuntime


class _PlainRead(PlainRoute):
    """The same route function with neither access control nor metering."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        original = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request.state.call = _Served(request.scope["wops.instance"])
            return await original(request)

        return handle


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One application and the request that is sent to it."""

    app: ASGIApp
    path: str
    headers: tuple[tuple[bytes, bytes], ...]

    def scope(self) -> dict[str, Any]:
        """The request as a server hands it over."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": list(self.headers),
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8080),
        }


class Served:
    """The platform of the embedded default, without its sockets."""

    def __init__(self, folder: Path) -> None:
        self.platform = Platform(Settings(data_dir=folder / "data", port=0))
        self._log = (folder / "log").open("w", encoding="utf-8")

    async def start(self) -> None:
        """Provision an instance of the edition with the most web-service calls, with one licence to read."""
        configure_logging("INFO", stream=self._log)
        await self.platform.start()
        await to_thread.run_sync(self._order_instance)
        while not await to_thread.run_sync(self._is_ready):
            await self.platform.runner.run_due()
        self._path, self._headers = await to_thread.run_sync(self._prepare)

    async def stop(self) -> None:
        """Stop the platform."""
        await self.platform.stop()
        configure_logging("WARNING")
        self._log.close()

    def reading(self, *, metered: bool) -> Reading:
        """The whole application from the trace layer on; everything but the one route is the same."""
        front = _front_door(self.platform, plain=not metered)
        app = TraceLayer(front, clock=self.platform.clock)
        return Reading(app=app, path=self._path, headers=self._headers)

    async def check_counted(self, calls: int) -> None:
        """Make sure that every metered call, and nothing else, was counted.

        Raises:
            RuntimeError: it was not.
        """
        used = await to_thread.run_sync(self._count)
        if used != calls:
            raise RuntimeError(f"{used} calls were counted instead of {calls}")

    def _count(self) -> int:
        runtimes = list(self.platform.runtimes())
        for runtime in runtimes:
            runtime.calls.flush()
        return runtimes[0].quota(WEB_SERVICE_CALLS).used

    def _order_instance(self) -> None:
        customer = self.platform.customers.add_customer(_NAME).value
        asked = InstanceCreate(customer_id=customer.customer_id, edition="high_availability", name=_NAME)
        self.platform.instances.create_instance(asked)

    def _is_ready(self) -> bool:
        return self.platform.instances.get_instance_by_name(_NAME).state == "ready"

    def _prepare(self) -> tuple[str, tuple[tuple[bytes, bytes], ...]]:
        platform = self.platform
        instance_id = platform.instances.get_instance_by_name(_NAME).instance_id
        version = platform.access.get_policy(instance_id).version
        policy = make_policy(mode="all", methods=["network", "basic"], networks=[_NETWORK])
        platform.access.put_policy(instance_id, policy, expected_version=version)
        # As fast as a client can be allowed to call: what is measured is the check, not the refusal.
        fast = ClientLimits(rate_per_second=HIGHEST_RATE, burst=HIGHEST_RATE)
        made = platform.clients.add_client(
            instance_id, name="erp", scopes=frozenset({"read"}), limits=fast
        ).value
        runtime = platform.runtime(instance_id)
        options = ProductOptions(product_code=100, feature_map=5, license_quantity=1)
        runtime.items.add_item(ItemDraft(sku="DRAW-PRO", name="Draw", options=options), Command())
        order = OrderDraft(
            order_number="SO-1",
            customer_reference="ACME",
            positions=(OrderedPosition(position=10, sku="DRAW-PRO", quantity=1, options={}),),
        )
        ticket = runtime.orders.place_order(order, Command()).value.ticket
        license_id = runtime.orders.get_ticket(ticket).licenses[0].license_id
        secret = base64.b64encode(f"{made.client.username}:{made.secret}".encode())
        headers = (
            (b"host", b"127.0.0.1"),
            (b"accept", b"application/json"),
            (b"authorization", b"Basic " + secret),
        )
        return f"/{_NAME}/api/v1/licenses/{license_id}", headers


@asynccontextmanager
async def listening(app: ASGIApp) -> AsyncIterator[int]:
    """Serve an application by uvicorn, set up as `wops up` sets it up, on a free loopback port."""
    with address_socket("127.0.0.1", 0) as listener:
        server = make_server(app)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            await serving


def _front_door(platform: Platform, *, plain: bool) -> FrontDoor:
    """The front door; `plain`: with the measured route replaced where it stands, so that routing costs the same."""
    original = instance_api.router
    if plain:
        routes = [_plain(route) for route in original.routes]
        instance_api.router = APIRouter(routes=routes)
    try:
        return FrontDoor(platform)
    finally:
        instance_api.router = original


def _plain(route: Any) -> Any:
    if not isinstance(route, APIRoute) or route.operation_id != OPERATION:
        return route
    return _PlainRead(
        route.path,
        route.endpoint,
        response_model=route.response_model,
        methods=route.methods,
        operation_id=route.operation_id,
        responses=route.responses,
        tags=route.tags,
        summary=route.summary,
    )

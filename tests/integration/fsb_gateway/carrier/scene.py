"""Listeners at work, and machine certificates as files."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from app.core.clock import SystemClock
from app.core.quiet_server import address_socket
from app.http.bounded_protocol import BoundedProtocol
from fsb_gateway.carrier.exchange import App
from fsb_gateway.carrier.http_exchange import ClientIdentity
from fsb_gateway.carrier.listener import Listener, ListenerSet, TlsFiles, server_context
from fsb_gateway.carrier.machine_certificate import MachineAuthorities, Role
from fsb_gateway.client import FsbClient
from fsb_gateway.key.wrap import KeyWrap


@asynccontextmanager
async def serving(*listeners: Listener) -> AsyncIterator[ListenerSet]:
    """Listeners at work."""
    served = ListenerSet(listeners, protocol=BoundedProtocol)
    task = asyncio.create_task(served.serve())
    await served.listening()
    try:
        yield served
    finally:
        served.stop()
        await task


def run(main: Callable[[], object]) -> None:
    """Run something in an event loop of its own, not for ever."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main()  # type: ignore[misc]

    asyncio.run(bounded())


class Pki:
    """Machine certificates as files, made as `wops fsb certificate` makes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authorities = MachineAuthorities(folder / "ca", KeyWrap(bytes(32)), clock=SystemClock())

    def ca(self, role: Role) -> Path:
        return self._write(f"{role}-ca.crt", self.authorities.certificate(role))

    def identity(
        self, role: Role, *, trusting: Path | None = None, lifetime: timedelta = timedelta(days=1)
    ) -> ClientIdentity:
        issued = self.authorities.issue("127.0.0.1", role, lifetime=lifetime)
        return ClientIdentity(
            certificate=self._write(f"{role}.crt", issued.certificate),
            key=self._write(f"{role}.key", issued.key),
            ca=trusting or self.ca("gateway"),
        )

    def listener(self, client: Role, app: App) -> tuple[Listener, str]:
        own = self.identity("gateway")
        bound = address_socket("127.0.0.1", 0)
        files = TlsFiles(certificate=own.certificate, key=own.key, client_ca=self.ca(client))
        return Listener(socket=bound, app=app, tls=server_context(files)), address_of(bound)

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


def address_of(bound: socket.socket) -> str:
    """Where a listener is reached."""
    return f"https://127.0.0.1:{bound.getsockname()[1]}"


def client_of(url: str, identity: ClientIdentity) -> FsbClient:
    """A client by mutual TLS."""
    return FsbClient.mutual_tls(url, certificate=identity.certificate, key=identity.key, ca=identity.ca)

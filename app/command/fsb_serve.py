"""`wops fsb serve`: one gateway process, from its lock to its last answer."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from app.core.clock import SystemClock
from app.core.errors import InputInvalid
from app.core.json import JsonObject
from app.core.lock import PRIVATE_UMASK, make_private
from app.core.open_file import raise_open_files
from app.core.quiet_server import address_socket
from app.gateway_file import NamedFile, opened
from app.gateway_part import lock_boxes, open_gateway
from app.gateway_process import CONTROL_SOCKET, JOBS_SOCKET
from app.http.bounded_protocol import BoundedProtocol
from app.settings import Settings
from fsb_gateway.carrier.listener import (
    Listener,
    ListenerSet,
    TlsFiles,
    private_socket,
    server_context,
)
from fsb_gateway.gateway.gateway import Gateway
from fsb_gateway.server import create_gateway_app

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen by mutual TLS."""

    host: str
    port: int
    tls: TlsFiles
    ca_option: str

    def context(self) -> ssl.SSLContext:
        """What lets callers in.

        Raises:
            InputInvalid: a file cannot be used.
        """
        return opened(
            lambda: server_context(self.tls),
            certificate=NamedFile(name="--certificate", path=self.tls.certificate),
            key=NamedFile(name="--key", path=self.tls.key),
            ca=NamedFile(name=f"--{self.ca_option}", path=self.tls.client_ca),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """What is listened on besides the sockets."""

    lines: Address | None
    control: Address | None

    @classmethod
    def of(
        cls,
        lines: tuple[str | None, Path | None],
        control: tuple[str | None, Path | None],
        *,
        certificate: Path | None,
        key: Path | None,
    ) -> Self:
        """Put options together: for lines and for control, HOST:PORT and the authority of those who may call.

        Raises:
            InputInvalid: an option is missing or is no address.
        """
        return cls(
            lines=_address("listen", "lines-ca", lines, (certificate, key)),
            control=_address("control-listen", "control-ca", control, (certificate, key)),
        )


class Serve:
    """One run of `wops fsb serve`.

    Args:
        is_embedded: boxes work in this process.
        supervisor: process that started this one; when it ends, so does this one.
    """

    def __init__(
        self, settings: Settings, addresses: Addresses, *, is_embedded: bool, supervisor: int | None
    ) -> None:
        self._settings = settings
        self._addresses = addresses
        self._is_embedded = is_embedded
        self._supervisor = supervisor
        self._directory = settings.box_dir
        self._stop = asyncio.Event()
        self._bound: dict[str, str] = {}

    async def run(self, tell: Callable[[], None]) -> None:
        """Serve until a signal comes.

        Args:
            tell: called once, when requests are served.

        Raises:
            GatewayRunning: another process serves these boxes.
            DomainError: the keys or the files of mutual TLS cannot be opened.
            OSError: a socket, address or file cannot be used.
        """
        os.umask(PRIVATE_UMASK)
        make_private(self._settings.data_dir.resolve())
        make_private(self._directory)
        lock = lock_boxes(self._directory)
        try:
            raise_open_files()
            self._hear()
            gateway = open_gateway(self._settings, clock=SystemClock(), is_embedded=self._is_embedded)
            await self._serve(gateway, tell)
        finally:
            os.close(lock)

    def described(self) -> JsonObject:
        """Where it listens, for scripts."""
        return dict(self._bound)

    def where(self) -> str:
        """Where it listens, for people."""
        return "  ".join(f"{name} {address}" for name, address in self._bound.items())

    async def _serve(self, gateway: Gateway, tell: Callable[[], None]) -> None:
        try:
            listeners = ListenerSet(self._bind(gateway), protocol=BoundedProtocol)
            await gateway.start()
            serving = asyncio.create_task(listeners.serve())
            listening = asyncio.create_task(listeners.listening())
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait([serving, listening], return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                _log.info("gateway_ready", extra={"listening": self._bound})
                tell()
                await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            listeners.stop()
            for task in (listening, stopping):
                task.cancel()
        finally:
            await gateway.close()
        await serving
        _log.info("gateway_stopped")

    def _bind(self, gateway: Gateway) -> list[Listener]:
        control = create_gateway_app(gateway)
        lines = create_gateway_app(gateway, surface="lines")
        listeners: list[Listener] = []
        for name, app in ((CONTROL_SOCKET, control), (JOBS_SOCKET, lines)):
            listeners.append(Listener(socket=private_socket(self._directory / name), app=app))
        self._bound = {"control": str(self._directory / CONTROL_SOCKET)}
        self._bound["lines"] = str(self._directory / JOBS_SOCKET)
        for name, where, app in (
            ("control_address", self._addresses.control, control),
            ("lines_address", self._addresses.lines, lines),
        ):
            if where is not None:
                tls = where.context()
                bound = address_socket(where.host, where.port)
                self._bound[name] = _shown(bound)
                listeners.append(Listener(socket=bound, app=app, tls=tls))
        return listeners

    def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        if self._supervisor is not None:
            _watch(self._supervisor, self._stop.set)


def _watch(process_id: int, ended: Callable[[], None]) -> None:
    """Call back when the process that started this one ends."""
    try:
        descriptor = os.pidfd_open(process_id)
    except ProcessLookupError:
        ended()
        return
    if os.getppid() != process_id:
        # It has ended, and the number is another's by now.
        os.close(descriptor)
        ended()
        return
    loop = asyncio.get_running_loop()

    def heard() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        ended()

    loop.add_reader(descriptor, heard)


def _address(
    option: str, ca_option: str, given: tuple[str | None, Path | None], own: tuple[Path | None, Path | None]
) -> Address | None:
    where, ca = given
    if where is None:
        return None
    certificate, key = own
    if certificate is None or key is None or ca is None:
        raise InputInvalid(f"--{option} needs --certificate, --key and --{ca_option}.", field=option)
    host, _, port = where.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise InputInvalid(f"--{option} is HOST:PORT, like 192.0.2.1:8443.", field=option)
    tls = TlsFiles(certificate=certificate, key=key, client_ca=ca)
    return Address(host=host.strip("[]"), port=int(port), tls=tls, ca_option=ca_option)


def _shown(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

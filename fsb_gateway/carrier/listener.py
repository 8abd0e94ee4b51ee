"""Where a gateway in a process of its own listens: Unix sockets of its directory, and addresses with mutual TLS."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from app.core.complaint import Complaints
from app.core.quiet_server import QuietServer
from fsb_gateway.carrier.cause import why_no_tls
from fsb_gateway.carrier.exchange import STOPPING_HEADER, App, Message, Receive, Scope, Send
from fsb_gateway.carrier.socket_path import short_path

# Longer than clients keep a connection (`http_exchange`), so that none is closed while a request is on its way.
_KEEP_ALIVE_SECONDS = 75
# What a box has at hand is finished (a job takes minutes at most, an answer to a stopping gateway's caller none).
_GRACE_SECONDS = 25
_BACKLOG = 2048
_UNAVAILABLE = 503

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """What a gateway shows its callers, and whose callers it lets in: paths of PEM files."""

    certificate: Path
    key: Path
    client_ca: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A bound socket and what is served there."""

    socket: socket.socket
    app: App
    tls: ssl.SSLContext | None = None


class ListenerSet:
    """Serves several listeners in one event loop, until told to stop."""

    def __init__(self, listeners: Sequence[Listener], *, protocol: type[asyncio.Protocol]) -> None:
        """Prepare to listen.

        Args:
            protocol: HTTP protocol of uvicorn's kind.
        """
        self._sockets = [each.socket for each in listeners]
        self._is_stopping = False
        self._servers = [
            _server(self._telling(each.app), tls=each.tls, protocol=protocol) for each in listeners
        ]

    async def serve(self) -> None:
        """Answer requests until `stop`, then finish those at hand."""
        serving = [
            asyncio.create_task(server.serve(sockets=[each]), name=f"listener {each.getsockname()}")
            for server, each in zip(self._servers, self._sockets, strict=True)
        ]
        try:
            await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # One that ended by itself takes the others with it: half a gateway helps nobody.
            self.stop()
            ended = await asyncio.gather(*serving, return_exceptions=True)
        for each in ended:
            if isinstance(each, BaseException):
                raise each

    async def listening(self) -> None:
        """Wait until every listener takes connections."""
        for server in self._servers:
            await server.listening.wait()

    def stop(self) -> None:
        """Take no more connections; tell callers that are refused from now on to ask again."""
        self._is_stopping = True
        for server in self._servers:
            server.should_exit = True

    def _telling(self, app: App) -> App:
        """The same application; while it stops, its refusals say so."""

        async def telling(scope: Scope, receive: Receive, send: Send) -> None:
            async def tell(message: Message) -> None:
                if self._is_stopping and message.get("status") == _UNAVAILABLE:
                    message["headers"] = [*message["headers"], (STOPPING_HEADER, b"1")]
                await send(message)

            await app(scope, receive, tell)

        return telling


def private_socket(path: Path) -> socket.socket:
    """A Unix socket that only its owner may open, in the place of one that a killed process left behind."""
    address = short_path(path)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    os.chmod(path, 0o600)
    return listener


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.3, for callers with a certificate of one authority only; whom it refuses, it logs.

    Raises:
        OSError: a file is not there; `ssl.SSLError`: it is no certificate or key.
    """
    context = _TellingContext(ssl.PROTOCOL_TLS_SERVER)
    context.client_ca = os.fspath(files.client_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(os.fspath(files.certificate), os.fspath(files.key))
    context.load_verify_locations(os.fspath(files.client_ca))
    return context


class _TellingContext(ssl.SSLContext):
    """Logs handshakes that fail: servers on asyncio and uvloop do so in their debug mode only."""

    client_ca = ""

    def __init__(self, *_protocol: object) -> None:
        self._refused = Complaints()

    def note(self, error: ssl.SSLError) -> None:
        """A caller was not let in. Whoever tries again and again must not fill the log."""
        why = why_no_tls(error)
        times = self._refused.note(why)
        if times is not None:
            told = {"cause": why, "times": times, "client_ca": self.client_ca}
            _log.warning("tls_refused", extra=told)


class _TellingObject(ssl.SSLObject):
    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if isinstance(self.context, _TellingContext):
                self.context.note(error)
            raise


_TellingContext.sslobject_class = _TellingObject


def _server(app: App, *, tls: ssl.SSLContext | None, protocol: type[asyncio.Protocol]) -> QuietServer:
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    config.load()
    config.ssl = tls
    return QuietServer(config)

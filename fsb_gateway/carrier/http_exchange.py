"""HTTP to a gateway in another process: through a Unix socket, or by mutual TLS.

A request that waits for its job holds a connection. `WAITING_LIMIT` of them may; beyond that a job is sent without
waiting, so that none is late in its queue because of others, and whoever waits takes turns.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from fsb_gateway.carrier.cause import HUNG_UP, REFUSED, why_no_tls, why_not
from fsb_gateway.carrier.exchange import STOPPING_HEADER, WAIT_LIMIT_SECONDS, Answer, GatewayAway, wait_query
from fsb_gateway.carrier.socket_path import short_path
from fsb_gateway.error import FsbProtocolError

WAITING_LIMIT = 1024
"""A few hundred jobs of one instance may wait (`gateway.QUEUE_LIMIT`); more than a thousand at once is a flood. Each
costs 11 KB at the gateway and 17 KB here [measured]."""
ANSWER_LIMIT = 16 * 1024 * 1024
"""The largest answer is a report: thousands of boxes at 1 KB each."""

_CONNECT_SECONDS = 2.0
# The same with the look-up of the name and the TLS handshake. A look-up that takes longer serves the next try.
_REACH_SECONDS = 4.0
# Below the gateway's own: it never closes a connection on which a request is on its way.
_KEEP_ALIVE_SECONDS = 15.0
# While connections are scarce, whoever waits gives his back this often.
_TURN_SECONDS = 1.0
_NO_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")

_STOPPING = STOPPING_HEADER.decode()

MakeConnector = Callable[[], aiohttp.BaseConnector]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far one exchange goes.

    Attributes:
        waiting: requests that wait for their job at the gateway at the same time, each on a connection.
        answer_seconds: for an answer, on top of the time that the caller lets the gateway wait.
    """

    waiting: int = WAITING_LIMIT
    answer_seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIdentity:
    """What a line or control shows a gateway, and whom it trusts there: paths of PEM files."""

    certificate: Path
    key: Path
    ca: Path


class HttpExchange:
    """Speaks HTTP through aiohttp, with connections that are kept. For one event loop."""

    def __init__(
        self,
        base_url: str,
        make_connector: MakeConnector,
        *,
        socket_path: Path | None = None,
        bounds: Bounds = Bounds(),
    ) -> None:
        self._base_url = base_url
        self._is_tls = socket_path is None
        self._where = _address(base_url) if socket_path is None else str(socket_path)
        self._make_connector = make_connector
        self._bounds = bounds
        self._session: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(bounds.waiting)

    @classmethod
    def unix_socket(cls, path: Path, *, bounds: Bounds = Bounds()) -> HttpExchange:
        """To a gateway behind a Unix socket, however long its path."""

        def make() -> aiohttp.BaseConnector:
            return aiohttp.UnixConnector(
                path=short_path(path), limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS
            )

        return cls("http://fsb-gateway", make, socket_path=path, bounds=bounds)

    @classmethod
    def mutual_tls(cls, base_url: str, identity: ClientIdentity) -> HttpExchange:
        """To a gateway at an address.

        Raises:
            OSError: a file is not there; `ssl.SSLError`: it is no certificate or key.
        """
        context = client_context(identity)

        def make() -> aiohttp.BaseConnector:
            return aiohttp.TCPConnector(ssl=context, limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS)

        return cls(base_url, make)

    async def send(self, method: str, path: str, body: bytes, wait_seconds: float) -> Answer:
        """Send one request; an answer may take as long as the gateway was told to wait, and a little longer."""
        if wait_seconds <= 0:
            return await self._send(method, path, body, 0.0)
        async with self._turns:
            return await self._send(method, path, body, wait_seconds)

    def patience(self, *, is_first: bool) -> float:
        """As long as the gateway grants it, unless connections are scarce."""
        if not self._turns.locked():
            return WAIT_LIMIT_SECONDS
        return 0.0 if is_first else _TURN_SECONDS

    async def close(self) -> None:
        """Give the connections back."""
        if self._session is not None:
            await self._session.close()

    async def _send(self, method: str, path: str, body: bytes, wait_seconds: float) -> Answer:
        timeout = aiohttp.ClientTimeout(
            total=None,
            connect=_REACH_SECONDS,
            sock_connect=_CONNECT_SECONDS,
            sock_read=self._bounds.answer_seconds + wait_seconds,
        )
        query = wait_query(wait_seconds)
        url = URL(f"{self._base_url}{path}?{query}" if query else self._base_url + path, encoded=True)
        try:
            async with self._opened().request(
                method, url, data=body or None, timeout=timeout, allow_redirects=False
            ) as response:
                self._check(response)
                return Answer(status=response.status, body=await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GatewayAway(
                f"The gateway at {self._where} cannot be reached: {self._why(error)}."
            ) from error

    def _opened(self) -> aiohttp.ClientSession:
        """The session, made within the event loop that uses it."""
        if self._session is None:
            # Explicitly no environment: a proxy variable must not send jobs elsewhere.
            self._session = aiohttp.ClientSession(
                connector=self._make_connector(),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_NO_HEADERS,
            )
        return self._session

    def _why(self, error: BaseException) -> str:
        why = _why_unanswered(error)
        # A gateway that refuses a certificate just hangs up: asyncio and uvloop send no alert [measured].
        return f"{why}; perhaps {REFUSED}" if self._is_tls and why == HUNG_UP else why

    def _check(self, response: aiohttp.ClientResponse) -> None:
        if _STOPPING in response.headers:
            raise GatewayAway(f"The gateway at {self._where} is stopping.")
        length = response.content_length
        if length is None or length > ANSWER_LIMIT:
            raise FsbProtocolError("the gateway's answer has no length, or is too long", length=length)


def client_context(identity: ClientIdentity) -> ssl.SSLContext:
    """TLS 1.3 with our certificate, trusting the gateway's authority only.

    Raises:
        OSError: a file is not there; `ssl.SSLError`: it is no certificate or key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(os.fspath(identity.ca))
    context.load_cert_chain(os.fspath(identity.certificate), os.fspath(identity.key))
    return context


def _address(base_url: str) -> str:
    """An address with its port, also where that goes without saying."""
    url = URL(base_url)
    return f"{url.scheme}://{url.host_subcomponent}:{url.port}"


def _why_unanswered(error: BaseException) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLError() as inner):
            return why_no_tls(inner)
        case aiohttp.ClientConnectorError(os_error=inner):
            return why_not(inner)
        case aiohttp.ConnectionTimeoutError():
            return "it cannot be connected to in time"
        case TimeoutError():
            return "it does not answer in time"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return HUNG_UP
        case OSError():
            return why_not(error)
    return "it does not speak the gateway's protocol"

"""The gateway's client: what lines and control call, in process, through a Unix socket or at an address."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, unquote

import httpx
import msgspec

from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.error import FsbError, FsbProtocolError, FsbRejected, FsbUnavailable
from fsb_gateway.job import Algorithm, JobPending, ProgrammingJob, ProgrammingResult
from fsb_gateway.server import App
from fsb_gateway.wire import decode_result, encode_job

T = TypeVar("T")

# On top of the time that the caller lets the gateway wait.
_ANSWER_SECONDS = 10.0
_CONNECT_SECONDS = 2.0
_EXCERPT_BYTES = 200
_OK = 200
_SUCCESS = (200, 202)
_FAILED = 500


@dataclass(slots=True, kw_only=True)
class Answer:
    """Status and body of an HTTP answer; it grows while it arrives."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """A pool, as the gateway reports it; `PoolStatus` says what the fields mean."""

    name: str
    boxes: tuple[str, ...]
    ready_boxes: int
    waiting: int
    running: int
    expected_wait_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxReport:
    """A box, as the gateway reports it; `BoxStatus` says what the fields mean."""

    name: str
    pool: str
    driver: str
    state: str
    jobs_done: int
    operations_done: int
    busy_seconds: float
    firm_codes: tuple[int, ...]


class _Pools(msgspec.Struct):
    pools: tuple[PoolReport, ...]


class _Boxes(msgspec.Struct):
    boxes: tuple[BoxReport, ...]


class _Pending(msgspec.Struct):
    job_id: str
    position: int
    expected_wait_seconds: float


class _Problem(msgspec.Struct):
    title: str
    code: str
    detail: dict[str, Any] = {}


class Exchange(Protocol):
    """Carries one request to the gateway and its answer back."""

    async def send(self, method: str, target: str, body: bytes, wait: timedelta) -> Answer:
        """Send a request.

        Raises:
            FsbUnavailable: no answer; whether the request was served is not known.
        """
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


class InProcessExchange:
    """Calls the gateway's ASGI application directly.

    Through httpx and its ASGITransport the same costs about three times as much per job (see README), and every
    activation of the embedded default comes this way.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def send(self, method: str, target: str, body: bytes, wait: timedelta) -> Answer:
        """Serve one request in this task; the time to wait stands in the target."""
        answer = Answer(status=0, body=b"")

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            answer.status = message.get("status", answer.status)
            answer.body += message.get("body", b"")

        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "query_string": query.encode(),
            "headers": [],
        }
        await self._app(scope, receive, send)
        return answer

    async def close(self) -> None:
        """Nothing is held."""


class HttpExchange:
    """Speaks HTTP through httpx."""

    def __init__(self, transport: httpx.AsyncBaseTransport, base_url: str) -> None:
        # Explicitly no environment: a proxy variable must not send jobs elsewhere.
        self._http = httpx.AsyncClient(transport=transport, base_url=base_url, trust_env=False)

    async def send(self, method: str, target: str, body: bytes, wait: timedelta) -> Answer:
        """Send one request; an answer may take as long as the gateway was told to wait, and a little longer."""
        timeout = httpx.Timeout(_ANSWER_SECONDS + wait.total_seconds(), connect=_CONNECT_SECONDS)
        try:
            response = await self._http.request(method, target, content=body, timeout=timeout)
        except httpx.TransportError as error:
            raise FsbUnavailable(f"the gateway cannot be reached: {type(error).__name__}") from error
        return Answer(status=response.status_code, body=response.content)

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()


class FsbClient:
    """Jobs in, updates out. One per process; safe to use from many tasks of one event loop."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @classmethod
    def in_process(cls, app: App) -> FsbClient:
        """A client of a gateway in this process and event loop."""
        return cls(InProcessExchange(app))

    @classmethod
    def unix_socket(cls, path: str) -> FsbClient:
        """A client of a gateway behind a Unix socket."""
        return cls(HttpExchange(httpx.AsyncHTTPTransport(uds=path), "http://fsb-gateway"))

    @classmethod
    def url(cls, base_url: str) -> FsbClient:
        """A client of a gateway at an address."""
        return cls(HttpExchange(httpx.AsyncHTTPTransport(), base_url))

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        """Have a job done. Sending the same job again is always safe and gives the same update.

        Raises:
            FsbUnavailable: the gateway or its boxes cannot be reached or cannot work; send the job again.
            FsbRejected: refused, with a subclass that says why; nothing was programmed.
            FsbProtocolError: the answer was not understood; send the job again.
        """
        path = f"/v1/jobs?wait={wait.total_seconds()}"
        return _read_job(await self._call("POST", path, encode_job(job), wait=wait))

    async def find(self, job_id: str, *, wait: timedelta = timedelta(0)) -> ProgrammingResult | JobPending:
        """The result of a job, or where it stands.

        Raises:
            JobUnknown: the gateway does not know it (any more); send the job again.
            FsbError: as for `program`.
        """
        path = f"/v1/jobs/{quote(job_id, safe='')}?wait={wait.total_seconds()}"
        return _read_job(await self._call("GET", path, wait=wait))

    async def ensure_box(self, spec: BoxSpec) -> BoxReport:
        """Set up a box, or change its pace."""
        body = {
            "pool": spec.pool,
            "driver": spec.driver,
            "operation_time_seconds": spec.operation_time.total_seconds(),
        }
        answer = await self._call("PUT", f"/v1/boxes/{quote(spec.name, safe='')}", msgspec.json.encode(body))
        return _decode(answer.body, BoxReport)

    async def ensure_firm_key(
        self, instance_id: str, firm_code: int, *, pool: str, algorithm: Algorithm = "ES256"
    ) -> None:
        """Make a firm key unless it is there, and install it in every box of the pool.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
            FirmKeyConflict: the key exists with another algorithm.
        """
        path = f"/v1/instances/{quote(instance_id, safe='')}/firm-keys/{firm_code}"
        await self._call("PUT", path, msgspec.json.encode({"pool": pool, "algorithm": algorithm}))

    async def remove_firm_key(self, instance_id: str, firm_code: int) -> None:
        """Destroy a firm key and take it out of every box; nothing happens if there is none.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
        """
        await self._call("DELETE", f"/v1/instances/{quote(instance_id, safe='')}/firm-keys/{firm_code}")

    async def remove_box(self, name: str) -> None:
        """Take a box out of service; nothing happens if there is none.

        Raises:
            BoxBusy: it has work, or could be given some.
        """
        await self._call("DELETE", f"/v1/boxes/{quote(name, safe='')}")

    async def root_certificate(self) -> str:
        """The platform root as PEM: what containers trust."""
        return (await self._call("GET", "/v1/root")).body.decode("ascii", "replace")

    async def pools(self) -> tuple[PoolReport, ...]:
        """Every pool."""
        return _decode((await self._call("GET", "/v1/pools")).body, _Pools).pools

    async def boxes(self) -> tuple[BoxReport, ...]:
        """Every box."""
        return _decode((await self._call("GET", "/v1/boxes")).body, _Boxes).boxes

    async def close(self) -> None:
        """Give the connections back."""
        await self._exchange.close()

    async def _call(
        self, method: str, target: str, body: bytes = b"", *, wait: timedelta = timedelta(0)
    ) -> Answer:
        answer = await self._exchange.send(method, target, body, wait)
        if answer.status in _SUCCESS:
            return answer
        raise _read_problem(answer)


def _read_job(answer: Answer) -> ProgrammingResult | JobPending:
    if answer.status == _OK:
        try:
            return decode_result(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _not_understood(answer.body) from error
    pending = _decode(answer.body, _Pending)
    expected = timedelta(seconds=pending.expected_wait_seconds)
    return JobPending(job_id=pending.job_id, position=pending.position, expected_wait=expected)


def _read_problem(answer: Answer) -> FsbError:
    """The same error that the gateway raised, or the nearest kind if its code is not known here."""
    problem = _decode(answer.body, _Problem)
    kind = next((kind for kind in _kinds(FsbError) if kind.code == problem.code), None)
    if kind is not None and issubclass(kind, FsbUnavailable | FsbRejected):
        return kind(problem.title, **problem.detail)
    fallback = FsbUnavailable if answer.status >= _FAILED else FsbRejected
    return fallback(problem.title, **{**problem.detail, "reason": problem.code})


def _kinds(root: type[FsbError]) -> Iterator[type[FsbError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)


def _decode(content: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _not_understood(content) from error


def _not_understood(content: bytes) -> FsbProtocolError:
    excerpt = content[:_EXCERPT_BYTES].decode("utf-8", "replace")
    return FsbProtocolError("the gateway's answer was not understood", excerpt=excerpt)

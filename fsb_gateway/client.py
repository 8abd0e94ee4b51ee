"""The gateway's client: what lines and control call, in process, through a Unix socket or by mutual TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.carrier.exchange import Answer, App, Exchange, GatewayAway, InProcessExchange
from fsb_gateway.error import FsbError, FsbProtocolError, FsbRejected, FsbUnavailable
from fsb_gateway.job import Algorithm, JobPending, JobState, ProgrammingJob, ProgrammingResult
from fsb_gateway.report import BoxReport, FirmKeyReport, InstanceQueueReport, PoolReport
from fsb_gateway.wire import decode_result, encode_job, encode_spec

T = TypeVar("T")

_EXCERPT_BYTES = 200
_OK = 200
_SUCCESS = (200, 202, 204)
_FAILED = 500
# A gateway that starts anew is back within about a second; the first try comes while its socket is still warm.
_BACK_OFF_SECONDS = (0.01, 1.0)
# How much longer than it was told to wait a gateway may take that is busy with a crowd.
_LATE_SECONDS = 5.0


class _Pools(msgspec.Struct):
    pools: tuple[PoolReport, ...]


class _Boxes(msgspec.Struct):
    boxes: tuple[BoxReport, ...]


class _FirmKeys(msgspec.Struct):
    firm_keys: tuple[FirmKeyReport, ...]


class _Pending(msgspec.Struct):
    job_id: str
    position: int
    expected_wait_seconds: float
    state: JobState = "waiting"
    expected_wait_p95_seconds: float = 0.0
    others_share: float = 0.0
    reason: str | None = None
    waited_seconds: float = 0.0
    caused_by_others_seconds: float = 0.0


class _Problem(msgspec.Struct):
    title: str
    code: str
    detail: dict[str, Any] = {}


class _Question(NamedTuple):
    method: str
    path: str
    body: bytes
    wait_seconds: float


class FsbClient:
    """Jobs in, updates out. One per process; safe to use from many tasks of one event loop."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @classmethod
    def in_process(cls, app: App) -> FsbClient:
        """A client of a gateway in this process and event loop."""
        return cls(InProcessExchange(app))

    @classmethod
    def unix_socket(cls, path: Path) -> FsbClient:
        """A client of a gateway behind a Unix socket."""
        from fsb_gateway.carrier.http_exchange import HttpExchange  # noqa: PLC0415 - 0.2 s that an embedded start saves

        return cls(HttpExchange.unix_socket(path))

    @classmethod
    def mutual_tls(cls, base_url: str, *, certificate: Path, key: Path, ca: Path) -> FsbClient:
        """A client of a gateway at an address `https://host:port`.

        Args:
            certificate: PEM, what the gateway is shown; `key` is its private key, `ca` the gateway's authority.

        Raises:
            OSError: a file is not there; `ssl.SSLError`: it is no certificate or key.
        """
        from fsb_gateway.carrier.http_exchange import ClientIdentity, HttpExchange  # noqa: PLC0415 - as above

        return cls(HttpExchange.mutual_tls(base_url, ClientIdentity(certificate=certificate, key=key, ca=ca)))

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        """Have a job done. Sending the same job again is always safe and gives the same update.

        A gateway that goes away meanwhile is asked again, with the same job, until `wait` is over.

        Raises:
            FsbUnavailable: the gateway or its boxes cannot be reached or cannot work; send the job again.
            FsbRejected: refused, with a subclass that says why; nothing was programmed.
            FsbProtocolError: the answer was not understood; send the job again.
        """
        return await self._ask_job("POST", "/v1/jobs", encode_job(job), wait)

    async def find(self, job_id: str, *, wait: timedelta = timedelta(0)) -> ProgrammingResult | JobPending:
        """The result of a job, or where it stands.

        Raises:
            JobUnknown: the gateway does not know it (any more); send the job again.
            FsbError: as for `program`.
        """
        return await self._ask_job("GET", f"/v1/jobs/{_segment(job_id)}", b"", wait)

    async def cancel(self, job_id: str) -> None:
        """Take a waiting job back; whoever waits for it gets `JobCancelled`.

        Raises:
            JobRunning: a box works on it already, or may do so.
            JobUnknown: the gateway does not know it.
        """
        await self._call("DELETE", f"/v1/jobs/{_segment(job_id)}")

    async def queue(self, instance_id: str, *, pool: str | None = None) -> InstanceQueueReport:
        """Where an instance stands.

        Args:
            pool: where it sends its jobs: an instance that has sent none yet is known to the gateway by nothing else.
        """
        query = "" if pool is None else f"?pool={_segment(pool)}"
        answer = await self._call("GET", f"/v1/instances/{_segment(instance_id)}/queue{query}")
        return _decode(answer.body, InstanceQueueReport)

    async def pools(self) -> tuple[PoolReport, ...]:
        """Every pool."""
        return _decode((await self._call("GET", "/v1/pools")).body, _Pools).pools

    async def boxes(self) -> tuple[BoxReport, ...]:
        """Every box."""
        return _decode((await self._call("GET", "/v1/boxes")).body, _Boxes).boxes

    async def ensure_box(self, spec: BoxSpec) -> BoxReport:
        """Set up a box, or change it. A box that stopped by itself looks again whether it can work.

        Raises:
            BoxSpecInvalid: the box exists in another pool or with another driver, or the parts do not fit.
        """
        answer = await self._call("PUT", f"/v1/boxes/{_segment(spec.name)}", encode_spec(spec))
        return _decode(answer.body, BoxReport)

    async def remove_box(self, name: str) -> None:
        """Take a box out of service; nothing happens if there is none.

        Raises:
            BoxBusy: it has work, or could be given some.
        """
        await self._call("DELETE", f"/v1/boxes/{_segment(name)}")

    async def ensure_firm_key(
        self, instance_id: str, firm_code: int, *, pool: str, algorithm: Algorithm = "ES256"
    ) -> FirmKeyReport:
        """Make a firm key unless it is there, and bring it into the pool's boxes: at least one, the others when back.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
            FirmKeyConflict: the key exists with another algorithm.
        """
        path = f"/v1/instances/{_segment(instance_id)}/firm-keys/{firm_code}"
        body = msgspec.json.encode({"pool": pool, "algorithm": algorithm})
        return _decode((await self._call("PUT", path, body)).body, FirmKeyReport)

    async def remove_firm_key(self, instance_id: str, firm_code: int) -> None:
        """Destroy a firm key and take it out of every box; nothing happens if there is none.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
        """
        await self._call("DELETE", f"/v1/instances/{_segment(instance_id)}/firm-keys/{firm_code}")

    async def firm_keys(self) -> tuple[FirmKeyReport, ...]:
        """Every firm key and where it is."""
        return _decode((await self._call("GET", "/v1/firm-keys")).body, _FirmKeys).firm_keys

    async def copy_firm_key(self, firm_code: int, *, to: str) -> FirmKeyReport:
        """Bring a firm key, wrapped, into one more box; safe to repeat.

        Raises:
            FirmKeyMissing: no box that answers has it.
            BoxUnknown: there is no such box.
        """
        answer = await self._call("PUT", f"/v1/boxes/{_segment(to)}/firm-keys/{firm_code}")
        return _decode(answer.body, FirmKeyReport)

    async def drop_firm_key(self, firm_code: int, *, box: str) -> None:
        """Destroy a firm key in one box; safe to repeat.

        Raises:
            BoxLast: no other box has it.
        """
        await self._call("DELETE", f"/v1/boxes/{_segment(box)}/firm-keys/{firm_code}")

    async def rotate_firm_key(self, firm_code: int, *, key_id: str) -> FirmKeyReport:
        """Put a new key in the place of a firm key, in every box that holds it; safe to repeat with the same id.

        Raises:
            FirmKeyMissing: there is no key to follow.
            FsbUnavailable: a box that holds the key does not answer; the old key goes on signing.
        """
        path = f"/v1/firm-keys/{firm_code}/rotation"
        return _decode(
            (await self._call("POST", path, msgspec.json.encode({"key_id": key_id}))).body, FirmKeyReport
        )

    async def retire_firm_key(self, firm_code: int) -> FirmKeyReport:
        """Destroy a firm key everywhere and keep its certificates: what it signed still verifies; safe to repeat."""
        answer = await self._call("POST", f"/v1/firm-keys/{firm_code}/retirement")
        return _decode(answer.body, FirmKeyReport)

    async def root_certificate(self) -> str:
        """The platform root as PEM: what containers trust."""
        return (await self._call("GET", "/v1/root")).body.decode("ascii", "replace")

    async def metrics(self) -> str:
        """The gateway's metrics as Prometheus reads them."""
        return (await self._call("GET", "/metrics")).body.decode("utf-8", "replace")

    async def close(self) -> None:
        """Give the connections back."""
        await self._exchange.close()

    async def _ask_job(
        self, method: str, path: str, body: bytes, wait: timedelta
    ) -> ProgrammingResult | JobPending:
        """Ask until there is a result, the gateway's word, or the end of `wait`."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + wait.total_seconds()
        pause = _BACK_OFF_SECONDS[0]
        pending: JobPending | None = None
        while True:
            asked_at = loop.time()
            left = max(0.0, ends_at - asked_at)
            asked = min(left, self._exchange.patience(is_first=pending is None))
            try:
                outcome = await self._ask_once(_Question(method, path, body, asked), left, pending)
            except GatewayAway:
                if loop.time() + pause >= ends_at:
                    raise
                await asyncio.sleep(pause)
                pause, pending = min(2 * pause, _BACK_OFF_SECONDS[1]), None
                continue
            # A gateway that answers before its time knows that waiting is of no use.
            is_early = loop.time() - asked_at < asked / 2
            is_over = asked >= left or loop.time() >= ends_at
            if isinstance(outcome, ProgrammingResult) or is_over or is_early:
                return outcome
            pause, pending = _BACK_OFF_SECONDS[0], outcome

    async def _ask_once(
        self, question: _Question, left: float, pending: JobPending | None
    ) -> ProgrammingResult | JobPending:
        """Ask; whoever knows where his job stands does not wait for a turn longer than he would for the job.

        Nobody waits much longer than he said for a gateway that says nothing.
        """
        method, path, body, asked = question
        try:
            async with asyncio.timeout(asked + _LATE_SECONDS if pending is None else left):
                return _read_job(await self._call(method, path, body, wait_seconds=asked))
        except TimeoutError:
            if pending is None:
                raise GatewayAway("the gateway does not answer") from None
            return pending

    async def _call(self, method: str, path: str, body: bytes = b"", *, wait_seconds: float = 0.0) -> Answer:
        answer = await self._exchange.send(method, path, body, wait_seconds)
        if answer.status in _SUCCESS:
            return answer
        raise _read_problem(answer)


def _segment(text: str) -> str:
    return quote(text, safe="")


def _read_job(answer: Answer) -> ProgrammingResult | JobPending:
    if answer.status == _OK:
        try:
            return decode_result(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _not_understood(answer.body) from error
    pending = _decode(answer.body, _Pending)
    return JobPending(
        job_id=pending.job_id,
        state=pending.state,
        position=pending.position,
        expected_wait=timedelta(seconds=pending.expected_wait_seconds),
        expected_wait_p95=timedelta(seconds=pending.expected_wait_p95_seconds),
        others_share=pending.others_share,
        reason=pending.reason,
        waited=timedelta(seconds=pending.waited_seconds),
        caused_by_others=timedelta(seconds=pending.caused_by_others_seconds),
    )


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

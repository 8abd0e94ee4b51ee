"""The HTTP interface, in process: statuses, bodies and limits; and the client's view of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fsb_gateway import (
    BoxSpec,
    FirmCodeNotOwned,
    FirmKeyConflict,
    FsbClient,
    FsbError,
    FsbProtocolError,
    FsbRejected,
    FsbUnavailable,
    Gateway,
    JobMalformed,
    JobPending,
    JobUnknown,
    Keystore,
    PoolUnknown,
    ProgrammingResult,
    create_gateway_app,
)
from fsb_gateway.client import Answer, InProcessExchange
from fsb_gateway.server import BODY_LIMIT, App, problem_status
from fsb_gateway.wire import encode_job
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, box_spec, make_job

LONG = timedelta(seconds=20)
NOW = timedelta(0)


@pytest.fixture
def gateway(tmp_path: Path, clock: FakeClock) -> Gateway:
    return Gateway(Keystore(tmp_path / "keys", clock=clock), tmp_path / "boxes", clock=clock)


def run(gateway: Gateway, body: Callable[[App], Awaitable[None]]) -> None:
    async def main() -> None:
        await body(create_gateway_app(gateway))
        await gateway.close()

    asyncio.run(main())


async def call(app: App, method: str, target: str, body: bytes = b"") -> tuple[int, Any]:
    answer = await InProcessExchange(app).send(method, target, body, NOW)
    return answer.status, json.loads(answer.body)


def test_client_does_everything_over_http(gateway: Gateway) -> None:
    async def body(app: App) -> None:
        client = FsbClient.in_process(app)
        spec = BoxSpec(name="box-1", pool="shared", operation_time=timedelta(milliseconds=1))
        assert (await client.ensure_box(spec)).state == "ready"
        await client.ensure_firm_key("ins_1", FIRM_CODE, pool="shared")
        assert (await client.root_certificate()).startswith("-----BEGIN CERTIFICATE-----")
        result = await client.program(make_job(), wait=LONG)
        assert isinstance(result, ProgrammingResult)
        assert await client.find("trf_1") == result
        (pool,) = await client.pools()
        assert (pool.name, pool.boxes, pool.ready_boxes, pool.waiting) == ("shared", ("box-1",), 1, 0)
        (box,) = await client.boxes()
        assert (box.jobs_done, box.operations_done, box.firm_codes) == (1, 1, (FIRM_CODE,))
        await client.close()

    run(gateway, body)


def test_job_that_is_not_finished_is_202_with_its_place(gateway: Gateway) -> None:
    async def body(app: App) -> None:
        client = FsbClient.in_process(app)
        await client.ensure_box(box_spec())
        await client.ensure_firm_key("ins_1", FIRM_CODE, pool="shared")
        status, pending = await call(app, "POST", "/v1/jobs?wait=0", encode_job(make_job()))
        assert status == 202
        assert set(pending) == {"job_id", "position", "expected_wait_seconds"}
        outcome = await client.program(make_job("trf_2"), wait=NOW)
        assert isinstance(outcome, JobPending)
        assert isinstance(await client.find("trf_2", wait=LONG), ProgrammingResult)

    run(gateway, body)


def test_refusals_keep_their_class_and_facts_through_http(gateway: Gateway) -> None:
    async def body(app: App) -> None:
        client = FsbClient.in_process(app)
        with pytest.raises(PoolUnknown) as caught:
            await client.program(make_job(), wait=NOW)
        assert caught.value.detail == {"pool": "shared"}
        with pytest.raises(JobUnknown):
            await client.find("trf_1")
        await client.ensure_firm_key("ins_1", FIRM_CODE, pool="shared")
        with pytest.raises(FirmCodeNotOwned):
            await client.ensure_firm_key("ins_2", FIRM_CODE, pool="shared")
        with pytest.raises(FirmKeyConflict):
            await client.ensure_firm_key("ins_1", FIRM_CODE, pool="shared", algorithm="Ed25519")
        with pytest.raises(JobMalformed):
            await client.ensure_firm_key("ins 1", FIRM_CODE, pool="shared")

    run(gateway, body)


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "code"),
    [
        ("POST", "/v1/jobs", b"{", 422, "job_malformed"),
        ("POST", "/v1/jobs?wait=soon", b"", 422, "job_malformed"),
        ("POST", "/v1/jobs", b"x" * (BODY_LIMIT + 1), 413, "request_refused"),
        ("GET", "/v1/jobs/unknown", b"", 404, "job_unknown"),
        ("GET", "/v1/jobs/%00%ff", b"", 404, "job_unknown"),
        ("GET", "/v1/other", b"", 404, "request_refused"),
        ("DELETE", "/v1/pools/shared", b"", 404, "request_refused"),
        ("DELETE", "/v1/instances/i/firm-keys/x", b"", 422, "job_malformed"),
        ("PUT", "/v1/boxes/box-1", b"[]", 422, "job_malformed"),
        ("PUT", "/v1/boxes/a b", b'{"pool":"p"}', 422, "job_malformed"),
        ("PUT", "/v1/boxes/x", b'{"pool":"p","driver":"floppy"}', 422, "job_malformed"),
        ("PUT", "/v1/boxes/x", b'{"pool":"p","operation_time_seconds":1e300}', 422, "box_spec_invalid"),
        ("PUT", "/v1/instances/i/firm-keys/x", b'{"pool":"p"}', 422, "job_malformed"),
        ("PUT", "/v1/instances/i/firm-keys/99999999999999", b'{"pool":"p"}', 422, "job_malformed"),
        ("PUT", "/v1/instances/i/firm-keys/5", b'{"pool":"p","algorithm":"none"}', 422, "job_malformed"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str | bytes) else None,
)
def test_bad_request_gets_a_problem_with_a_code(
    gateway: Gateway, method: str, target: str, body: bytes, status: int, code: str
) -> None:
    async def check(app: App) -> None:
        answer, problem = await call(app, method, target, body)
        assert (answer, problem["status"], problem["code"]) == (status, status, code)
        assert problem["title"]

    run(gateway, check)


def test_readiness_follows_the_boxes(gateway: Gateway) -> None:
    async def body(app: App) -> None:
        assert await call(app, "GET", "/livez") == (200, {"live": True})
        assert await call(app, "GET", "/readyz") == (503, {"ready": False})
        await gateway.ensure_box(box_spec())
        assert await call(app, "GET", "/readyz") == (200, {"ready": True})

    run(gateway, body)


def test_lifespan_closes_the_gateway(gateway: Gateway) -> None:
    sent: list[str] = []

    async def main() -> None:
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> MutableMapping[str, Any]:
            return {"type": next(messages)}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message["type"])

        await gateway.ensure_box(box_spec())
        await create_gateway_app(gateway)({"type": "lifespan"}, receive, send)

    asyncio.run(main())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert [box.state for box in gateway.boxes()] == ["closed"]


def test_every_error_of_the_package_has_a_status_and_its_own_code() -> None:
    kinds: list[type[FsbError]] = []
    pending = [FsbError]
    while pending:
        kind = pending.pop()
        kinds.append(kind)
        pending.extend(kind.__subclasses__())
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(400 <= problem_status(kind) < 600 for kind in kinds)
    for kind in kinds:
        if issubclass(kind, FsbUnavailable):
            assert problem_status(kind) == 503


class FixedExchange:
    """A gateway that always gives one answer."""

    def __init__(self, status: int, body: bytes) -> None:
        self._answer = Answer(status=status, body=body)

    async def send(self, method: str, target: str, body: bytes, wait: timedelta) -> Answer:
        return self._answer

    async def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>", FsbProtocolError),
        (200, b"{}", FsbProtocolError),
        (202, b"{}", FsbProtocolError),
        (500, b"<html>bad gateway", FsbProtocolError),
        (503, b'{"title":"t","code":"future_reason"}', FsbUnavailable),
        (409, b'{"title":"t","code":"future_reason"}', FsbRejected),
        (422, b'{"title":"t","code":"keystore_error"}', FsbRejected),
        (200, b"\xff\xfe", FsbProtocolError),
    ],
)
def test_answer_from_a_gateway_of_another_version(status: int, body: bytes, kind: type[FsbError]) -> None:
    client = FsbClient(FixedExchange(status, body))
    with pytest.raises(FsbError) as caught:
        asyncio.run(client.program(make_job(), wait=NOW))
    assert type(caught.value) is kind
    if b"future" in body:
        assert caught.value.detail["reason"] == "future_reason"

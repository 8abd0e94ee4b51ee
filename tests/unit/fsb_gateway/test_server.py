"""The HTTP interface, in process: statuses, bodies and limits; and the client's view of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fsb_gateway import (
    BoxQueueFull,
    BoxSpec,
    BoxSpecInvalid,
    BoxUnknown,
    FirmCodeNotOwned,
    FirmKeyConflict,
    FsbClient,
    FsbError,
    FsbProtocolError,
    FsbRejected,
    FsbUnavailable,
    JobCancelled,
    JobMalformed,
    JobPending,
    JobRunning,
    JobUnknown,
    PoolUnknown,
    ProgrammingResult,
    create_gateway_app,
)
from fsb_gateway.box_driver import Faults, TokenSpec
from fsb_gateway.carrier.exchange import Answer
from fsb_gateway.error import BoxLast
from fsb_gateway.server import BODY_LIMIT, App, problem_status
from fsb_gateway.wire import decode_spec, encode_job, encode_spec
from tests.fake.clock import START, FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, box_spec, make_job
from tests.unit.fsb_gateway.gateway.key_site import Site
from tests.unit.fsb_gateway.gateway.stage import LONG, NOW, Stage, play


@pytest.fixture
def site(tmp_path: Path, clock: FakeClock) -> Site:
    return Site(tmp_path, clock)


def run(site: Site, body: Callable[[App], Awaitable[None]]) -> None:
    site.run(lambda gateway: body(create_gateway_app(gateway)))


async def call(app: App, method: str, target: str, body: bytes = b"") -> tuple[int, Any]:
    """One request as it comes from a socket."""
    sent: list[MutableMapping[str, Any]] = []
    path, _, query = target.partition("?")

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": unquote(path, errors="replace"), "headers": []}
    await app({**scope, "query_string": query.encode()}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_client_does_everything_over_http(site: Site) -> None:
    async def body(app: App) -> None:
        client = FsbClient.in_process(app)
        spec = BoxSpec(name="box-1", pool="shared", operation_time=timedelta(milliseconds=1))
        report = await client.ensure_box(spec)
        assert (report.condition, report.pool, report.temperature) == ("ready", "shared", "cold")
        key = await client.ensure_firm_key("ins_1", FIRM_CODE, pool="shared")
        assert (key.boxes, key.state) == (("box-1",), "active")
        assert (await client.root_certificate()).startswith("-----BEGIN CERTIFICATE-----")
        result = await client.program(make_job(), wait=LONG)
        assert isinstance(result, ProgrammingResult)
        assert await client.find("trf_1") == result
        (pool,) = await client.pools()
        assert (pool.name, pool.boxes, pool.ready_boxes, pool.waiting) == ("shared", ("box-1",), 1, 0)
        assert (pool.instances[0].instance_id, pool.instances[0].operations_done) == (INSTANCE, 1)
        (box,) = await client.boxes()
        assert (box.jobs_done, box.operations_done, box.firm_codes) == (1, 1, (FIRM_CODE,))
        queue = await client.queue(INSTANCE)
        assert (queue.pool, queue.jobs_done, queue.waiting, queue.jobs) == ("shared", 1, 0, ())
        assert (await client.queue("ins_2")).pool is None
        assert (await client.queue("ins_2", pool="shared")).pool == "shared"
        with pytest.raises(JobMalformed):
            await client.queue("ins_2", pool="a&pool=shared")
        assert "wops_fsb_pool_jobs_total" in await client.metrics()
        await client.close()

    run(site, body)


def test_client_moves_keys_over_http(site: Site) -> None:
    async def body(app: App) -> None:
        client = FsbClient.in_process(app)
        for name in ("box-1", "box-2"):
            await client.ensure_box(box_spec(name, f"pool-of-{name}"))
        await client.ensure_firm_key("ins_1", FIRM_CODE, pool="pool-of-box-1")
        assert (await client.copy_firm_key(FIRM_CODE, to="box-2")).boxes == ("box-1", "box-2")
        with pytest.raises(BoxUnknown):
            await client.copy_firm_key(FIRM_CODE, to="box-9")
        await client.drop_firm_key(FIRM_CODE, box="box-1")
        with pytest.raises(BoxLast):
            await client.drop_firm_key(FIRM_CODE, box="box-2")
        rotated = await client.rotate_firm_key(FIRM_CODE, key_id="key_2")
        assert (rotated.key_id, len(rotated.former)) == ("key_2", 1)
        retired = await client.retire_firm_key(FIRM_CODE)
        assert await client.firm_keys() == (retired,)
        await client.remove_firm_key("ins_1", FIRM_CODE)
        assert await client.firm_keys() == ()
        await client.remove_box("box-1")
        assert [box.name for box in await client.boxes()] == ["box-2"]

    run(site, body)


def test_job_that_is_not_finished_is_202_with_its_place_and_can_be_cancelled(
    tmp_path: Path, clock: FakeClock
) -> None:
    stage = Stage(tmp_path, clock, queue_limit=3)

    async def body() -> None:
        app = create_gateway_app(stage.gateway)
        client = FsbClient.in_process(app)
        box = await stage.add(operation_time=timedelta(seconds=1))
        status, pending = await call(app, "POST", "/v1/jobs?wait=0", encode_job(make_job()))
        assert status == 202
        assert pending == {
            "job_id": "trf_1",
            "state": "running",
            "position": 0,
            "expected_wait_seconds": 1.0,
            "expected_wait_p95_seconds": 1.0,
            "others_share": 0.0,
            "reason": None,
            "waited_seconds": pending["waited_seconds"],
            "caused_by_others_seconds": 0.0,
        }
        assert 0 <= pending["waited_seconds"] < 10
        for number in range(2, 5):
            outcome = await client.program(make_job(f"trf_{number}"), wait=NOW)
            assert isinstance(outcome, JobPending)
            await asyncio.sleep(0)
        place = await stage.pending("trf_4")
        assert (place.state, place.position) == ("waiting", 3)
        with pytest.raises(BoxQueueFull) as caught:
            await client.program(make_job("trf_5"), wait=NOW)
        assert caught.value.detail["expected_wait_seconds"] == 5
        await client.cancel("trf_4")
        with pytest.raises(JobCancelled):
            await client.find("trf_4")
        await stage.at_work(box, "trf_1")
        with pytest.raises(JobRunning):
            await client.cancel("trf_1")
        box.finish()
        assert isinstance(await client.find("trf_1", wait=LONG), ProgrammingResult)

    play(stage, body)


def test_refusals_keep_their_class_and_facts_through_http(site: Site) -> None:
    async def body(app: App) -> None:
        client = FsbClient.in_process(app)
        with pytest.raises(PoolUnknown) as caught:
            await client.program(make_job(), wait=NOW)
        assert caught.value.detail == {"pool": "shared"}
        with pytest.raises(JobUnknown):
            await client.find("trf_1")
        await client.ensure_box(box_spec())
        await client.ensure_firm_key("ins_1", FIRM_CODE, pool="shared")
        with pytest.raises(FirmCodeNotOwned):
            await client.ensure_firm_key("ins_2", FIRM_CODE, pool="shared")
        with pytest.raises(FirmKeyConflict):
            await client.ensure_firm_key("ins_1", FIRM_CODE, pool="shared", algorithm="Ed25519")
        with pytest.raises(JobMalformed):
            await client.ensure_firm_key("ins 1", FIRM_CODE, pool="shared")

    run(site, body)


CONTROL_ONLY = [
    ("GET", "/v1/pools"),
    ("GET", "/v1/boxes"),
    ("GET", "/v1/firm-keys"),
    ("GET", "/metrics"),
    ("PUT", "/v1/boxes/box-1"),
    ("DELETE", "/v1/boxes/box-1"),
    ("PUT", "/v1/instances/ins_1/firm-keys/5"),
    ("DELETE", "/v1/instances/ins_1/firm-keys/5"),
    ("PUT", "/v1/boxes/box-1/firm-keys/5"),
    ("DELETE", "/v1/boxes/box-1/firm-keys/5"),
    ("POST", "/v1/firm-keys/5/rotation"),
    ("POST", "/v1/firm-keys/5/retirement"),
]


@pytest.mark.parametrize(("method", "target"), CONTROL_ONLY)
def test_lines_cannot_do_what_is_for_control(
    tmp_path: Path, clock: FakeClock, method: str, target: str
) -> None:
    stage = Stage(tmp_path, clock)

    async def body() -> None:
        await stage.add()
        lines = create_gateway_app(stage.gateway, surface="lines")
        status, problem = await call(lines, method, target, b"{}")
        assert (status, problem["code"]) == (404, "request_refused")
        assert [box.name for box in stage.gateway.boxes()] == ["box-1"]

    play(stage, body)


def test_lines_can_do_what_activations_need(tmp_path: Path, clock: FakeClock) -> None:
    stage = Stage(tmp_path, clock)

    async def body() -> None:
        lines = create_gateway_app(stage.gateway, surface="lines")
        client = FsbClient.in_process(lines)
        box = await stage.add(state="token_absent")
        await client.program(make_job(), wait=NOW)
        assert (await client.queue(INSTANCE)).reason == "token_absent"
        assert await call(lines, "GET", "/readyz") == (503, {"ready": False})
        assert await call(lines, "GET", "/livez") == (200, {"live": True})
        await client.cancel("trf_1")
        box.answer = lambda job: True
        box.come_back()
        assert isinstance(await client.program(make_job(), wait=LONG), ProgrammingResult)
        assert isinstance(await client.find("trf_1"), ProgrammingResult)
        assert (await client.root_certificate()).startswith("-----BEGIN CERTIFICATE-----")

    play(stage, body)


@pytest.mark.parametrize(
    "spec",
    [
        box_spec(),
        BoxSpec(
            name="box-1",
            pool="own",
            owner=INSTANCE,
            operation_time=timedelta(milliseconds=20),
            jitter=0.25,
            faults=Faults(busy=0.1, timeout=0.2, wrong_answer=0.3, lost_power=0.4),
            drained=True,
            lent_to="shared",
            lent_until=START,
            transactions="pay_per_use",
            transactions_loaded=4_000_000_000,
        ),
        BoxSpec(
            name="box-1",
            pool="shared",
            driver="pkcs11",
            token=TokenSpec(module="/lib/token.so", label="wops", pin_file="/etc/pin"),
        ),
    ],
    ids=["plain", "software", "token"],
)
def test_specification_reads_as_it_was_written(spec: BoxSpec) -> None:
    assert decode_spec(encode_spec(spec)) == spec
    assert decode_spec(encode_spec(spec), name="box-1") == spec
    with pytest.raises(BoxSpecInvalid):
        decode_spec(encode_spec(spec), name="box-2")


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
        ("PUT", "/v1/boxes/x", b'{"pool":"p","name":"y"}', 422, "box_spec_invalid"),
        ("PUT", "/v1/boxes/x", b'{"pool":"p","jitter":1.5}', 422, "box_spec_invalid"),
        ("PUT", "/v1/boxes/x", b'{"pool":"p","driver":"pkcs11"}', 422, "box_spec_invalid"),
        (
            "PUT",
            "/v1/boxes/x",
            b'{"pool":"p","lent_to":"q","lent_until":"2026-01-01T00:00:00"}',
            422,
            "box_spec_invalid",
        ),
        ("PUT", "/v1/boxes/x", b'{"pool":"p","price":1}', 422, "job_malformed"),
        ("PUT", "/v1/boxes/x/firm-keys/5", b"", 404, "box_unknown"),
        ("DELETE", "/v1/boxes/x/firm-keys/5", b"", 404, "box_unknown"),
        ("DELETE", "/v1/jobs/unknown", b"", 404, "job_unknown"),
        ("GET", "/v1/instances/a b/queue", b"", 422, "job_malformed"),
        ("POST", "/v1/firm-keys/5/rotation", b"{}", 422, "job_malformed"),
        ("POST", "/v1/firm-keys/5/rotation", b'{"key_id":"a/b"}', 422, "job_malformed"),
        ("POST", "/v1/firm-keys/5/rotation", b'{"key_id":"k"}', 409, "firm_key_missing"),
        ("POST", "/v1/firm-keys/x/retirement", b"", 422, "job_malformed"),
        ("POST", "/v1/firm-keys/5/retirement", b"", 409, "firm_key_missing"),
        ("PUT", "/v1/instances/i/firm-keys/x", b'{"pool":"p"}', 422, "job_malformed"),
        ("PUT", "/v1/instances/i/firm-keys/99999999999999", b'{"pool":"p"}', 422, "job_malformed"),
        ("PUT", "/v1/instances/i/firm-keys/5", b'{"pool":"p","algorithm":"none"}', 422, "job_malformed"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str | bytes) else None,
)
def test_bad_request_gets_a_problem_with_a_code(
    site: Site, method: str, target: str, body: bytes, status: int, code: str
) -> None:
    async def check(app: App) -> None:
        answer, problem = await call(app, method, target, body)
        assert (answer, problem["status"], problem["code"]) == (status, status, code)
        assert problem["title"]

    run(site, check)


def test_readiness_follows_the_boxes(tmp_path: Path, clock: FakeClock) -> None:
    stage = Stage(tmp_path, clock)

    async def body() -> None:
        app = create_gateway_app(stage.gateway)
        assert await call(app, "GET", "/readyz") == (503, {"ready": False})
        box = await stage.add()
        assert await call(app, "GET", "/readyz") == (200, {"ready": True})
        box.become("journal_damaged")
        assert await call(app, "GET", "/readyz") == (503, {"ready": False})

    play(stage, body)


def test_lifespan_closes_the_gateway(tmp_path: Path, clock: FakeClock) -> None:
    stage = Stage(tmp_path, clock)
    sent: list[str] = []

    async def body() -> None:
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> MutableMapping[str, Any]:
            return {"type": next(messages)}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message["type"])

        box = await stage.add()
        await create_gateway_app(stage.gateway)({"type": "lifespan"}, receive, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert box.status().state == "closed"

    play(stage, body)


def test_every_error_of_the_package_has_a_status_and_its_own_code() -> None:
    kinds: list[type[FsbError]] = []
    pending = [FsbError]
    while pending:
        kind = pending.pop()
        kinds.append(kind)
        pending.extend(kind.__subclasses__())
    named = [kind for kind in kinds if "code" in vars(kind)]
    assert len({kind.code for kind in named}) == len(named) > 40
    assert all(400 <= problem_status(kind) < 600 for kind in kinds)
    for kind in kinds:
        if issubclass(kind, FsbUnavailable):
            assert problem_status(kind) == 503


class FixedExchange:
    """A gateway that always gives one answer."""

    def __init__(self, status: int, body: bytes) -> None:
        self._answer = Answer(status=status, body=body)

    async def send(self, method: str, path: str, body: bytes, wait_seconds: float) -> Answer:
        return self._answer

    def patience(self, *, is_first: bool) -> float:
        return 50.0

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

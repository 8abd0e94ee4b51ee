"""Requests on their way to a gateway: real sockets and a real server, with a stand-in for what answers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from fsb_gateway.carrier import http_exchange
from fsb_gateway.carrier.http_exchange import Bounds, HttpExchange
from fsb_gateway.carrier.listener import (
    Listener,
    private_socket,
)
from fsb_gateway.client import FsbClient
from fsb_gateway.error import FsbProtocolError, FsbUnavailable
from fsb_gateway.job import JobPending, ProgrammingResult
from fsb_gateway.wire import encode_result
from tests.fake.clock import START
from tests.fake.gateway_app import AnsweringApp
from tests.integration.fsb_gateway.carrier.scene import Pki, client_of, run, serving
from tests.service.wait import wait_until_async
from tests.unit.fsb_gateway.factory import make_job

LONG = timedelta(seconds=20)


def made(job_id: str = "trf_1") -> bytes:
    return encode_result(
        ProgrammingResult(job_id=job_id, update="text", box="box-1", operations=1, programmed_at=START)
    )


PENDING = (
    b'{"job_id":"trf_1","position":3,"expected_wait_seconds":1.5,"state":"unknown","others_share":0.25,'
    b'"waited_seconds":2.5,"caused_by_others_seconds":0.5}'
)


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "gateway.sock"


def test_socket_is_its_owners_alone_and_works_in_a_directory_with_a_long_name(tmp_path: Path) -> None:
    async def main() -> None:
        deep = tmp_path / ("d" * 90) / ("e" * 90)
        deep.mkdir(parents=True)
        found = deep / "gateway.sock"
        app = AnsweringApp(200, made())
        async with serving(Listener(socket=private_socket(found), app=app)):
            assert found.stat().st_mode & 0o777 == 0o600
            client = FsbClient.unix_socket(found)
            outcome = await client.program(make_job(), wait=LONG)
            assert isinstance(outcome, ProgrammingResult)
            await client.close()

    run(main)


def test_place_of_a_job_comes_over_whole(path: Path) -> None:
    async def main() -> None:
        async with serving(Listener(socket=private_socket(path), app=AnsweringApp(202, PENDING))):
            client = FsbClient.unix_socket(path)
            pending = await client.program(make_job(), wait=timedelta(0))
            assert isinstance(pending, JobPending)
            assert (pending.state, pending.position, pending.others_share) == ("unknown", 3, 0.25)
            assert pending.expected_wait == timedelta(seconds=1.5)
            assert (pending.waited, pending.caused_by_others) == (
                timedelta(seconds=2.5),
                timedelta(seconds=0.5),
            )
            await client.close()

    run(main)


def test_gateway_that_is_away_is_asked_again_until_it_is_back(path: Path) -> None:
    async def main() -> None:
        client = FsbClient.unix_socket(path)
        waiting = asyncio.create_task(client.program(make_job(), wait=LONG))
        app = AnsweringApp(200, made())
        # The first try fails: nothing listens yet.
        await asyncio.sleep(0)
        async with serving(Listener(socket=private_socket(path), app=app)):
            assert isinstance(await waiting, ProgrammingResult)
            assert len(app.bodies) == 1
        await client.close()

    run(main)


def test_gateway_that_breaks_off_is_sent_the_same_job_again(path: Path) -> None:
    async def main() -> None:
        app = AnsweringApp(200, made())
        hung_up = 0

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal hung_up
            await reader.readuntil(b"\r\n\r\n")
            hung_up += 1
            writer.close()

        client = FsbClient.unix_socket(path)
        async with await asyncio.start_unix_server(hang_up, path):
            waiting = asyncio.create_task(client.program(make_job(), wait=LONG))
            await wait_until_async(lambda: hung_up >= 2, "two tries")
        async with serving(Listener(socket=private_socket(path), app=app)):
            assert isinstance(await waiting, ProgrammingResult)
        await client.close()

    run(main)


def test_gateway_that_does_not_come_back_is_unavailable_when_the_wait_is_over(path: Path) -> None:
    async def main() -> None:
        client = FsbClient.unix_socket(path)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(FsbUnavailable):
            await client.program(make_job(), wait=timedelta(seconds=0.3))
        assert loop.time() - begun < 0.4
        with pytest.raises(FsbUnavailable):
            await client.boxes()
        await client.close()

    run(main)


def test_refusal_by_a_gateway_that_stops_is_no_answer_for_whoever_waits(path: Path) -> None:
    async def main() -> None:
        app = AnsweringApp(503, b'{"title":"stopping","code":"pool_without_box"}', is_held=True)
        client = FsbClient.unix_socket(path)
        async with serving(Listener(socket=private_socket(path), app=app)) as served:
            waiting = asyncio.create_task(client.program(make_job(), wait=LONG))
            await wait_until_async(lambda: app.bodies, "the job at the first gateway")
            served.stop()
            app.let_go()
        follower = AnsweringApp(200, made())
        async with serving(Listener(socket=private_socket(path), app=follower)):
            assert isinstance(await waiting, ProgrammingResult)
            assert set(follower.bodies) == set(app.bodies)
        await client.close()

    run(main)


def test_gateway_that_never_answers_is_given_up(path: Path) -> None:
    async def main() -> None:
        app = AnsweringApp(200, made(), is_held=True)
        async with serving(Listener(socket=private_socket(path), app=app)):
            client = FsbClient(HttpExchange.unix_socket(path, bounds=Bounds(answer_seconds=0.2)))
            with pytest.raises(FsbUnavailable):
                await client.boxes()
            await client.close()
            app.let_go()

    run(main)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 2\r\n\r\n", b"{}"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    ],
    ids=["redirect", "endless", "without a length"],
)
def test_answer_that_is_none_of_a_gateway_is_refused(path: Path, head: bytes, body: bytes) -> None:
    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head + body)
            await writer.drain()
            writer.close()

        async with await asyncio.start_unix_server(answer, path):
            client = FsbClient.unix_socket(path)
            with pytest.raises(FsbProtocolError):
                await client.boxes()
            await client.close()

    run(main)


def test_more_waiting_callers_than_connections_all_bring_their_jobs_at_once(path: Path) -> None:
    async def main() -> None:
        app = AnsweringApp(202, PENDING, is_held=True, answers_at_once_without_wait=True)
        async with serving(Listener(socket=private_socket(path), app=app)):
            client = FsbClient(HttpExchange.unix_socket(path, bounds=Bounds(waiting=4)))
            jobs = [make_job(f"trf_{number}") for number in range(40)]
            asking = [asyncio.create_task(client.program(job, wait=LONG)) for job in jobs]
            await wait_until_async(lambda: len(set(app.bodies)) == 40, "every job at the gateway")
            assert app.most_held <= 4
            app.status, app.body = 200, made()
            app.let_go()
            assert all(isinstance(each, ProgrammingResult) for each in await asyncio.gather(*asking))
            await client.close()

    run(main)


def test_only_a_valid_certificate_of_the_listeners_own_authority_is_let_in(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "foreign").mkdir()
        pki, foreign = Pki(tmp_path), Pki(tmp_path / "foreign")
        app = AnsweringApp(200, made())
        lines, lines_url = pki.listener("line", app)
        control, control_url = pki.listener("control", app)
        async with serving(lines, control):
            trusted = pki.ca("gateway")
            for url, role in ((lines_url, "line"), (control_url, "control")):
                client = client_of(url, pki.identity(role))  # type: ignore[arg-type]
                assert isinstance(await client.program(make_job(), wait=LONG), ProgrammingResult)
                await client.close()
            served = len(app.bodies)
            for url, identity in (
                (control_url, pki.identity("line")),
                (lines_url, pki.identity("control")),
                (lines_url, pki.identity("gateway")),
                (lines_url, foreign.identity("line", trusting=trusted)),
                (lines_url, pki.identity("line", lifetime=-timedelta(minutes=1))),
            ):
                client = client_of(url, identity)
                with pytest.raises(FsbUnavailable):
                    await client.program(make_job(), wait=timedelta(0))
                await client.close()
            assert len(app.bodies) == served

    run(main)


def test_caller_without_a_certificate_is_not_let_in(tmp_path: Path) -> None:
    async def main() -> None:
        app = AnsweringApp(200, made())
        listener, url = Pki(tmp_path).listener("line", app)
        async with serving(listener):
            identity = Pki(tmp_path).identity("line")
            reader, writer = await _open_without_certificate(url, identity.ca)
            writer.write(b"GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n")
            answered = b""
            with contextlib.suppress(OSError):
                answered = await reader.read(100)
            writer.close()
            assert (answered, app.bodies) == (b"", [])

    run(main)


async def _open_without_certificate(url: str, ca: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    return await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), ssl=context)


def test_gateway_of_a_foreign_authority_or_name_is_not_spoken_to(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "foreign").mkdir()
        pki, foreign = Pki(tmp_path), Pki(tmp_path / "foreign")
        app = AnsweringApp(200, made())
        listener, url = foreign.listener("line", app)
        async with serving(listener):
            client = client_of(url, pki.identity("line"))
            with pytest.raises(FsbUnavailable):
                await client.boxes()
            await client.close()
            named_otherwise = client_of(url.replace("127.0.0.1", "localhost"), foreign.identity("line"))
            with pytest.raises(FsbUnavailable):
                await named_otherwise.boxes()
            await named_otherwise.close()
            assert not app.bodies

    run(main)


def test_name_that_nobody_resolves_keeps_a_request_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_exchange, "_REACH_SECONDS", 0.1)

    async def main() -> None:
        async def hang(*_: object, **__: object) -> list[object]:
            await asyncio.Event().wait()
            return []

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", hang)
        client = client_of("https://gateway.example:1", Pki(tmp_path).identity("line"))
        begun = loop.time()
        with pytest.raises(FsbUnavailable):
            await client.boxes()
        assert 0.1 <= loop.time() - begun < 10
        await client.close()

    run(main)

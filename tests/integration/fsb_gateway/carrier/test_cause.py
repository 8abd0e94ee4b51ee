"""A gateway that cannot be reached: the caller is told where and why, and the gateway logs whom it refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.quiet_server import address_socket
from fsb_gateway.carrier.http_exchange import Bounds, ClientIdentity, HttpExchange
from fsb_gateway.carrier.listener import Listener, TlsFiles, private_socket, server_context
from fsb_gateway.client import FsbClient
from fsb_gateway.error import FsbUnavailable
from tests.fake.gateway_app import AnsweringApp
from tests.integration.fsb_gateway.carrier.scene import Pki, address_of, client_of, run, serving

NOBODY = "nobody listens there"
NO_SOCKET = "there is no such socket"
UNTRUSTED = "its certificate is not of the authority that we trust"
OTHER_NAME = "its certificate is for another name or address"
REFUSED = "it closed the connection without an answer; perhaps it does not accept our certificate"


async def told(client: FsbClient) -> str:
    """What whoever asks for the boxes is told instead."""
    with pytest.raises(FsbUnavailable) as caught:
        await client.boxes()
    await client.close()
    return caught.value.message


def message(where: object, why: str) -> str:
    return f"The gateway at {where} cannot be reached: {why}."


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


def test_socket_that_nobody_serves_is_named_with_the_reason(folder: Path) -> None:
    async def main() -> None:
        left_behind = folder / "left.sock"
        private_socket(left_behind).close()
        for path, why in (
            (folder / "no.sock", NO_SOCKET),
            (folder / ("d" * 200) / "no.sock", NO_SOCKET),
            (left_behind, NOBODY),
        ):
            assert await told(FsbClient.unix_socket(path)) == message(path, why)

    run(main)


def test_gateway_that_is_silent_or_hangs_up_is_told_apart(folder: Path) -> None:
    async def main() -> None:
        path = folder / "gateway.sock"
        listener = private_socket(path)
        listener.listen()
        silent = HttpExchange.unix_socket(path, bounds=Bounds(answer_seconds=0.2))
        assert await told(FsbClient(silent)) == message(path, "it does not answer in time")
        listener.close()

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.close()

        server = await asyncio.start_unix_server(hang_up, path)
        why = "it closed the connection without an answer"
        assert await told(FsbClient.unix_socket(path)) == message(path, why)
        server.close()

    run(main)


def test_address_is_named_with_its_port_and_what_is_wrong_there(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    pki, foreign = Pki(tmp_path), Pki(tmp_path / "foreign")
    own = pki.identity("control")
    trusts_another = ClientIdentity(certificate=own.certificate, key=own.key, ca=foreign.ca("gateway"))

    async def main() -> None:
        app = AnsweringApp(200, b"{}")
        control, url = pki.listener("control", app)
        plain = Listener(socket=address_socket("127.0.0.1", 0), app=app)
        with address_socket("127.0.0.1", 0) as gone:
            closed = address_of(gone)
        by_name = url.replace("127.0.0.1", "localhost")
        async with serving(control, plain):
            for where, identity, why in (
                (closed, own, NOBODY),
                (url, trusts_another, UNTRUSTED),
                (by_name, own, OTHER_NAME),
                (address_of(plain.socket), own, "it does not speak TLS"),
            ):
                assert await told(client_of(where, identity)) == message(where, why)
        without_port = await told(client_of("https://127.0.0.1", own))
        assert without_port.startswith("The gateway at https://127.0.0.1:443 cannot be reached: ")

    run(main)


def test_certificate_of_another_role_is_no_gateways(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    line = pki.identity("line")
    files = TlsFiles(certificate=line.certificate, key=line.key, client_ca=pki.ca("control"))
    listener = Listener(
        socket=address_socket("127.0.0.1", 0), app=AnsweringApp(200, b"{}"), tls=server_context(files)
    )

    async def main() -> None:
        async with serving(listener):
            where = address_of(listener.socket)
            client = client_of(where, pki.identity("control", trusting=pki.ca("line")))
            assert await told(client) == message(where, "its certificate is for another role")

    run(main)


Make = Callable[[Pki, Pki], ClientIdentity]


@pytest.mark.parametrize(
    ("make", "logged"),
    [
        (lambda pki, _: pki.identity("line"), UNTRUSTED),
        (lambda pki, foreign: foreign.identity("control", trusting=pki.ca("gateway")), UNTRUSTED),
        (
            lambda pki, _: pki.identity("control", lifetime=-timedelta(minutes=1)),
            "its certificate has expired",
        ),
    ],
    ids=["another role", "a foreign authority", "expired"],
)
def test_refused_caller_is_told_and_logged_once_however_often_he_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Make, logged: str
) -> None:
    (tmp_path / "foreign").mkdir()
    pki, foreign = Pki(tmp_path), Pki(tmp_path / "foreign")
    caplog.set_level(logging.INFO, "fsb_gateway.carrier.listener")

    async def main() -> None:
        listener, url = pki.listener("control", AnsweringApp(200, b"{}"))
        async with serving(listener):
            identity = make(pki, foreign)
            for _ in range(5):
                assert await told(client_of(url, identity)) == message(url, REFUSED)

    run(main)
    (record,) = [each for each in caplog.records if each.message == "tls_refused"]
    assert vars(record)["cause"] == logged
    assert vars(record)["client_ca"] == str(tmp_path / "control-ca.crt")


def test_caller_without_tls_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        listener, url = Pki(tmp_path).listener("control", AnsweringApp(200, b"{}"))
        async with serving(listener):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(b"GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n")
            await reader.read()
            writer.close()

    run(main)
    causes = [vars(each)["cause"] for each in caplog.records if each.message == "tls_refused"]
    assert causes == ["it does not speak TLS"]

"""What only the front says of a caller, said by the caller himself: to a line that reads requests as real ones do."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from app.core.errors import DomainError
from app.http.entrance import make_server
from app.http.front_header import read_front
from tests.service.front_site import FrontSite, running_front
from tests.service.pki import issue, make_authority

FORGED = issue("CN=forged", issuer=make_authority("CN=Customer CA"))
TRAILER = f"Client-Cert: {FORGED.header}\r\n"
REQUEST = (
    "POST /acme/api HTTP/1.1\r\nHost: wops.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    "1\r\nx\r\n0\r\n{trailers}\r\n"
)


async def tell(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer what the line takes for the front's word."""
    said: dict[str, Any] = {
        "method": scope["method"],
        "target": scope["raw_path"].decode(),
        "names": [name.decode() for name, _ in scope["headers"]],
    }
    try:
        word = read_front(scope["headers"])
        said |= {"certificate": word.certificate is not None, "verification": word.verification}
    except DomainError as error:
        if scope["path"] != "/readyz":
            said["code"] = error.code
    body = json.dumps(said).encode()
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def real(shared_home: FrontSite) -> Iterator[FrontSite]:
    """A front before a line that is served as lines are."""
    server = make_server(tell, grace_seconds=1)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(shared_home.home / "l1.sock"))
        listening.listen(64)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        try:
            shared_home.front.apply(shared_home.state(shared_home.line(1)))
            yield shared_home
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture(scope="module")
def shared_home() -> Iterator[FrontSite]:
    with running_front() as site:
        yield site


def raw(site: FrontSite, request: str) -> tuple[str, str]:
    """First line of the answer, and its content."""
    host, port = site.plain.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request.encode())
        whole = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    head, _, body = whole.partition("\r\n\r\n")
    return head.partition("\r\n")[0], body


@pytest.mark.parametrize(
    "trailers",
    [TRAILER, TRAILER + "Client-Cert-Verify: 0,0\r\n", "Forwarded: for=192.0.2.1\r\n"],
    ids=["certificate", "certificate and its verification", "address"],
)
def test_nothing_behind_a_body_is_believed(real: FrontSite, trailers: str) -> None:
    said = json.loads(raw(real, REQUEST.format(trailers=trailers))[1])
    assert said == json.loads(raw(real, REQUEST.format(trailers=""))[1])
    assert said["certificate"] is False


def test_who_shows_no_certificate_has_none(real: FrontSite) -> None:
    said = json.loads(raw(real, REQUEST.format(trailers=""))[1])
    assert said["certificate"] is False


def test_a_whole_address_as_target_leads_where_its_path_does(real: FrontSite) -> None:
    asked = "GET http://{host}/acme/x HTTP/1.1\r\nHost: wops.example\r\nConnection: close\r\n\r\n"
    assert json.loads(raw(real, asked.format(host="wops.example"))[1])["target"] == "/acme/x"
    assert raw(real, asked.format(host="other.example"))[0].startswith("HTTP/1.1 400")


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_nobody_gets_a_tunnel_to_a_line(real: FrontSite, protocol: str) -> None:
    asked = (
        f"GET /acme/x HTTP/1.1\r\nHost: wops.example\r\nConnection: close, upgrade\r\nUpgrade: {protocol}\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert "upgrade" not in json.loads(raw(real, asked)[1])["names"]
    first, said = raw(
        real, "CONNECT wops.example:443 HTTP/1.1\r\nHost: wops.example:443\r\nConnection: close\r\n\r\n"
    )
    assert first.startswith("HTTP/1.1 400")
    assert json.loads(said)["code"] == "request_refused"

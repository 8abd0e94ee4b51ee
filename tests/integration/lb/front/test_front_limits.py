"""Callers who are too slow, too many or not to be understood, and lines that fail: each is told by a code."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from lb.front.settings import FrontLimits, FrontTimes
from tests.integration.lb.front.answered import echoed, exchange, problem, read_raw
from tests.integration.lb.front.change import flooded
from tests.service.front_site import ACME, FrontSite, running_front
from tests.service.wait import wait_until

MOMENT = timedelta(seconds=1)
SLOW = (
    b"POST /acme/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
    b"POST /acme/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n",
)
UNREADABLE = {
    "a blank in a name": b"GET /acme/x HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
    "no length": b"POST /acme/x HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "another host": b"GET http://b/acme/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a head of 30 KB": b"GET /acme/x HTTP/1.1\r\nHost: a\r\nX-Long: " + 30_000 * b"x" + b"\r\n\r\n",
    "a field of 10 MB": b"GET /acme/x HTTP/1.1\r\nHost: a\r\nX-Long: " + 10_000_000 * b"x" + b"\r\n\r\n",
}


@contextmanager
def serving(**values: object) -> Iterator[FrontSite]:
    """A front with one line."""
    with running_front(**values) as site:
        site.start_line(1)
        site.front.apply(site.state(site.line(1)))
        yield site


@pytest.fixture(scope="module")
def hasty() -> Iterator[FrontSite]:
    """One that waits a second for callers and lines."""
    with serving(times=FrontTimes(request=MOMENT, server=MOMENT)) as site:
        yield site


def drip(address: str, head: bytes) -> bytes:
    """Send a body byte by byte, until the front has had enough; what it said."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=0.05) as connection:
        connection.sendall(head)
        said = bytearray()
        for _ in range(99):
            with suppress(TimeoutError):
                while part := connection.recv(65536):
                    said += part
                return bytes(said)
            connection.sendall(b"x")
    raise AssertionError("nobody cuts it")


@pytest.mark.parametrize("head", SLOW, ids=["length", "chunked"])
def test_a_body_that_drips_in_is_cut_before_a_line_hears_of_it(hasty: FrontSite, head: bytes) -> None:
    said: list[bytes] = []
    slow = [threading.Thread(target=lambda: said.append(drip(hasty.plain, head))) for _ in range(20)]
    began = sessions(hasty)
    for each in slow:
        each.start()
    others = [echoed(hasty.get("/acme/x", "--data", "whole"))["body_bytes"] for _ in range(3)]
    for each in slow:
        each.join(20)
    assert others == [5, 5, 5]
    assert [problem(read_raw(each)) for each in said] == 20 * ["request_too_slow"]
    assert sessions(hasty) == began + 3


def sessions(site: FrontSite) -> int:
    """How many requests the line has been given."""
    return site.runtime.show_stat(ACME).backends[0].traffic.sessions_total


def test_a_head_that_never_ends_is_cut(hasty: FrontSite) -> None:
    said = exchange(hasty.plain, b"GET /acme/x HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    assert said.startswith(b"HTTP/1.1 408")
    assert b"HAProxy" not in said


@pytest.mark.parametrize("why", UNREADABLE)
def test_what_cannot_be_read_is_refused_without_a_word_about_the_server(hasty: FrontSite, why: str) -> None:
    # HAProxy 2.6 answers that below everything that can be configured: no `errorfile` and no `http-error` counts.
    before, said = len(unreadable(hasty)), b""
    try:
        said = exchange(hasty.plain, UNREADABLE[why])
    except ConnectionError:
        assert why == "a field of 10 MB", "who goes on sending to a closed connection may miss the answer"
    else:
        assert said.startswith(b"HTTP/1.1 400")
    assert b"haproxy" not in said.lower()
    wait_until(lambda: len(unreadable(hasty)) > before, "its line in the log")
    assert json.loads(unreadable(hasty)[-1])["status"] == 400
    assert echoed(hasty.get_plain("/acme/x", "-H", f"X-Long: {'x' * 20_000}"))["line"] == "l1"


def unreadable(site: FrontSite) -> list[str]:
    """Lines of the access log about such requests."""
    return [each for each in site.log.splitlines() if "<BADREQ>" in each and '"status":400' in each]


@pytest.mark.parametrize("bind", ["front", "redirect"])
def test_a_request_without_host_is_refused_as_a_problem_and_one_with_two_anyway(
    hasty: FrontSite, bind: str
) -> None:
    address = hasty.plain if bind == "front" else hasty.redirect
    answer = read_raw(exchange(address, b"GET /acme/x HTTP/1.1\r\nConnection: close\r\n\r\n"))
    assert (answer.status, problem(answer)) == (400, "request_refused")
    assert answer.headers["x-content-type-options"] == "nosniff"
    two = b"GET /acme/x HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n"
    assert exchange(address, two).startswith(b"HTTP/1.1 400")


def test_a_line_that_is_silent_and_one_that_ends_are_told_by_code(hasty: FrontSite) -> None:
    slow = hasty.get("/acme/x?ms=3000")
    assert (slow.status, problem(slow)) == (504, "line_too_slow")
    with socket.socket(socket.AF_UNIX) as listening:
        broken = hasty.home / "broken.sock"
        listening.bind(str(broken))
        listening.listen(64)
        thread = threading.Thread(target=_break_off, args=(listening,))
        thread.start()
        try:
            state = hasty.state(replace(hasty.line(1), number=2, address=f"unix@{broken}"))
            hasty.front.apply(state)
            # On a kept connection, and over HTTP/2 always, 2.6.12 breaks off instead: the caller is to ask again.
            failed = hasty.get("/acme/x", "--data", "x", "--http1.1")
            assert (failed.status, problem(failed)) == (502, "line_failed")
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            hasty.front.apply(hasty.state(hasty.line(1)))


def _break_off(listening: socket.socket) -> None:
    """Be ready, and end every other request's connection without an answer."""
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            if connection.recv(65536).startswith(b"GET /readyz"):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_a_flood_from_one_address_is_denied_and_one_below_it_is_not() -> None:
    with serving(limits=FrontLimits(address_calls=3)) as site:
        assert set(flooded(site, 30)) == {200}
        assert flooded(site, 5)[-1] == 429
        refused = site.get_plain("/acme/x")
        assert (refused.status, problem(refused)) == (429, "caller_too_fast")
        assert refused.headers["retry-after"] == "10"
        assert problem(site.curl(f"http://{site.redirect}/x")) == "caller_too_fast"


def test_nobody_alone_has_all_connections() -> None:
    with serving(limits=FrontLimits(address_connections=8)) as site, ExitStack() as held:
        host, port = site.plain.split(":")
        ask = b"GET /acme/x HTTP/1.1\r\nHost: a\r\n\r\n"
        answered = 0
        for _ in range(12):
            with suppress(ConnectionError):
                connection = held.enter_context(socket.create_connection((host, int(port)), timeout=10))
                connection.sendall(ask)
                answered += connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert answered == 8
        held.close()
        wait_until(lambda: site.get_plain("/acme/x").status == 200, "connections to be given up")


def test_a_front_is_asked_by_others_while_one_line_hangs(hasty: FrontSite) -> None:
    process = hasty.lines[1].pid
    os.kill(process, signal.SIGSTOP)
    try:
        wait_until(lambda: hasty.get("/acme/x").status == 503, "the line to be out")
        assert problem(hasty.get("/acme/x")) == "no_line_ready"
    finally:
        os.kill(process, signal.SIGCONT)
    wait_until(lambda: hasty.get("/acme/x").status == 200, "the line to be back")

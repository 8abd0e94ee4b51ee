"""The load client against a server that misbehaves on purpose: everything is seen, and nothing is taken for good."""

from __future__ import annotations

import select
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

from tests.service.haproxy import running_haproxy
from tests.service.open_loop import Ask, LoadPlan, open_loop

FRONT = """\
defaults
  mode http
  timeout client 30s
  timeout connect 1s
  timeout server 30s
frontend front
  bind unix@{dir}/front.sock
  option idle-close-on-response
  http-request return status 200 hdr x-answered-by me
"""


class Strange(BaseHTTPRequestHandler):
    """Does what the path says, the first time that it is asked for."""

    protocol_version = "HTTP/1.1"
    seen: set[str]

    def do_GET(self) -> None:
        first = self.path not in self.seen
        self.seen.add(self.path)
        what = self.path.split("/")[1]
        if first and what == "drop":
            self.close_connection = True
        elif first and what == "hang":
            # Until the caller has had enough.
            select.select([self.connection], [], [], 5)
            self.close_connection = True
        elif first and what in {"503", "404"}:
            self._answer(int(what))
        else:
            self._answer(200)

    do_POST = do_GET  # noqa: N815

    def _answer(self, status: int) -> None:
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length) + self.path.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Answered-By", "strange")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@contextmanager
def strange_server() -> Iterator[str]:
    class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
        daemon_threads = True
        request_queue_size = 100

    handler = type("Handler", (Strange,), {"seen": set()})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def plan(address: str, *paths: str) -> LoadPlan:
    asks = tuple(Ask(path=path) for path in paths)
    return LoadPlan(address=address, rate=100, asks=asks, most=20 * len(asks), timeout_seconds=0.4)


def outcomes(made: LoadPlan) -> dict[int, set[tuple[bool, str]]]:
    """By ask: how its requests ended."""
    with open_loop(made) as load:
        load.wait_done()
    assert load.sent == made.most
    found: dict[int, set[tuple[bool, str]]] = {}
    for each in load.answered:
        found.setdefault(each.ask, set()).add((each.ok, each.outcomes))
    return found


def test_every_failure_is_seen_and_tried_once_more() -> None:
    paths = ("/ok/{number}", "/drop/{number}", "/hang/{number}", "/503/{number}", "/404/{number}")
    with strange_server() as address:
        made = replace(plan(address, *paths), kinds=("fresh",))
        assert outcomes(made) == {
            0: {(True, "200")},
            1: {(True, "closed, 200")},
            2: {(True, "timeout, 200")},
            3: {(True, "503, 200")},
            4: {(False, "404")},
        }


def test_without_a_second_attempt_every_failure_stays_one() -> None:
    with strange_server() as address:
        made = replace(plan(address, "/drop/{number}", "/503/{number}"), attempts=1, kinds=("fresh",))
        assert outcomes(made) == {0: {(False, "closed")}, 1: {(False, "503")}}


def test_request_that_libcurl_sends_again_by_itself_is_named() -> None:
    with strange_server() as address:
        made = replace(plan(address, "/ok/{number}", "/drop/{number}"), attempts=1)
        with open_loop(made) as load:
            load.wait_done()
    dropped = [each for each in load.answered if each.ask == 1]
    assert dropped
    # Each was sent again, or had a new connection anyhow and failed.
    assert all(each.attempts[0].resent or not each.ok for each in dropped)
    assert load.resent


def test_nobody_there_is_refused_and_no_answer_is_made_up() -> None:
    with strange_server() as address:
        pass
    assert outcomes(plan(address, "/x")) == {0: {(False, "refused, refused")}}


def test_requests_start_by_the_clock_whatever_the_answers_do() -> None:
    with strange_server() as address:
        made = replace(plan(address, "/hang/{number}"), attempts=1, kinds=("fresh",), most=60)
        with open_loop(made) as load:
            load.wait_done()
    scheduled = [each.scheduled for each in load.answered]
    assert abs(scheduled[-1] - scheduled[0] - 59 / made.rate) < 1e-6
    # All were sent before the first had timed out.
    assert max(each.attempts[0].started for each in load.answered) < load.answered[0].finished + 0.4


def test_no_more_requests_are_under_way_than_wanted_and_none_is_made_up_for() -> None:
    with strange_server() as address:
        made = replace(
            plan(address, "/hang/{number}"), attempts=1, kinds=("fresh",), most=20, most_under_way=5
        )
        with open_loop(made) as load:
            load.wait_done()
    sent = [(each.attempts[0].started, each.finished) for each in load.answered]
    together = [sum(started <= at < finished for started, finished in sent) for at, _ in sent]
    assert max(together) == 5
    # The sixth waited until the first had timed out; from then on the clock goes on from there.
    assert load.answered[5].scheduled >= sent[0][1] - 0.1


def test_requests_go_to_a_unix_socket_as_well() -> None:
    with running_haproxy(FRONT) as haproxy:
        made = replace(plan(str(haproxy.directory / "front.sock"), "/x"), kinds=("keep_alive",))
        with open_loop(made) as load:
            load.wait_done()
        assert not load.failed, load.story()
        assert load.who() == {"me": made.most}

"""The process that sends what `tests.service.open_loop` plans, through libcurl: an HTTP client of the field."""

from __future__ import annotations

import heapq
import io
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pycurl

_TEXT_LENGTH: Final = 300
_KEPT_CONNECTIONS: Final = 64
_LONGEST_PAUSE_SECONDS: Final = 0.05
_TRY_AGAIN: Final = frozenset({502, 503, 504})
_HTTP_VERSIONS: Final = {
    "keep_alive": pycurl.CURL_HTTP_VERSION_1_1,
    "fresh": pycurl.CURL_HTTP_VERSION_1_1,
    "http2": pycurl.CURL_HTTP_VERSION_2_0,
}
_OUTCOMES: Final = {
    pycurl.E_COULDNT_CONNECT: "refused",
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_GOT_NOTHING: "closed",
    pycurl.E_RECV_ERROR: "closed",
    pycurl.E_SEND_ERROR: "closed",
    pycurl.E_PARTIAL_FILE: "closed",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_HTTP2: "protocol",
    # Names that pycurl lacks: CURLE_WEIRD_SERVER_REPLY, CURLE_HTTP2_STREAM.
    8: "protocol",
    92: "protocol",
}


@dataclass(slots=True)
class _Turn:
    """A request on its way."""

    number: int
    kind: str
    ask: int
    scheduled: float
    attempts: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class _Flight:
    """An attempt under way."""

    turn: _Turn
    started: float
    body: io.BytesIO
    by: str | None = None
    resent: bool = False


class Client:
    """Sends what is due; one thread, all requests side by side."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self.run = secrets.token_hex(4)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        self._multi.setopt(pycurl.M_MAXCONNECTS, _KEPT_CONNECTIONS)
        self._spare: list[pycurl.Curl] = []
        self._flights: dict[pycurl.Curl, _Flight] = {}
        self._due: list[tuple[float, int, _Turn]] = []
        self._next = 0
        self._start = 0.0

    def work(self, stopping: Callable[[], bool]) -> int:
        """Send until it is to stop and everything is accounted for; gives the number of requests."""
        self._start = time.monotonic() + 0.05
        while True:
            more = not stopping() and self._next != self._plan["most"]
            pause = self._send_due() if more else _LONGEST_PAUSE_SECONDS
            if not more and not self._due and not self._flights:
                return self._next
            pause = min(pause, self._send_again())
            self._exchange()
            self._multi.select(max(0.0, min(pause, _LONGEST_PAUSE_SECONDS)))

    def _send_due(self) -> float:
        kinds, asks = self._plan["kinds"], self._plan["asks"]
        rate: float = self._plan["rate"]
        while (at := self._start + self._next / rate) <= time.monotonic():
            if len(self._flights) + len(self._due) == self._plan["most_under_way"]:
                # What could not be sent by now is not made up for.
                self._start += time.monotonic() - at
                return _LONGEST_PAUSE_SECONDS
            # Every kind sends every ask, whatever the numbers of both are.
            kind = kinds[self._next % len(kinds)]
            self._send(_Turn(self._next, kind, self._next // len(kinds) % len(asks), at))
            self._next += 1
            if self._next == self._plan["most"]:
                return 0.0
        return at - time.monotonic()

    def _send_again(self) -> float:
        while self._due and self._due[0][0] <= time.monotonic():
            self._send(heapq.heappop(self._due)[2])
        return self._due[0][0] - time.monotonic() if self._due else _LONGEST_PAUSE_SECONDS

    def _send(self, turn: _Turn) -> None:
        curl = self._spare.pop() if self._spare else pycurl.Curl()
        flight = _Flight(turn, time.monotonic(), io.BytesIO())
        self._flights[curl] = flight
        self._set_where(curl, turn.kind)
        self._set_what(curl, turn)
        self._set_ears(curl, flight)
        self._multi.add_handle(curl)

    def _set_where(self, curl: pycurl.Curl, kind: str) -> None:
        plan = self._plan
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.HTTP_VERSION, _HTTP_VERSIONS[kind])
        curl.setopt(pycurl.PIPEWAIT, kind == "http2")
        curl.setopt(pycurl.FRESH_CONNECT, kind == "fresh")
        curl.setopt(pycurl.FORBID_REUSE, kind == "fresh")
        curl.setopt(pycurl.TIMEOUT_MS, round(plan["timeout_seconds"] * 1000))
        curl.setopt(pycurl.PROXY, "")
        address: str = plan["address"]
        if address.startswith("/"):
            curl.setopt(pycurl.UNIX_SOCKET_PATH, address)
        elif plan["server_name"] is not None:
            curl.setopt(pycurl.CONNECT_TO, [f"::{address}"])
        if plan["authority"] is not None:
            curl.setopt(pycurl.CAINFO, plan["authority"])
        else:
            curl.setopt(pycurl.SSL_VERIFYPEER, 0)
            curl.setopt(pycurl.SSL_VERIFYHOST, 0)
        if plan["certificate"] is not None:
            curl.setopt(pycurl.SSLCERT, plan["certificate"])

    def _set_what(self, curl: pycurl.Curl, turn: _Turn) -> None:
        ask = self._plan["asks"][turn.ask]
        curl.setopt(pycurl.URL, f"{self._origin()}{self._filled(ask['path'], turn)}")
        curl.setopt(pycurl.PATH_AS_IS, 1)
        if ask["body"]:
            curl.setopt(pycurl.POSTFIELDS, self._filled(ask["body"], turn))
        curl.setopt(pycurl.CUSTOMREQUEST, ask["method"])
        headers = [f"{name}: {self._filled(value, turn)}" for name, value in ask["headers"]]
        # No `Expect: 100-continue`: it would cost a wait for nothing.
        curl.setopt(pycurl.HTTPHEADER, [*headers, "Expect:"])

    def _set_ears(self, curl: pycurl.Curl, flight: _Flight) -> None:
        wanted = f"{self._plan['answered_by']}:".encode()

        def header(line: bytes) -> None:
            if line[: len(wanted)].lower() == wanted:
                flight.by = line[len(wanted) :].strip().decode()

        def debug(kind: int, text: bytes) -> None:
            if kind == pycurl.INFOTYPE_TEXT and b"retrying a fresh connect" in text:
                flight.resent = True

        curl.setopt(pycurl.WRITEFUNCTION, flight.body.write)
        curl.setopt(pycurl.HEADERFUNCTION, header)
        curl.setopt(pycurl.DEBUGFUNCTION, debug)
        curl.setopt(pycurl.VERBOSE, 1)

    def _origin(self) -> str:
        if self._plan["server_name"] is not None:
            return f"https://{self._plan['server_name']}"
        address: str = self._plan["address"]
        return "http://localhost" if address.startswith("/") else f"http://{address}"

    def _filled(self, text: str, turn: _Turn) -> str:
        return text.replace("{number}", str(turn.number)).replace("{run}", self.run)

    def _exchange(self) -> None:
        self._multi.perform()
        waiting = 1
        while waiting:
            waiting, good, bad = self._multi.info_read()
            for curl in good:
                self._end(curl, str(curl.getinfo(pycurl.RESPONSE_CODE)), "")
            for curl, number, message in bad:
                self._end(curl, _outcome(curl, number), message)

    def _end(self, curl: pycurl.Curl, outcome: str, message: str) -> None:
        self._multi.remove_handle(curl)
        flight = self._flights.pop(curl)
        turn = flight.turn
        ok = outcome in map(str, self._plan["asks"][turn.ask]["expected"])
        text = "" if ok else message or flight.body.getvalue()[:_TEXT_LENGTH].decode(errors="replace")
        turn.attempts.append(
            {
                "started": flight.started,
                "seconds": time.monotonic() - flight.started,
                "outcome": outcome,
                "by": flight.by,
                "text": text,
                "resent": flight.resent,
            }
        )
        curl.reset()
        self._spare.append(curl)
        final = outcome.isdigit() and int(outcome) not in _TRY_AGAIN
        if ok or final or len(turn.attempts) == self._plan["attempts"]:
            _tell(turn, ok)
        else:
            heapq.heappush(
                self._due, (time.monotonic() + self._plan["retry_pause_seconds"], turn.number, turn)
            )


def _outcome(curl: pycurl.Curl, number: int) -> str:
    unreachable = number == pycurl.E_COULDNT_CONNECT and curl.getinfo(pycurl.OS_ERRNO) != _REFUSED
    return "unreachable" if unreachable else _OUTCOMES.get(number, f"error_{number}")


_REFUSED: Final = 111


def _tell(turn: _Turn, ok: bool) -> None:
    said = {"number": turn.number, "kind": turn.kind, "ask": turn.ask, "scheduled": turn.scheduled, "ok": ok}
    sys.stdout.write(f"{json.dumps({**said, 'attempts': turn.attempts})}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the plan, send until standard input ends."""
    plan = json.loads(sys.stdin.readline())
    stopped = threading.Event()

    def listen() -> None:
        # Read below Python's buffers, so that the end of the process need not wait for this thread.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stopped.set()

    threading.Thread(target=listen, daemon=True).start()
    client = Client(plan)
    sent = client.work(stopped.is_set)
    sys.stdout.write(f"{json.dumps({'sent': sent, 'run': client.run})}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

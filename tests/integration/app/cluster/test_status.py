"""How the parts of a cluster are, also when one of them talks nonsense."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import ClassVar

import pytest

from app.cluster.place import ClusterPlace, held, plan_place
from app.cluster.status import PartState, cluster_status


class _Answering(BaseHTTPRequestHandler):
    body: ClassVar[object] = {}

    def do_GET(self) -> None:
        content = json.dumps(self.body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody wants to know."""

    def address_string(self) -> str:
        return "unix"


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Whoever only looks who listens hangs up."""


@contextmanager
def _answering(path: Path, body: object) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = type("Answering", (_Answering,), {"body": body})
    with _Server(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def place(data_dir: Path) -> ClusterPlace:
    with held(data_dir):
        return plan_place(data_dir)


def _status(place: ClusterPlace) -> dict[str, PartState]:
    return {each.part: each for each in cluster_status(place)}


def test_cluster_that_does_not_run_is_absent_in_all_its_parts(place: ClusterPlace) -> None:
    found = _status(place)

    assert list(found) == ["supervisor", "database", "gateway", "control", "lb1", "lb2"]
    assert {each.state for each in found.values()} == {"absent"}
    assert not any(each.is_fine for each in found.values())


def test_gateway_that_talks_nonsense_does_not_serve(place: ClusterPlace) -> None:
    with _answering(place.settings.box_dir / "gateway.sock", {"boxes": [{"surprise": 1}]}):
        assert _status(place)["gateway"].state == "not serving"


def test_box_that_is_not_ready_is_not_as_it_should_be(place: ClusterPlace) -> None:
    boxes = [
        {"name": "b-2", "condition": "waiting", "jobs_done": 0, "pool": "p"},
        {"name": "b-1", "condition": "ready", "jobs_done": 7, "pool": "p"},
    ]
    with _answering(place.settings.box_dir / "gateway.sock", {"boxes": boxes}):
        found = _status(place)

    assert found["gateway"].is_fine
    assert [name for name in found if name.startswith("box")] == ["box b-1", "box b-2"]
    assert found["box b-1"].is_fine
    assert found["box b-1"].work == "ready, 7 jobs done"
    assert found["box b-2"].state == "not serving"


def test_boxes_are_shown_while_no_gateway_tells_of_them(place: ClusterPlace) -> None:
    specs = place.settings.box_dir / "box"
    specs.mkdir(parents=True)
    for name in ("b-1", "b-2"):
        (specs / f"{name}.json").touch()
    words = ("app.cli", "fsb", "box", "b-1", "--data-dir", str(place.data_dir))
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as box:
        assert box.stdout is not None
        box.stdout.readline()
        found = _status(place)
        box.communicate(b"\n")

    assert (found["box b-1"].state, found["box b-1"].process_id) == ("not serving", box.pid)
    assert found["box b-1"].work == "no gateway gives it jobs"
    assert (found["box b-2"].state, found["box b-2"].process_id) == ("absent", None)


def test_line_that_was_made_and_does_not_run_is_absent(place: ClusterPlace) -> None:
    directory = place.data_dir / "lines" / "acme-1"
    directory.mkdir(parents=True)
    (directory / "line.json").touch()

    assert _status(place)["line acme-1"].state == "absent"

"""`wops line`: what it serves while control and the platform database are gone."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from app.core.ids import InstanceId, new_id
from tenancy.database.home import DatabaseHome
from tenancy.line_file import INSTANCES_FILE, LINE_FILE, LineInstance, write_instances
from tenancy.runner.port import LineLimits
from tests.api.site import Instance, good, refused
from tests.integration.app.line_site import (
    COMMAND,
    CONNECTIONS,
    SOON,
    Hall,
    LineSite,
    ServedLine,
    activate,
    limits_of,
)
from tests.service.gateway import ServedGateway
from tests.service.wait import wait_until

LICENSES = "/acme/api/v1/licenses"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    with ServedGateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def site(gateway: ServedGateway, tmp_path_factory: pytest.TempPathFactory) -> LineSite:
    boxes = f"unix:{gateway.data_dir}/boxes/gateway.sock"
    return LineSite(tmp_path_factory.mktemp("site"), boxes=boxes, operation_time_ms=100)


@pytest.fixture(scope="module")
def acme(site: LineSite) -> Instance:
    return site.start().add_instance("high_performance", "acme")


@pytest.fixture(scope="module")
def hall(site: LineSite, acme: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    hall = Hall(tmp_path_factory.mktemp("lines"), site, [acme])
    yield hall
    with LineSite(site.folder, boxes=site.settings.boxes) as again:
        acme.site = again
        acme.check_books()


@pytest.fixture(scope="module")
def line(hall: Hall) -> Iterator[ServedLine]:
    """One that no test ends."""
    with hall.line("own-1") as line:
        yield line
    assert line.process.returncode == 0


def read(line: ServedLine, instance: Instance, path: str = LICENSES) -> int:
    return line.call("GET", path, auth=instance.auth).status_code


def test_activation_goes_through_a_line_with_control_and_platform_database_gone(
    hall: Hall, line: ServedLine, acme: Instance
) -> None:
    (hall.site.settings.data_dir / "platform.db").rename(hall.folder / "away.db")
    try:
        with hall.serving(line):
            assert good(activate(acme), 201)["state"] == "issued"
            assert good(acme.call("GET", "/licenses"))["data"]
    finally:
        (hall.folder / "away.db").rename(hall.site.settings.data_dir / "platform.db")
    status = line.private.status()
    assert (status.line, status.process_id, status.state) == ("own-1", line.process.pid, "ready")
    assert (status.applied, status.running, status.problem) == (1, 0, None)
    assert (status.instances, status.open_instances) == (1, 1)


def test_line_believes_the_front_and_serves_instances_alone(line: ServedLine, acme: Instance) -> None:
    assert line.ready() == "ready"
    assert line.call("GET", "/livez").status_code == 200
    refused(line.call("GET", LICENSES, headers={"Forwarded": "by=1"}), 400, "forwarded_invalid")
    for path in ("/admin/v1/instances", "/portal/v1/acme/access", "/metrics", "/other/api/v1/items", "/"):
        refused(line.call("GET", path, auth=acme.auth), 404, "instance_not_found")
    refused(line.call("GET", LICENSES, auth=("api", "wrong")), 404, "instance_not_found")
    refused(line.call("GET", LICENSES), 401, "credentials_missing")


def test_second_process_for_the_same_line_is_refused_and_harms_nobody(
    line: ServedLine, acme: Instance
) -> None:
    again = subprocess.run(
        [*COMMAND, str(line.directory)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.splitlines()[-1].startswith("line_running: ")
    assert read(line, acme) == 200


@pytest.mark.parametrize("name", [LINE_FILE, INSTANCES_FILE])
def test_file_that_others_can_read_is_refused(hall: Hall, name: str) -> None:
    line = hall.line(f"exposed-{name.removesuffix('.json')}")
    (line.directory / name).chmod(0o640)
    if name == LINE_FILE:
        done = subprocess.run(
            [*COMMAND, str(line.directory)], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[-1].startswith("line_file_exposed: ")
        return
    with line:
        assert line.ready() == "starting"
        refused(line.call("GET", LICENSES), 503, "no_line_ready")
        assert str(line.private.status().problem).startswith("line_file_exposed: ")
        (line.directory / name).chmod(0o600)
        line.wait_for(1)
        assert (line.ready(), line.private.status().problem) == ("ready", None)


def test_broken_exposed_and_older_files_change_nothing(hall: Hall, acme: Instance) -> None:
    with hall.line("own-2") as line:
        path = line.directory / INSTANCES_FILE
        whole = path.read_bytes()
        for content, code in (
            (b'{"format": 1, "version": 9', "line_file_damaged"),
            (b"\xff\x00", "line_file_damaged"),
            (
                b'{"format": 1, "version": 9, "connections": 1, "servers": [], "instances": [{}]}',
                "line_file_damaged",
            ),
            (json.dumps({**json.loads(whole), "format": 2}).encode(), "line_file_damaged"),
            (json.dumps({**json.loads(whole), "version": -1}).encode(), "line_file_damaged"),
        ):
            path.write_bytes(content)
            problem = wait_until(lambda: line.private.status().problem, f"a problem with {content!r}")
            assert problem.startswith(f"{code}: ")
            assert read(line, acme) == 200
            path.write_bytes(whole)
            wait_until(lambda: line.private.status().problem is None, "the file to be whole again")
        newer = write_instances(line.directory, hall.served, connections=CONNECTIONS + 1)
        line.wait_for(newer)
        path.write_bytes(whole)
        problem = wait_until(lambda: line.private.status().problem, "a problem with the old file")
        assert problem.startswith("line_file_outdated: ")
        assert read(line, acme) == 200
        assert acme.auth[1] not in line.log
        assert write_instances(line.directory, hall.served, connections=1, newer_than=newer) == newer + 1
        line.wait_for(newer + 1)
        assert (read(line, acme), line.private.status().problem) == (200, None)


def test_instance_comes_gets_another_name_and_goes_with_its_file(hall: Hall, acme: Instance) -> None:
    line = hall.line("own-3")
    write_instances(line.directory, [], connections=CONNECTIONS)
    with line:
        assert (line.ready(), read(line, acme)) == ("ready", 404)
        line.wait_for(write_instances(line.directory, hall.served, connections=CONNECTIONS))
        assert read(line, acme) == 200
        renamed = [replace(each, name="acme-two") for each in hall.served]
        line.wait_for(write_instances(line.directory, renamed, connections=CONNECTIONS))
        assert (read(line, acme), read(line, acme, "/acme-two/api/v1/licenses")) == (404, 200)
        line.wait_for(write_instances(line.directory, [], connections=CONNECTIONS))
        assert (read(line, acme), read(line, acme, "/acme-two/api/v1/licenses")) == (404, 404)
        wait_until(lambda: line.private.status().open_instances == 0, "the instance to be let go of")
        # Its call was written down and its rights given back before.
        assert "meter_not_closed" not in line.log


def test_instance_whose_database_is_not_there_harms_no_other(hall: Hall, acme: Instance) -> None:
    line = hall.line("own-4")
    place = hall.served[0].home.place
    nobody = DatabaseHome(
        instance_id=InstanceId(f"ins_{0:032x}"),
        place=replace(place, address=f"{place.address}/away"),
        database_name="x",
    )
    away = LineInstance(instance_id=nobody.instance_id, name="away", home=nobody)
    write_instances(line.directory, [*hall.served, away], connections=CONNECTIONS)
    with line:
        refused(line.call("GET", "/away/api/v1/items", auth=acme.auth), 503, "instance_database_missing")
        assert read(line, acme) == 200


def test_line_forgets_an_instance_until_it_has_been_out_of_the_file(hall: Hall, acme: Instance) -> None:
    key = hall.served[0].instance_id
    with hall.line("own-5") as line:
        assert read(line, acme) == 200
        assert line.private.settle(key)
        line.private.forget(key)
        assert read(line, acme) == 404
        assert line.private.status().open_instances == 0
        # Another change of the file, the instance still in it, brings it back as little as a request does.
        line.wait_for(write_instances(line.directory, hall.served, connections=CONNECTIONS + 1))
        assert read(line, acme) == 404
        assert line.private.settle(key)
        line.wait_for(write_instances(line.directory, [], connections=CONNECTIONS))
        line.wait_for(write_instances(line.directory, hall.served, connections=CONNECTIONS))
        assert read(line, acme) == 200


def test_private_api_refuses_what_it_does_not_know(line: ServedLine) -> None:
    assert line.private.settle(InstanceId("ins_unknown"))
    transport = httpx2.HTTPTransport(uds=str(line.directory / "line.sock"))
    with httpx2.Client(transport=transport, base_url="http://line") as client:
        for body in (b"", b"{}", b'{"within_seconds": -1}', b'{"within_seconds": 1e9}', b"[" * 5000):
            refused_body = client.post("/v1/drain", content=body)
            assert (refused_body.status_code, refused_body.json()["code"]) == (422, "input_invalid")
        assert client.get("/v1/drain").status_code == 405
        assert client.get("/acme/api/v1/licenses").status_code == 404
    assert line.private.status().state == "ready"


def test_gateway_that_is_gone_stops_activations_and_nothing_else(
    hall: Hall, line: ServedLine, acme: Instance, gateway: ServedGateway
) -> None:
    with hall.serving(line):
        device, ticket = acme.device(), acme.sell()
        gateway.stop()
        try:
            body = {"action": "activate", "ticket": ticket, "context": device.context()}
            answer = acme.call("POST", "/transfers", body)
            assert answer.status_code in (202, 503), answer.text
            good(acme.call("GET", "/licenses"))
            assert line.ready() == "ready"
        finally:
            gateway.start()
        opened = acme.call("POST", "/transfers", body)
        path = f"/transfers/{opened.json().get('transfer_id') or opened.json()['context']['transfer_id']}"
        wait_until(
            lambda: good(acme.call("GET", path))["state"] == "issued",
            "the transfer to be issued",
            deadline=SOON,
        )


def test_limits_are_in_force(hall: Hall, acme: Instance) -> None:
    limits = LineLimits(threads=3, memory_mb=512, open_files=48)
    with hall.line("own-6", limits=limits) as line:
        found = limits_of(line.process.pid)
        assert found["Max open files"] == ("48", "48")
        assert found["Max data size"] == (str(512 * 2**20),) * 2
        with ThreadPoolExecutor(24) as callers:
            assert set(callers.map(lambda _: read(line, acme), range(48))) == {200}
        # Beside those for requests: the main one, and those of the flusher.
        threads = list(Path(f"/proc/{line.process.pid}/task").iterdir())
        assert len(threads) <= 1 + 3 + 8
        crowd = [connected(line.front) for _ in range(80)]
        for each in crowd:
            each.close()
        wait_until(lambda: line.ready() == "ready", "the line to take connections again")
        assert read(line, acme) == 200


def connected(path: Path) -> socket.socket:
    caller = socket.socket(socket.AF_UNIX)
    caller.connect(str(path))
    return caller


def test_memory_beyond_its_limit_costs_requests_not_the_machine(hall: Hall, acme: Instance) -> None:
    with hall.line("own-7", limits=LineLimits(memory_mb=128)) as line:
        assert read(line, acme) == 200
        crowd = [half_sent(line.front, acme.auth, 1_000_000) for _ in range(100)]
        try:
            wait_until(lambda: "MemoryError" in line.log, "the limit to be reached", deadline=SOON)
            assert data_mb(line.process.pid) <= 128
        finally:
            for each in crowd:
                each.close()
        assert line.process.poll() is None
        wait_until(lambda: is_served(line, acme), "the line to serve again", deadline=SOON)


def half_sent(path: Path, auth: tuple[str, str], size: int) -> socket.socket:
    """A request of which the last byte never comes."""
    caller = connected(path)
    caller.settimeout(5)
    basic = base64.b64encode(":".join(auth).encode()).decode()
    head = (
        f"POST /acme/api/v1/items HTTP/1.1\r\nHost: front\r\nForwarded: for=127.0.0.1\r\n"
        f"Authorization: Basic {basic}\r\nContent-Type: application/json\r\nIdempotency-Key: {new_id('key')}\r\n"
        f"Content-Length: {size}\r\n\r\n"
    )
    with suppress(OSError):
        caller.sendall(head.encode() + b"[" * (size - 1))
    return caller


def data_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmData:")[1].split()[0]) // 1024


def is_served(line: ServedLine, instance: Instance) -> bool:
    try:
        return read(line, instance) == 200
    except httpx2.HTTPError:
        return False

"""The end of a line: nobody notices it, whatever runs; and if it must be, it is quick."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lb.haproxy_stats import ServerStatus
from tests.api.site import Instance, good, refused
from tests.integration.app.line_load import LineLoad
from tests.integration.app.line_site import SOON, Hall, LineSite, ServedLine
from tests.service.front_site import ACME, FrontSite, running_front
from tests.service.gateway import ServedGateway
from tests.service.wait import wait_until

LICENSES = "/acme/api/v1/licenses"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    with ServedGateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def acme(gateway: ServedGateway, tmp_path_factory: pytest.TempPathFactory) -> Instance:
    boxes = f"unix:{gateway.data_dir}/boxes/gateway.sock"
    site = LineSite(tmp_path_factory.mktemp("site"), boxes=boxes, drive_lease_seconds=1.0)
    return site.start().add_instance("high_performance", "acme")


@pytest.fixture(scope="module")
def hall(acme: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    site = acme.site
    assert isinstance(site, LineSite)
    hall = Hall(tmp_path_factory.mktemp("lines"), site, [acme])
    yield hall
    with LineSite(site.folder, boxes=site.settings.boxes) as again:
        acme.site = again
        acme.check_books()


@contextmanager
def held_up(gateway: ServedGateway) -> Iterator[None]:
    """The gateway takes connections and answers nothing."""
    os.kill(gateway.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(gateway.process.pid, signal.SIGCONT)


@contextmanager
def held_activation(
    hall: Hall, line: ServedLine, acme: Instance, gateway: ServedGateway
) -> Iterator[tuple[list[httpx2.Response], str]]:
    """Answers and ticket of an activation that runs at the line, and is held up until the block ends."""
    answers: list[httpx2.Response] = []
    with hall.serving(line), ThreadPoolExecutor(1) as caller:
        device, ticket = acme.device(), acme.sell()
        body = {"action": "activate", "ticket": ticket, "context": device.context()}
        with held_up(gateway):
            caller.submit(lambda: answers.append(acme.call("POST", "/transfers", body)))
            wait_until(lambda: line.private.status().running == 1, "the activation to run", deadline=SOON)
            yield answers, ticket


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "fresh"])
def test_drain_of_one_of_two_lines_under_load_costs_no_request(
    hall: Hall, acme: Instance, *, kept: bool
) -> None:
    with hall.line("a-1") as one, hall.line("a-2") as two:
        assert [each.call("GET", LICENSES, auth=acme.auth).status_code for each in (one, two)] == [200, 200]
        with LineLoad((one.front, two.front), LICENSES, acme.auth, kept=kept) as load:
            load.wait_for(40)
            one.process.terminate()
            before = len(load.ended)
            assert one.process.wait(30) == 0
            load.wait_for(40)
        assert load.failed == []
        # It served on until the front would have noticed, every answer the last of its connection.
        last = [each for each in load.ended[before:] if each.line == 0]
        assert last
        assert last[-1].closed
        assert {each.line for each in load.ended[-20:]} == {1}
    assert "line_ended" in one.log
    assert "meter_not_closed" not in one.log


def test_drained_line_comes_back_and_costs_no_request_either(hall: Hall, acme: Instance) -> None:
    with hall.line("a-1") as one, hall.line("a-2") as two:
        with LineLoad((one.front, two.front), LICENSES, acme.auth) as load:
            for line in (one, two, one):
                load.wait_for(20)
                line.private.drain(within=timedelta(seconds=20))
                assert line.process.wait(30) == 0
                line.start()
            load.wait_for(20)
        assert load.failed == []


def test_draining_line_is_unready_at_once_and_finishes_what_runs(
    hall: Hall, acme: Instance, gateway: ServedGateway
) -> None:
    with hall.line("b-1") as line:
        with held_activation(hall, line, acme, gateway) as (answers, _ticket):
            line.private.drain(within=timedelta(seconds=60))
            assert line.ready() == "draining"
            still = line.call("GET", LICENSES, auth=acme.auth)
            assert (still.status_code, still.headers["connection"]) == (200, "close")
            assert line.private.status().state == "draining"
            assert (answers, line.process.poll()) == ([], None)
        wait_until(lambda: answers, "the activation's answer", deadline=SOON)
        assert good(answers[0], 201)["state"] == "issued"
        assert line.process.wait(30) == 0


def test_request_that_runs_for_long_while_its_line_drains_is_answered_through_haproxy(
    hall: Hall, acme: Instance, gateway: ServedGateway
) -> None:
    with hall.line("g-1") as line, running_front() as front:
        behind = FrontedLine(line.directory, front.plain)
        state = front.state(front.line(1, address=f"unix@{line.front}"))
        front.front.apply(state)
        wait_until(lambda: read(behind, acme) == 200, "the front to know the line", deadline=SOON)
        with held_activation(hall, behind, acme, gateway) as (answers, _ticket):
            line.private.drain(within=timedelta(seconds=60))
            # Many times what two failed checks take, after which what the line has would be cut.
            wait_until(lambda: unready_for(front) >= 4, "the front to see the drain for long", deadline=SOON)
            assert answers == []
        wait_until(lambda: answers, "the activation's answer", deadline=SOON)
        assert good(answers[0], 201)["state"] == "issued"
        assert line.process.wait(30) == 0


class FrontedLine(ServedLine):
    """A line as callers of a load balancer reach it."""

    def __init__(self, directory: Path, front: str) -> None:
        super().__init__(directory)
        self._front = front

    def call(self, method: str, path: str, **more: Any) -> httpx2.Response:
        return httpx2.request(method, f"http://{self._front}{path}", timeout=60, **more)


def read(line: ServedLine, instance: Instance) -> int:
    return line.call("GET", LICENSES, auth=instance.auth).status_code


def unready_for(front: FrontSite) -> float:
    """Seconds for which HAProxy has sent the line nothing new."""
    (server,) = (each for each in front.runtime.show_stat(ACME).servers)
    return 0.0 if server.status is ServerStatus.UP else server.last_change.total_seconds()


def test_deadline_ends_a_drain_all_the_same_and_nothing_is_lost(
    hall: Hall, acme: Instance, gateway: ServedGateway
) -> None:
    with hall.line("c-1") as line, held_activation(hall, line, acme, gateway) as (answers, ticket):
        line.private.drain(within=timedelta(seconds=2))
        assert line.process.wait(30) == 0
        wait_until(lambda: answers, "the activation's answer")
        refused(answers[0], 503, "no_line_ready")
    finish(hall, acme, ticket)


def test_second_signal_ends_the_line_at_once_and_nothing_is_lost(
    hall: Hall, acme: Instance, gateway: ServedGateway
) -> None:
    with hall.line("d-1") as line, held_activation(hall, line, acme, gateway) as (answers, ticket):
        line.process.terminate()
        wait_until(lambda: line.ready() == "draining", "the line to drain")
        line.process.terminate()
        assert line.process.wait(20) == 0
        wait_until(lambda: answers, "the activation's answer")
        refused(answers[0], 503, "no_line_ready")
    finish(hall, acme, ticket)


def finish(hall: Hall, acme: Instance, ticket: str) -> None:
    """What a line has left is finished by the next."""
    with hall.line("e-1") as line, hall.serving(line):

        def states() -> list[str]:
            return [each["state"] for each in good(acme.call("GET", f"/tickets/{ticket}"))["licenses"]]

        wait_until(lambda: states() == ["collected"], "what was left to be finished", deadline=SOON)
        wait_until(lambda: line.private.status().open_transfers == 0, "the line to see that", deadline=SOON)


def test_line_without_load_ends_soon(hall: Hall) -> None:
    with hall.line("f-1") as line:
        assert line.stop() == 0
        assert not list(Path(line.directory).glob("*.sock"))

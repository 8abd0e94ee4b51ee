"""Two lines on one instance database, and one of them is killed: nothing is lost, nothing done twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tenancy.database.home import name_database
from tests.api.site import Instance, good
from tests.integration.app.line_load import LineLoad
from tests.integration.app.line_site import SOON, Hall, LineSite, ServedLine
from tests.service.database import EngineKind
from tests.service.gateway import ServedGateway
from tests.service.mariadb import MariaDbServer
from tests.service.placed import make_admin
from tests.service.wait import wait_until

LICENSES = "/acme/api/v1/licenses"
LAST = 150
"""Requests of three seconds: a busy machine takes its time to write."""


@dataclass
class World:
    """What a test has: lines without their platform, and the platform for a look at the books afterwards."""

    acme: Instance
    hall: Hall
    gateway: ServedGateway

    @contextmanager
    def books(self) -> Iterator[Instance]:
        """The instance as staff see it, once the lines have ended."""
        with LineSite(self.hall.site.folder, boxes=self.hall.site.settings.boxes) as again:
            self.acme.site = again
            assert good(self.acme.admin("GET", "/meter-audit")) == {"exact": True, "discrepancies": []}
            yield self.acme

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """The gateway takes connections and answers nothing."""
        os.kill(self.gateway.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.gateway.process.pid, signal.SIGCONT)


@pytest.fixture
def world(
    engine_kind: EngineKind, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("kill")
    with ExitStack() as left:
        gateway = left.enter_context(ServedGateway(folder / "gateway"))
        site = LineSite(
            folder / "site", boxes=f"unix:{folder}/gateway/boxes/gateway.sock", drive_lease_seconds=1.0
        )
        site.start()
        if engine_kind == "mariadb":
            server: MariaDbServer = request.getfixturevalue("mariadb_server")
            register(site, server)
        acme = site.add_instance("high_performance", "acme")
        hall = Hall(folder / "lines", site, [acme])
        home = hall.served[0].home
        assert home.place.kind == engine_kind
        if engine_kind == "mariadb":
            assert home.database_name == name_database(home.instance_id, "mariadb")
            left.callback(server.drop_database, home.database_name)
        yield World(acme, hall, gateway)


def register(site: LineSite, server: MariaDbServer) -> None:
    admin = make_admin(server)
    for name, purpose in (("db-shared", "shared"), ("db-own", "dedicated")):
        body = {
            "name": name,
            "kind": "mariadb",
            "purpose": purpose,
            "site": "karlsruhe",
            "country": "DE",
            "capacity": 100 if purpose == "shared" else 1,
            "address": admin.address,
            "admin_user": admin.user,
            "admin_password": admin.password,
            "shares_address": True,
        }
        good(site.admin("POST", "/servers", body), 201)


def test_killed_line_costs_only_what_it_had_at_hand_and_the_books_stay_exact(world: World) -> None:
    with world.hall.line("a-1") as one, world.hall.line("a-2") as two:
        with LineLoad((one.front, two.front), LICENSES, world.acme.auth) as load:
            load.wait_for(LAST + 20)
            one.kill()
            killed, begun = len(load.ended), load.begun
            load.wait_for(40)
            one.start()
            load.wait_for(60)
        # A database that is busy for too long may be refused by either line: that has changed nothing.
        failed = [each for each in load.failed if each.status != 503 or each.retry_after is None]
        assert all(each.line == 0 and "Connect" not in each.error for each in failed), failed
        assert all(each.number < begun for each in failed), "they were under way"
        assert {each.line for each in load.ended[-20:]} == {0, 1}
    answered = [each for each in load.ended if each.status == 200]
    # What a line has answered for more than a second is written down, whatever becomes of it.
    last = [each for each in load.ended[killed - LAST : killed] if each.line == 0]
    with world.books() as acme:
        counted = acme.meter("web_service_calls")["used"]
    assert len(answered) - len(last) <= counted <= len(load.ended)


def test_activation_at_a_killed_line_is_finished_once_by_another(world: World) -> None:
    with world.hall.line("b-1") as one, world.hall.line("b-2") as two, world.hall.serving(one):
        device, ticket = world.acme.device(), world.acme.sell()
        body = {"action": "activate", "ticket": ticket, "context": device.context()}
        with world.held_up(), ThreadPoolExecutor(1) as caller:
            lost = caller.submit(world.acme.call, "POST", "/transfers", body)
            wait_until(lambda: one.private.status().running == 1, "the activation to run", deadline=SOON)
            wait_until(lambda: one.private.status().open_transfers == 1, "it to be reserved", deadline=SOON)
            one.kill()
            assert isinstance(lost.exception(30), httpx2.HTTPError)
        with world.hall.serving(two):
            transfer = repeated(world.acme, body)
            device.apply(transfer["update"])
            path = f"/transfers/{transfer['transfer_id']}:confirm"
            good(world.acme.call("POST", path, {"receipt": device.receipt()}))
    assert device.fuc == 1
    with world.books() as acme:
        assert acme.meter("activations")["used"] == 1
        assert [each["state"] for each in acme.licenses(ticket)] == ["confirmed_collected"]


def test_line_that_starts_again_finishes_what_it_left_without_being_asked(world: World) -> None:
    with world.hall.line("c-1") as line, world.hall.serving(line):
        device, ticket = world.acme.device(), world.acme.sell()
        body = {"action": "activate", "ticket": ticket, "context": device.context()}
        with world.held_up(), ThreadPoolExecutor(1) as caller:
            lost = caller.submit(world.acme.call, "POST", "/transfers", body)
            wait_until(lambda: line.private.status().open_transfers == 1, "it to be reserved", deadline=SOON)
            line.kill()
            assert lost.exception(30) is not None
        line.start()
        wait_until(
            lambda: states(line, world.acme, ticket) == ["collected"],
            "the transfer to be issued",
            deadline=SOON,
        )
    with world.books() as acme:
        assert acme.meter("activations")["used"] == 1


def repeated(instance: Instance, body: dict[str, Any]) -> dict[str, Any]:
    """What the same request comes to in the end."""

    def issued() -> dict[str, Any] | None:
        answer = instance.call("POST", "/transfers", body)
        assert answer.status_code in (200, 201, 202, 409, 503), answer.text
        found: dict[str, Any] = answer.json()
        return found if found.get("state") == "issued" else None

    return wait_until(issued, "the activation to be issued", deadline=SOON)


def states(line: ServedLine, instance: Instance, ticket: str) -> list[str]:
    answer = line.call("GET", f"/acme/api/v1/tickets/{ticket}", auth=instance.auth)
    return [each["state"] for each in good(answer)["licenses"]]

"""kill -9 at each point between the transactions and the box: nothing stuck, nothing doubled, the same update again."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from app.core.clock import SystemClock
from app.core.ids import new_id
from tests.api.device import Device
from tests.api.site import Instance, Site, good
from tests.service.wait import wait_until

ROOT = Path(__file__).parents[3]
PATIENCE = timedelta(seconds=20)


class KillableSite(Site):
    """The platform in a child process that can be told where to die."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, clock=SystemClock())
        self.settings.data_dir.mkdir()
        self._child: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        self._child = launch(self.settings.data_dir)
        assert self._child.stdout is not None
        word, _, port = self._child.stdout.readline().strip().partition(" ")
        assert word == "ready"
        self.port = int(port)
        return self

    def stop(self) -> None:
        self.hang_up()
        if self._child is not None and self._child.poll() is None:
            self._child.communicate(timeout=30)
            assert self._child.returncode == 0

    def restore(self) -> None:
        """Serve again and die nowhere, whatever a test that failed half-way has left."""
        (self.settings.data_dir / "kill").unlink(missing_ok=True)
        self.hang_up()
        if self._child is None:
            self.start()
        elif self._child.poll() is not None:
            with self._child:
                self.start()

    def kill(self) -> None:
        """kill -9, from outside."""
        assert self._child is not None
        self._child.kill()
        self.wait_for_death()

    def die_at(self, point: str) -> None:
        """Let the child kill itself when it next passes a point."""
        (self.settings.data_dir / "kill").write_text(point)

    def wait_for_death(self) -> None:
        """The child has been killed, and cannot be killed again."""
        assert self._child is not None
        assert self._child.wait(timeout=30) == -signal.SIGKILL
        self._child.communicate()
        (self.settings.data_dir / "kill").unlink(missing_ok=True)
        self.hang_up()

    def flush(self, *, only: str | None = None) -> None:
        """Lines of another process are waited for, not told."""

    def pass_time(self, seconds: float) -> None:
        """Time passes by itself; a line that knows a client not yet asks its database."""


def launch(data_dir: Path) -> subprocess.Popen[str]:
    """Start the platform on a data directory."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.app.kill_child", str(data_dir)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillableSite]:
    with KillableSite(tmp_path_factory.mktemp("kill")) as running:
        yield running


@pytest.fixture(autouse=True)
def restored(site: KillableSite) -> None:
    """A test that failed between a kill and the next start does not take the later ones with it."""
    site.restore()


@pytest.fixture(scope="module")
def instance(site: KillableSite) -> Instance:
    return site.add_instance("dedicated", "acme")


def query(instance: Instance, statement: str) -> list[tuple[Any, ...]]:
    """What the instance's database holds, whoever serves it."""
    with closing(sqlite3.connect(instance.database)) as connection:
        return connection.execute(statement).fetchall()


def counted_calls(instance: Instance) -> list[str]:
    """Request ids of all calls that are written down."""
    rows = query(instance, "SELECT reference FROM ledger_entry WHERE kind = 'web_service_call'")
    return [str(row[0]) for row in rows]


def counted_licenses(instance: Instance, ticket: str) -> list[tuple[str, str]]:
    """Phase and kind of every ledger row about a ticket's licences, in the order of writing."""
    rows = query(
        instance,
        "SELECT phase, ledger_entry.kind FROM ledger_entry JOIN license ON license_id = subject"
        f" WHERE ticket = '{ticket}' ORDER BY ledger_entry.at_us, phase DESC",
    )
    return [(str(phase), str(kind)) for phase, kind in rows]


def check_books(instance: Instance, device: Device) -> None:
    """Nothing is stuck, counters are what the ledger says, the container's counters are 1, 2, 3 …"""
    assert query(instance, "SELECT license_id FROM license WHERE pending_transfer IS NOT NULL") == []
    assert query(instance, "SELECT transfer_id FROM transfer WHERE state = 'reserved'") == []
    fucs = query(instance, f"SELECT fuc FROM transfer WHERE container = '{device.serial}' ORDER BY fuc")
    assert [row[0] for row in fucs] == list(range(1, len(fucs) + 1))
    calls = counted_calls(instance)
    assert len(calls) == len(set(calls))
    instance.check_books()


def journals(site: Site) -> str:
    """Everything that boxes have written down."""
    folder = site.settings.data_dir / "boxes" / "journals"
    return "".join(path.read_bytes().decode("utf-8", "replace") for path in folder.glob("*.journal"))


def ask_until_death(instance: Instance) -> list[str]:
    """Request ids of all calls that were answered."""
    asked = []
    try:
        while True:
            asked.append(instance.call("GET", "/items").headers["request-id"])
    except httpx2.TransportError:
        return asked


ACTIVATION_POINTS = (
    "before_reserve_commit",
    "after_reserve_commit",
    "before_send",
    "in_box",
    "after_result",
    "before_issue_commit",
    "after_issue_commit",
)
# From here on a box has the update on its disk, and from there on the database has it, too.
PROGRAMMED = frozenset(ACTIVATION_POINTS[3:])
ISSUED = frozenset(ACTIVATION_POINTS[6:])


@pytest.mark.parametrize("point", ACTIVATION_POINTS)
def test_activation_survives_a_kill(site: KillableSite, instance: Instance, point: str) -> None:
    device, ticket = instance.device(), instance.sell(2)
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    key = {"Idempotency-Key": new_id("key")}
    journal_before = journals(site)
    site.die_at(point)
    with pytest.raises(httpx2.TransportError):
        instance.call("POST", "/transfers", body, headers=key)
    site.wait_for_death()
    written = journals(site).removeprefix(journal_before)
    stored = query(
        instance, f"SELECT update_text FROM transfer WHERE ticket = '{ticket}' AND state = 'issued'"
    )
    assert (bool(written), bool(stored)) == (point in PROGRAMMED, point in ISSUED)

    site.start()
    first = instance.call("POST", "/transfers", body, headers=key)
    assert first.status_code == (201 if point == "before_reserve_commit" else 200), first.text
    transfer = first.json()
    assert transfer["state"] == "issued"
    assert good(instance.call("POST", "/transfers", body, headers=key)) == transfer
    assert good(instance.call("POST", "/transfers", body)) == transfer
    if written:
        assert json.dumps(transfer["update"]) in written
    if stored:
        assert stored == [(transfer["update"],)]
    device.apply(transfer["update"])
    assert len(device.items) == 2
    good(
        instance.call("POST", f"/transfers/{transfer['transfer_id']}:confirm", {"receipt": device.receipt()})
    )
    assert [each["state"] for each in instance.licenses(ticket)] == ["confirmed_collected"] * 2
    assert (
        sorted(counted_licenses(instance, ticket))
        == [("counted", "activation")] * 2 + [("reserved", "activation")] * 2
    )
    check_books(instance, device)


def test_killed_activation_is_finished_without_anybody_asking(site: KillableSite, instance: Instance) -> None:
    device, ticket = instance.device(), instance.sell()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    site.die_at("before_send")
    with pytest.raises(httpx2.TransportError):
        instance.gate("POST", "/transfers", body)
    site.wait_for_death()
    site.start()
    wait_until(
        lambda: query(instance, f"SELECT 1 FROM transfer WHERE ticket = '{ticket}' AND state = 'issued'"),
        "the transfer that was left over",
        deadline=PATIENCE,
    )
    assert [each["state"] for each in instance.licenses(ticket)] == ["collected"]
    answer = good(instance.gate("POST", "/transfers", {"action": "auto_update", "context": device.context()}))
    device.apply(answer["update"])
    check_books(instance, device)


@pytest.mark.parametrize("point", ["before_confirm_commit", "after_confirm_commit"])
def test_receipt_survives_a_kill(site: KillableSite, instance: Instance, point: str) -> None:
    device, ticket = instance.device(), instance.sell()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    transfer = good(instance.call("POST", "/transfers", body), 201)
    device.apply(transfer["update"])
    path, receipt = f"/transfers/{transfer['transfer_id']}:confirm", {"receipt": device.receipt()}
    site.die_at(point)
    with pytest.raises(httpx2.TransportError):
        instance.call("POST", path, receipt)
    site.wait_for_death()
    site.start()
    answer = instance.call("POST", path, receipt)
    assert good(answer)["state"] == "confirmed"
    assert ("idempotency-replayed" in answer.headers) is (point == "after_confirm_commit")
    types = [kind for _, kind, subject in instance.events() if subject == transfer["transfer_id"]]
    assert types == ["transfer.reserved", "transfer.issued", "transfer.confirmed"]
    check_books(instance, device)


@pytest.mark.parametrize("point", ["before_flush_commit", "after_flush_commit"])
def test_no_call_is_counted_twice_when_its_writing_down_is_killed(
    site: KillableSite, instance: Instance, point: str
) -> None:
    device = instance.device()
    wait_until(lambda: instance.call("GET", "/items").status_code == 200, "the line to have rights")
    before = set(counted_calls(instance))
    site.die_at(point)
    asked = ask_until_death(instance)
    site.wait_for_death()
    found = set(counted_calls(instance)) - before
    if point == "after_flush_commit":
        assert found
    site.start()
    good(instance.call("GET", "/items"))
    assert (set(counted_calls(instance)) - before) & set(asked) == found & set(asked)
    check_books(instance, device)


def test_read_answered_a_second_before_the_kill_is_in_the_ledger(
    site: KillableSite, instance: Instance
) -> None:
    asked = {instance.call("GET", "/items").headers["request-id"] for _ in range(100)}
    wait_until(lambda: asked <= set(counted_calls(instance)), "all calls", deadline=timedelta(seconds=1))
    site.kill()
    assert asked <= set(counted_calls(instance))
    site.start()
    used_before = len(counted_calls(instance))
    request = instance.call("GET", "/items").headers["request-id"]
    wait_until(lambda: request in counted_calls(instance), "the next call", deadline=timedelta(seconds=1))
    meters = good(instance.admin("GET", "/usage"))["meters"]
    assert meters[1]["used"] == used_before + 1
    instance.check_books()


def test_orderly_end_writes_everything_down_and_gives_rights_back(
    site: KillableSite, instance: Instance
) -> None:
    asked = {instance.call("GET", "/items").headers["request-id"] for _ in range(20)}
    site.stop()
    assert asked <= set(counted_calls(instance))
    counters = query(instance, "SELECT taken, used FROM meter_counter WHERE meter = 'web_service_calls'")
    assert counters == [(len(counted_calls(instance)),) * 2]
    site.start()
    instance.check_books()


def test_site_that_a_failed_test_left_dead_and_fused_serves_again(
    site: KillableSite, instance: Instance
) -> None:
    site.die_at("after_flush_commit")
    site.kill()
    site.die_at("after_flush_commit")
    site.restore()
    good(instance.call("GET", "/items"))
    counted = len(counted_calls(instance))
    good(instance.call("GET", "/items"))
    wait_until(lambda: len(counted_calls(instance)) > counted, "the calls to be written down by who lives on")
    instance.check_books()


def test_second_process_on_the_same_data_directory_is_refused(site: KillableSite, instance: Instance) -> None:
    second = launch(site.settings.data_dir)
    output, _ = second.communicate(timeout=30)
    assert (second.returncode, output.strip()) == (3, "refused data_directory_in_use")
    good(instance.call("GET", "/items"))

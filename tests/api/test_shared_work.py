"""What one process does for all of its instances: goes on when one of them is broken, and until the last answer."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from app.container import Platform
from app.core.ids import InstanceId, LineId
from app.licensing import Programmer
from app.operations.directory import InstanceDirectory
from app.operations.fleet_sweep import FULL_SWEEP_EVERY
from fsb_gateway import JobPending, ProgrammingJob, ProgrammingResult
from tests.api.site import Instance, Site, good
from tests.fake.programmer import PassedOn
from tests.service.wait import wait_until


class Gate(PassedOn):
    """A gateway that lets a job through when the test says so."""

    def __init__(self, programmer: Callable[[], Programmer]) -> None:
        self._programmer = programmer
        self.waiting: dict[str, Callable[[], object]] = {}
        self.bound: list[dict[str, Any]] = []

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        self.bound.append(structlog.contextvars.get_contextvars())
        opened, loop = asyncio.Event(), asyncio.get_running_loop()
        self.waiting[job.container_serial] = lambda: loop.call_soon_threadsafe(opened.set)
        await opened.wait()
        return await self.client.program(job, wait=wait)

    @property
    def client(self) -> Programmer:  # type: ignore[override]
        """There once the platform has started."""
        return self._programmer()


class GatedPlatform(Platform):
    """Sends its jobs through a gate."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.gate = Gate(super().make_programmer)

    def make_programmer(self) -> Programmer:
        return self.gate


def runtime_of(instance: Instance) -> Any:
    return instance.site.platform.runtime(InstanceId(instance.instance_id))


def damage(instance: Instance) -> None:
    """Overwrite a database, as a failing disk would."""
    runtime_of(instance).db.close()
    for path in instance.database.parent.glob(f"{instance.database.name}*"):
        path.write_bytes(b"rubbish" * 1000)


def counted_calls(instance: Instance) -> int:
    """Rows of web-service calls in the ledger, as another process sees them."""
    with closing(sqlite3.connect(instance.database)) as connection:
        found = connection.execute("SELECT count(*) FROM ledger_entry WHERE meter = 'web_service_calls'")
        return int(found.fetchone()[0])


def is_open(path: Path) -> bool:
    """Whether this process holds a file open."""
    links = [Path("/proc/self/fd") / each for each in os.listdir("/proc/self/fd")]
    return any(
        link.is_symlink() and os.readlink(link) == str(path) for link in links if os.path.lexists(link)
    )


def test_damaged_database_of_one_instance_stops_nothing_for_the_others(tmp_path: Path) -> None:
    with Site(tmp_path) as first:
        # The damaged one is made first: it comes first in every round.
        broken, sound = (first.add_instance("dedicated", name) for name in ("broken", "sound"))
        for instance in (broken, sound):
            good(instance.call("GET", "/items"))
        wait_until(lambda: counted_calls(broken) and counted_calls(sound), "calls to be written down")
        damage(broken)
        first.run(first.platform.forget_operations())
        assert broken.call("GET", "/items").status_code >= 500
        first.pass_time(FULL_SWEEP_EVERY.total_seconds())
        for platform_work in (first.platform.sweep, first.platform.push_config):
            first.run(platform_work())

        before = counted_calls(sound)
        good(sound.call("GET", "/items"))
        wait_until(lambda: counted_calls(sound) > before, "the sound instance's call to be written down")
        broken.contract(limits={"activations": 7})
        sound.contract(limits={"activations": 8})
        wait_until(lambda: 8 in sound.meter("activations").values(), "the sound instance's contract")
    assert not is_open(first.settings.data_dir / "lock")

    with Site(tmp_path, clock=first.clock) as again:
        sound.site = again
        good(sound.call("GET", "/items"))


def test_call_answered_while_the_server_ends_is_written_down_before_the_last_one_is(tmp_path: Path) -> None:
    with Site(tmp_path, make_platform=GatedPlatform) as site:
        gate: Gate = site.platform.gate  # type: ignore[attr-defined]
        instance = site.add_instance("dedicated", "acme")
        bodies = [
            {"action": "activate", "ticket": instance.sell(), "context": instance.device().context()}
            for _ in range(2)
        ]
        site.flush()
        before = counted_calls(instance)
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(instance.call, "POST", "/transfers", body) for body in bodies]
            try:
                wait_until(lambda: len(gate.waiting) == 2, "both to be at the box")
                site.ask_to_stop()
                first, _ = gate.waiting.values()
                first()
                wait_until(lambda: any(each.done() for each in answers), "one of them to be answered")
                wait_until(lambda: counted_calls(instance) == before + 1, "that one to be written down")
                assert not all(each.done() for each in answers)
            finally:
                for let_through in gate.waiting.values():
                    let_through()
            assert [each.result().status_code for each in answers] == [201, 201]
    assert counted_calls(instance) == before + 2
    bound = gate.bound[0]
    assert (bound["instance"], bound["line"], bound["principal"]) == ("acme", "acme-1", instance.auth[0])
    assert bound["request_id"]


def test_idle_instances_are_swept_seldom(own_site: Site) -> None:
    instance = own_site.add_instance("dedicated", "idle")
    device, ticket = instance.device(), instance.sell()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    good(instance.call("POST", "/transfers", body), 201)
    runtime = runtime_of(instance)
    wait_until(lambda: not runtime.may_have_open_transfers, "the sweep to see that nothing is left")
    own_site.flush()
    wait_until(lambda: runtime.calls.due_in() is None, "calls to be written down")
    runtime.db.close()
    assert not is_open(instance.database)
    own_site.run(own_site.platform.sweep())
    assert not is_open(instance.database)
    own_site.pass_time(FULL_SWEEP_EVERY.total_seconds())
    wait_until(lambda: is_open(instance.database), "the sweep of all instances")


class ShortLivedPlatform(Platform):
    """Its sweep ends the loop it runs in."""

    async def sweep(self) -> None:
        raise asyncio.CancelledError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_server_ends_when_one_of_its_loops_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Site(tmp_path, make_platform=ShortLivedPlatform) as site:
        site.wait_for_end()
    ended = [each for each in caplog.records if each.getMessage() == "part_ended"]
    assert [each.__dict__["part"] for each in ended] == ["sweep"]


def test_end_of_a_platform_reaches_the_lock_whatever_cannot_be_closed(tmp_path: Path) -> None:
    class Stuck(Exception):
        pass

    async def stuck() -> None:
        raise Stuck

    with Site(tmp_path) as site:
        site.platform.gateway.close, close = stuck, site.platform.gateway.close  # type: ignore[method-assign]
    assert not is_open(site.settings.data_dir / "lock")
    asyncio.run(close())


def test_line_asked_for_by_many_threads_is_made_once(own_site: Site) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    start = threading.Barrier(8)

    def make(number: int) -> list[int]:
        made = []
        for each in range(100):
            start.wait(10)
            made.append(id(own_site.platform.line(LineId(f"new-{each}"))))
        return made

    try:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(make, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert all(each == made[0] for each in made)


def test_lines_are_found_while_instances_are_added(own_site: Site) -> None:
    instance = own_site.add_instance("high_availability", "pair")
    directory: InstanceDirectory = own_site.platform.directory
    instance_id = InstanceId(instance.instance_id)
    wait_until(lambda: good(instance.call("GET", "/items")), "the instance to be known")
    assert directory.lines_of(instance_id) == ("pair-1", "pair-2")
    other = own_site.add_instance("dedicated", "later")
    good(other.call("GET", "/items"))
    assert directory.lines_of(instance_id) == ("pair-1", "pair-2")
    assert directory.name_of(InstanceId(other.instance_id)) == "later"
    assert directory.name_of(InstanceId("ins_0")) == "ins_0"

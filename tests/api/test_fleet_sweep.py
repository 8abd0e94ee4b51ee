"""Transfers that nobody drives go on at all instances, whatever is wrong with the gateway or with one of them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.container import Platform
from app.core.db import Database
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId
from app.licensing import InstanceIdentity, Programmer
from app.operations.fleet_sweep import AT_ONCE
from fsb_gateway import FsbUnavailable, InstanceQueueReport, JobPending, ProgrammingJob, ProgrammingResult
from tenancy import InstanceDatabases
from tests.api.site import Instance, Site, good
from tests.api.slow_box import transfer_body
from tests.fake.programmer import PassedOn
from tests.service.wait import wait_until

LEASE = 31


class Meeting(PassedOn):
    """A gateway that is away; then one that lets jobs through when enough of them are there at the same time.

    Attributes:
        enough: None while it is away.
        seen: instances whose jobs have come since.
        most: how many were there together.
    """

    def __init__(self, programmer: Callable[[], Programmer]) -> None:
        self._programmer = programmer
        self.enough: int | None = None
        self.seen: list[str] = []
        self.most = 0
        self._here = 0
        self._met = asyncio.Event()

    @property
    def client(self) -> Programmer:  # type: ignore[override]
        """There once the platform has started."""
        return self._programmer()

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        if self.enough is None:
            raise FsbUnavailable("gone")
        self.seen.append(job.instance_id)
        self._here += 1
        try:
            self.most = max(self.most, self._here)
            if self._here >= self.enough:
                self._met.set()
            await self._met.wait()
        finally:
            self._here -= 1
        return await self.client.program(job, wait=timedelta(seconds=1))

    async def queue(self, instance_id: str, *, pool: str | None = None) -> InstanceQueueReport:
        if self.enough is None:
            raise FsbUnavailable("gone")
        return await super().queue(instance_id, pool=pool)


class MeetingPlatform(Platform):
    """Its jobs meet."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.meeting = Meeting(super().make_programmer)

    def make_programmer(self) -> Programmer:
        return self.meeting


def is_issued(instance: Instance) -> bool:
    """Whether its transfers have all ended well, without asking anybody who might do something about it."""
    with closing(sqlite3.connect(instance.database)) as connection:
        states = {state for (state,) in connection.execute("SELECT state FROM transfer")}
    return states == {"issued"}


def reserve(instance: Instance) -> None:
    good(instance.call("POST", "/transfers", transfer_body(instance)), 202)


def test_instances_are_swept_side_by_side_and_none_is_begun_with_at_the_end(tmp_path: Path) -> None:
    with Site(tmp_path, make_platform=MeetingPlatform, program_wait_seconds=0.05) as site:
        meeting: Meeting = site.platform.meeting  # type: ignore[attr-defined]
        instances = [site.add_instance("dedicated", f"many-{number}") for number in range(AT_ONCE)]
        for instance in instances:
            reserve(instance)
        site.platform.stopping.set()
        site.run(site.platform.sweep())
        meeting.enough = len(instances)
        site.pass_time(LEASE)
        site.run(site.platform.sweep())
        assert meeting.seen == []
        site.platform.stopping.clear()
        wait_until(lambda: all(map(is_issued, instances)), "all of them to be there together")
        assert meeting.most == len(instances)


def test_transfer_whose_job_cannot_be_made_is_swept_like_any_other(
    own_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = own_site.add_instance("dedicated", "acme")
    body = transfer_body(instance)
    runtime = own_site.platform.runtime(InstanceId(instance.instance_id))
    wait_until(lambda: not runtime.may_have_open_transfers, "the sweep to see that nothing is left")

    def fail() -> InstanceIdentity:
        raise DatabaseUnavailable("busy")

    with monkeypatch.context() as patch:
        patch.setattr(runtime.transfers._driver, "_identity", fail)
        assert instance.call("POST", "/transfers", body).status_code == 503
    assert runtime.may_have_open_transfers
    own_site.pass_time(LEASE)
    wait_until(lambda: is_issued(instance), "the sweep")


class AwayDatabases:
    """Databases of which one does not answer at first."""

    def __init__(self, databases: InstanceDatabases, away: InstanceId) -> None:
        self._databases = databases
        self._away = away
        self.is_away = True
        self.asked = 0

    def open(self, instance_id: InstanceId) -> Database:
        if instance_id == self._away and self.is_away:
            self.asked += 1
            raise DatabaseUnavailable("The database does not answer.")
        return self._databases.open(instance_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._databases, name)


def test_left_over_of_an_instance_whose_database_was_away_at_the_start_is_finished_later(
    tmp_path: Path,
) -> None:
    with Site(tmp_path, make_platform=MeetingPlatform, program_wait_seconds=0.05) as site:
        broken, sound = (site.add_instance("dedicated", name) for name in ("broken", "sound"))
        for instance in (broken, sound):
            reserve(instance)
    site.pass_time(1)
    made: list[AwayDatabases] = []

    class LatePlatform(Platform):
        def make_databases(self) -> InstanceDatabases:
            made.append(AwayDatabases(super().make_databases(), InstanceId(broken.instance_id)))
            return made[0]

    with Site(tmp_path, clock=site.clock, make_platform=LatePlatform) as again:
        (databases,) = made
        wait_until(lambda: is_issued(sound), "what the other one has left over")
        before = wait_until(lambda: databases.asked, "the first attempt")
        again.pass_time(1)
        wait_until(lambda: databases.asked > before, "another attempt")
        assert not is_issued(broken)
        databases.is_away = False

        def finished() -> bool:
            again.pass_time(1)
            return is_issued(broken)

        wait_until(finished, "what it has left over")
        before = databases.asked
        again.run(again.platform.sweep())
        assert databases.asked == before

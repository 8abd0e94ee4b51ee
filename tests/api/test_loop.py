"""What happens without anybody asking: every loop is started, and does its work in a real server."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app import main
from app.container import Platform
from tenancy.lifecycle.export import LONGEST_KEPT
from tests.api.site import Site, good
from tests.service.wait import wait_until

README = Path(main.__file__).parent / "workers" / "README.md"
DAY = timedelta(days=1).total_seconds()
# Which part of the platform each loop calls; the flusher is woken by meters, operations, boxes, load balancers and
# healing have their own.
CALLS = {
    "operation_sweep": "sweep_operations",
    "sweep": "sweep",
    "follow": "follow_instances",
    "denied": "follow_denied",
    "push": "push_config",
    "tell_customers": "tell_customers",
    "expire": "expire_requests",
    "lines": "keep_lines",
    "end_lines": "end_lines",
    "sign": "sign_checkpoints",
    "forget": "forget_operations",
    "delete_exports": "delete_exports",
}


def documented() -> set[str]:
    """The loops in the table of the package."""
    return set(re.findall(r"^ ([a-z_]+) {2,}\S", README.read_text(), re.M))


class NotingPlatform(Platform):
    """Notes which of its loops' work has been called."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.called: set[str] = set()
        for name in CALLS.values():
            vars(self)[name] = self._noting(name)

    def _noting(self, name: str) -> Any:
        work = getattr(self, name)

        async def note() -> None:
            self.called.add(name)
            await work()

        return note


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops that come round once a minute or an hour come round at once."""
    for name in ("_EXPIRE_EVERY_SECONDS", "_FORGET_EVERY_SECONDS", "_SIGN_EVERY_SECONDS"):
        monkeypatch.setattr(main, name, 0.1)


async def running() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


def test_every_loop_of_the_table_is_started_and_every_one_started_is_in_it(own_site: Site) -> None:
    names = {name for name in own_site.run(running()) if re.fullmatch(r"[a-z_]+", name)}
    assert names == documented()
    assert documented() == set(CALLS) | {"flush", "operations", "boxes", "probe", "fronts", "reconcile"}


@pytest.mark.usefixtures("hasty")
def test_every_loop_does_its_work(tmp_path: Path) -> None:
    with Site(tmp_path, make_platform=NotingPlatform) as site:
        platform = site.platform
        assert isinstance(platform, NotingPlatform)
        wait_until(lambda: platform.called == set(CALLS.values()), "all loops to come round")


def test_isolation_is_tried_without_anybody_asking(tmp_path: Path) -> None:
    with Site(tmp_path, probe_every_seconds=0.2) as site:
        names = {site.add_instance("dedicated", name).name for name in ("alpha", "beta")}

        def pairs() -> set[str]:
            rounds = good(site.admin("GET", "/probes/isolation"))
            return {check["instance"] for each in rounds for check in each["checks"]}

        assert wait_until(lambda: pairs() >= names and pairs(), "a round") == names


@pytest.mark.usefixtures("hasty")
def test_request_nobody_decides_about_is_closed_without_anybody_looking(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        instance = site.add_instance("datacenter", "acme")
        asked = good(instance.admin("POST", "/firm-key:install", {"reason": "a new box"}), 202)
        site.pass_time(DAY + 1)
        query = "SELECT state FROM approval WHERE approval_id = ?"
        wait_until(lambda: stored(site, query, asked["approval_id"]) == "expired", "the request to expire")


@pytest.mark.usefixtures("hasty")
def test_export_nobody_fetches_is_deleted(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        instance = site.add_instance("datacenter", "acme")
        site.finish(good(instance.admin("POST", "/exports"), 202)["operation_id"])
        (export,) = good(instance.admin("GET", "/exports"))
        assert export["deleted_at"] is None
        site.pass_time(LONGEST_KEPT.total_seconds() + 1)
        wait_until(lambda: good(instance.admin("GET", "/exports"))[0]["deleted_at"], "the file to be deleted")


def stored(site: Site, query: str, key: str) -> Any:
    """One value out of the platform database: reading it is no request."""
    with closing(sqlite3.connect(site.settings.data_dir / "platform.db")) as connection:
        return connection.execute(query, [key]).fetchone()[0]

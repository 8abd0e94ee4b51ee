"""Control that has its lines as processes: made, kept, told, ended; and that is killed itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.container import Platform
from app.core.ids import InstanceId, LineId
from tenancy.line_file import LINES_DIRECTORY, LineFile
from tenancy.runner.port import LineLimits
from tests.api.lifecycle import approve_asked
from tests.api.site import Instance, good
from tests.integration.app.line_site import CHECK_INTERVAL_SECONDS, LineSite, ServedLine, limits_of
from tests.service.gateway import ServedGateway
from tests.service.wait import wait_until

SOON = timedelta(seconds=60)
LIMITS = "memory_mb=900 open_files=4000; twin-1: memory_mb=700 open_files=300"


class QuickPlatform(Platform):
    """Its lines drain as behind a front that asks often."""

    def line_file(self, line_id: LineId, *, limits: LineLimits | None = None) -> LineFile:
        return replace(
            super().line_file(line_id, limits=limits), check_interval_seconds=CHECK_INTERVAL_SECONDS
        )


class FleetSite(LineSite):
    """A site whose lines are processes; they outlive it."""

    def lines(self, instance: Instance) -> dict[str, dict[str, Any]]:
        return {each["line_id"]: each for each in good(instance.admin("GET", "/lines"))}

    def until(self, instance: Instance, line: str, **wanted: Any) -> dict[str, Any]:
        """The line as staff see it, once it is like that."""

        def look() -> dict[str, Any] | None:
            found = self.lines(instance).get(line)
            is_so = found is not None and all(found[name] == value for name, value in wanted.items())
            return found if is_so else None

        return wait_until(look, f"{line} to be {wanted}", deadline=SOON)

    def door(self, line: str) -> ServedLine:
        """A line as the front reaches it."""
        return ServedLine(self.settings.data_dir / LINES_DIRECTORY / line)

    def end_lines(self) -> None:
        """So that nothing is left of a test."""
        for each in (self.settings.data_dir / LINES_DIRECTORY).glob("*/line.sock"):
            os.kill(self.door(each.parent.name).private.status().process_id, signal.SIGKILL)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    with ServedGateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@contextmanager
def fleet(folder: Path, gateway: ServedGateway) -> Iterator[FleetSite]:
    boxes = f"unix:{gateway.data_dir}/boxes/gateway.sock"
    settings = {"boxes": boxes, "lines": "processes", "line_limits": LIMITS}
    with FleetSite(folder, make_platform=QuickPlatform, **settings) as site:
        yield site


def test_lines_come_serve_go_and_outlive_control(tmp_path: Path, gateway: ServedGateway) -> None:
    with fleet(tmp_path, gateway) as site:
        try:
            twin = site.add_instance("high_availability", "twin")
            # Its line starts beside the others.
            site.add_instance("datacenter", "beta")
            first = site.until(twin, "twin-1", state="ready")
            second = site.until(twin, "twin-2", state="ready")
            _limited(first, second)
            site.line = site.door("twin-1")
            assert good(twin.call("GET", "/licenses"))["data"] == []
            os.kill(first["process_id"], signal.SIGKILL)
            _temporary(site, twin)
            _restarted(site, twin, first)
            _until_served(site.door("shared-1"), "beta")
        except BaseException:
            site.end_lines()
            raise
        site.line = None
    try:
        assert site.door("twin-2").ready() == "ready", "control is gone"
        with fleet(tmp_path, gateway) as again:
            twin.site = again
            adopted = again.until(twin, "twin-2", state="ready")
            assert (adopted["process_id"], adopted["restarts"]) == (second["process_id"], 0)
            _told(again)
    finally:
        site.end_lines()


def _limited(first: dict[str, Any], second: dict[str, Any]) -> None:
    """As the setting says of all lines, and of one."""
    one, other = (limits_of(each["process_id"]) for each in (first, second))
    assert one["Max data size"] == (str(700 * 2**20),) * 2
    assert one["Max open files"] == ("300", "300")
    assert other["Max data size"] == (str(900 * 2**20),) * 2
    assert other["Max open files"] == ("4000", "4000")


def _restarted(site: FleetSite, twin: Instance, before: dict[str, Any]) -> None:
    after = site.until(twin, "twin-1", state="ready", restarts=1)
    assert after["process_id"] != before["process_id"]
    assert after["problem"] == "signal 9"
    assert good(twin.call("GET", "/licenses"))["data"] == []


def _temporary(site: FleetSite, twin: Instance) -> None:
    """A third line: its box, its process, and both gone at its end; with its files."""
    ends_at = (site.clock.now() + timedelta(hours=1)).isoformat()
    asked = good(twin.admin("POST", "/lines", {"ends_at": ends_at, "reason": "ticket 4711"}), 202)
    approve_asked(site, asked)
    third = site.until(twin, "twin-3", state="ready", in_service=True)
    door = site.door("twin-3")
    site.line, usual = door, site.line
    assert good(twin.call("GET", "/licenses"))["data"] == []
    site.line = usual
    ended = twin.admin("DELETE", "/lines/twin-3", headers={"If-Match": f'"{third["version"]}"'})
    site.finish(good(ended, 202)["operation_id"], "succeeded")
    assert "twin-3" not in site.lines(twin)
    wait_until(lambda: not door.directory.exists(), "the directory to be gone", deadline=SOON)
    with pytest.raises(ProcessLookupError):
        os.kill(third["process_id"], 0)


def _told(site: FleetSite) -> None:
    """Each new instance of a shared edition is told to the line that serves them all, whoever has started it."""
    gamma = site.add_instance("datacenter", "gamma")
    shown = site.until(gamma, "shared-1", state="ready")
    listed = site.platform.lines.front_lines(InstanceId(gamma.instance_id))
    assert [each.line_id for each in listed] == [LineId("shared-1")]
    for name in ("beta", "gamma"):
        _until_served(site.door("shared-1"), name)
    assert not _knows(site.door("shared-1"), "nobody")
    assert shown["applied_version"] is not None


def _until_served(door: ServedLine, name: str) -> None:
    wait_until(lambda: _knows(door, name), f"{name} to be served", deadline=SOON)


def _knows(door: ServedLine, name: str) -> bool:
    answer: httpx2.Response = door.call("GET", f"/{name}/gateways/v1/tickets/AAAAA-AAAAA-AAAAA-AAAAA-AAAAA")
    return bool(answer.json().get("code") != "instance_not_found")

"""`WOPS_LINES=processes`: control serves no instance, and asks lines before an instance ends."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.container import Platform
from app.core.errors import InputInvalid
from app.core.ids import InstanceId, LineId
from app.core.lock import locked
from app.embedded_lines import CONTROL_LINE
from app.line_setup import LinesRunning
from app.operations.instance_lines import ServedLines
from app.operations.remote_line import LineUnreachable, RemoteLines
from app.settings import Settings
from tenancy.front.denied_file import DENIED_FILE
from tenancy.line_file import INSTANCES_FILE, LINES_DIRECTORY, line_directory, write_instances, write_line
from tenancy.runner.port import Runner
from tests.api.site import Instance, good, refused
from tests.fake.runner import FakeRunner
from tests.integration.app.line_site import CONNECTIONS, SOON, LineSite, ServedLine, activate
from tests.service.wait import wait_until


class QuietPlatform(Platform):
    """Control without a runner of its own: the test starts the lines."""

    def make_line_runner(self) -> Runner:
        return FakeRunner()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LineSite]:
    folder = tmp_path_factory.mktemp("site")
    with LineSite(
        folder, make_platform=QuietPlatform, lines="processes", boxes="processes", drive_lease_seconds=1.0
    ) as site:
        yield site


@pytest.fixture(scope="module")
def acme(site: LineSite) -> Instance:
    return site.add_instance("high_performance", "acme")


def served_line(site: LineSite, instance: Instance, name: str, data_dir: Path) -> ServedLine:
    """A line that no runner knows of, in a data directory of its own."""
    directory = line_directory(data_dir, LineId(name))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_line(directory, site.platform.line_file(LineId(name)))
    write_instances(directory, [site.listed_instance(instance)], connections=CONNECTIONS)
    return ServedLine(directory)


def test_boxes_in_this_process_are_out_of_reach_for_lines(tmp_path: Path) -> None:
    async def start() -> None:
        await Platform(Settings(data_dir=tmp_path / "data", port=0, lines="processes")).start()

    with pytest.raises(InputInvalid) as wrong:
        asyncio.run(start())
    assert wrong.value.detail["field"] == "lines"
    assert not (tmp_path / "data").exists()


def test_platform_starts_though_no_line_can_be_told_who_is_denied(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path_factory.mktemp("full")
    lines = folder / "data" / LINES_DIRECTORY
    # Removed as the directory of a line that is not wanted, once the platform has started.
    (lines / f"{DENIED_FILE}.new").mkdir(mode=0o700, parents=True)
    with LineSite(folder, make_platform=QuietPlatform, lines="processes", boxes="processes") as site:
        assert site.call("GET", "/livez").status_code == 200
        assert "denied_not_followed" in caplog.text
        wait_until((lines / DENIED_FILE).is_file, "lines to be told", deadline=SOON)


def test_platform_does_not_start_with_lines_of_its_own_while_processes_serve_them(
    site: LineSite, acme: Instance, tmp_path: Path
) -> None:
    data = tmp_path / "data"

    async def start() -> None:
        platform = Platform(Settings(data_dir=data, port=0, lines="embedded"))
        try:
            await platform.start()
        finally:
            await platform.stop()

    with served_line(site, acme, "own-4", data) as line:
        # One that does nothing for the moment will go on doing it.
        line.process.send_signal(signal.SIGSTOP)
        with pytest.raises(LinesRunning) as refused:
            asyncio.run(start())
        line.process.send_signal(signal.SIGCONT)
        assert refused.value.detail["lines"] == ["own-4"]
        assert not (data / "platform.db").exists()
    asyncio.run(start())
    assert not line.directory.exists(), "nobody starts it any more"


def test_control_serves_no_instance_but_portal_staff_and_probe(site: LineSite, acme: Instance) -> None:
    for name in ("acme", "nobody"):
        answer = site.call("GET", f"/{name}/api/v1/items", auth=acme.auth)
        refused(answer, 404, "instance_served_elsewhere")
    good(acme.portal("GET", "/access"))
    good(acme.admin("GET", "/usage"))
    assert {each.line_id for each in site.platform.runtimes()} == {CONTROL_LINE}
    result = site.run(site.platform.isolation_probe.run()).value
    assert "broken" not in {each.outcome for each in result.checks}


def test_probe_of_control_knocks_at_the_routes_that_lines_serve(site: LineSite, acme: Instance) -> None:
    site.add_instance("high_performance", "other")
    result = site.run(site.platform.isolation_probe.run()).value
    outcomes = {each.outcome for each in result.checks if each.check == "foreign_credentials"}
    assert outcomes == {"held"}


def test_control_leaves_rights_and_transfers_to_the_lines(
    site: LineSite, acme: Instance, tmp_path: Path
) -> None:
    with served_line(site, acme, "own-1", tmp_path) as line:
        site.line = line
        try:
            good(activate(acme), 201)
            good(acme.call("GET", "/licenses"))
        finally:
            site.line = None
        good(acme.portal("GET", "/access"))
        good(acme.admin("GET", "/usage"))
        site.run(site.platform.sweep())
    # The line has given its rights back; control has never had any.
    leases = {row[0] for row in lease_rows(acme)}
    assert leases == {"own-1"}
    good(acme.admin("GET", "/meter-audit"))


def lease_rows(instance: Instance) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(instance.database)) as connection:
        return connection.execute("SELECT line FROM call_lease").fetchall()


def test_audit_chain_that_a_line_has_written_to_is_signed(
    site: LineSite, acme: Instance, tmp_path: Path
) -> None:
    site.run(site.platform.sign_checkpoints())
    with served_line(site, acme, "own-3", tmp_path) as line:
        site.line = line
        try:
            acme.sell()
        finally:
            site.line = None
    site.run(site.platform.sign_checkpoints())
    newest = acme.events()[-1][0]
    assert newest in signed_up_to(site, acme)


def signed_up_to(site: LineSite, instance: Instance) -> set[int]:
    """Numbers of the entries of an instance's audit chain that a checkpoint names."""
    with closing(sqlite3.connect(site.settings.platform_file)) as connection:
        rows = connection.execute("SELECT links FROM audit_checkpoint").fetchall()
    return {
        number for (links,) in rows for chain, number, _ in json.loads(links) if chain == instance.instance_id
    }


def remote_lines(site: LineSite, data_dir: Path) -> RemoteLines:
    platform = site.platform
    own = ServedLines(
        lambda: [platform.line(CONTROL_LINE)], open_runtime=platform.runtime, follow=platform.directory.follow
    )
    return RemoteLines(data_dir, databases=platform.databases, own=own)


def test_line_forgets_an_instance_that_its_file_leaves_out_before_the_line_has_taken_that_over(
    site: LineSite, tmp_path: Path
) -> None:
    left = site.add_instance("dedicated", "left")
    key, lines = InstanceId(left.instance_id), remote_lines(site, tmp_path)
    with served_line(site, left, "own-5", tmp_path) as line:
        write_instances(line.directory, [site.listed_instance(left)], connections=CONNECTIONS + 1)
        line.wait_for(2)
        good(line.call("GET", "/left/api/v1/items", auth=left.auth))
        # An older version is never taken over: as if the line had not come to it yet.
        (line.directory / INSTANCES_FILE).unlink()
        write_instances(line.directory, [], connections=CONNECTIONS)
        assert line.private.status().open_instances == 1
        site.run(lines.forget(key))
        assert line.private.status().open_instances == 0
    # One that does not run has nothing open, and would not open this one.
    site.run(lines.forget(key))
    with locked(line.directory), pytest.raises(LineUnreachable):
        site.run(lines.forget(key))


def test_end_of_an_instance_waits_for_a_line_that_does_not_answer(site: LineSite, tmp_path: Path) -> None:
    gone, stays = (site.add_instance("dedicated", name) for name in ("gone", "stays"))
    platform, key = site.platform, InstanceId(gone.instance_id)
    lines = remote_lines(site, tmp_path)
    line = served_line(site, gone, "own-2", tmp_path)
    assert not site.run(lines.settle(key))
    with pytest.raises(LineUnreachable):
        site.run(lines.forget(key))
    # Others do not wait for a line that has nothing to do with them, nor for one that has no files and no process.
    (tmp_path / LINES_DIRECTORY / "own-6").mkdir()
    assert site.run(lines.settle(InstanceId(stays.instance_id)))
    site.run(lines.forget(InstanceId(stays.instance_id)))
    with line:
        good(line.call("GET", "/gone/api/v1/items", auth=gone.auth))
        assert site.run(lines.settle(key))
        site.run(lines.forget(key))
        assert line.private.status().open_instances == 0
        answer = line.call("GET", "/gone/api/v1/items", auth=gone.auth)
        refused(answer, 404, "instance_not_found")
    assert CONTROL_LINE not in {each.line_id for each in platform.runtimes() if each.instance_id == key}

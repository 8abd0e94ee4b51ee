"""The loop that has the processes of lines as the platform database wants them; with a runner of values."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.clock import SystemClock
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId, LineId
from app.operations.line_keeper import LineKeeper, LineKeeperParts
from tenancy.database.home import DatabaseHome, ServerPlace
from tenancy.errors import InstanceDatabaseMissing
from tenancy.line.record import ServedInstance
from tenancy.line_file import LineFile, line_directory, read_instances, read_line
from tenancy.server.record import ServerId
from tests.fake.runner import FakeRunner
from tests.service.wait import until
from tests.unit.app.operations.test_line_plan import served

SECRET = "sesame-4711"
ACME, BETA = LineId("acme-1"), LineId("beta-1")


class Fleet:
    """A platform database of values, and a keeper over it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.instances: list[ServedInstance] = []
        self.change = 0
        self.reads = 0
        self.away: set[str] = set()
        self.unsure: set[str] = set()
        self.runner = FakeRunner()
        self.keeper = self.make_keeper()

    def make_keeper(self) -> LineKeeper:
        parts = LineKeeperParts(
            runner=self.runner,
            list_served=self._list,
            last_change=lambda: self.change,
            line_file=self._line_file,
            home_of=self._home_of,
            connections=64,
        )
        return LineKeeper(self.data_dir, parts, clock=SystemClock())

    def serve(self, *instances: ServedInstance) -> None:
        self.instances = list(instances)
        self.change += 1

    def directory(self, line_id: LineId) -> Path:
        return line_directory(self.data_dir, line_id)

    def version(self, line_id: LineId) -> int:
        return read_instances(self.directory(line_id)).version

    async def states(self) -> dict[str, str]:
        return {line_id: seen.state for line_id, seen in (await self.runner.observe()).items()}

    def _list(self) -> list[ServedInstance]:
        self.reads += 1
        return self.instances

    def _line_file(self, line_id: LineId) -> LineFile:
        key = bytes(range(32))
        return LineFile(line_id=line_id, gateway="unix:/run/jobs.sock", check_key=key, cursor_key=key)

    def _home_of(self, instance_id: InstanceId) -> DatabaseHome:
        if instance_id in self.away:
            raise InstanceDatabaseMissing("The instance's database does not exist.")
        if instance_id in self.unsure:
            raise DatabaseUnavailable("The platform database does not answer.")
        place = ServerPlace(server_id=ServerId("srv_1"), kind="mariadb", address="db.example:3306")
        return DatabaseHome(
            instance_id=instance_id,
            place=place,
            database_name=f"wops_{instance_id}",
            user_name=f"wops_{instance_id}",
            password=SECRET,
        )


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def run(body: Callable[[], Awaitable[Any]]) -> None:
    async def main() -> None:
        await body()

    asyncio.run(main())


def test_wanted_lines_are_told_what_they_serve_and_run(fleet: Fleet) -> None:
    fleet.serve(served("acme", "acme-1", "acme-2"), served("beta", "shared-1"), served("gamma", "shared-1"))

    async def body() -> None:
        await fleet.keeper.look()
        assert await fleet.states() == {"acme-1": "ready", "acme-2": "ready", "shared-1": "ready"}
        shared = read_instances(fleet.directory(LineId("shared-1")))
        assert [(each.name, each.home.password) for each in shared.instances] == [
            ("beta", SECRET),
            ("gamma", SECRET),
        ]
        assert (shared.version, shared.connections) == (1, 64)
        assert read_instances(fleet.directory(ACME)).connections == 32
        assert read_line(fleet.directory(ACME)).line_id == ACME
        assert await fleet.keeper.plan() == ()
        await fleet.keeper.look()
        assert [verb for verb, _ in fleet.runner.calls] == ["ensure"] * 3

    run(body)


def test_version_grows_with_what_differs_and_with_nothing_else(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("beta", "shared-1"))
        await fleet.keeper.look()
        fleet.change += 1
        await fleet.keeper.look()
        assert fleet.version(LineId("shared-1")) == 1
        fleet.serve(served("beta", "shared-1"), served("gamma", "shared-1"))
        await fleet.keeper.look()
        assert fleet.version(LineId("shared-1")) == 2
        # Another control writes nothing that is there already.
        fleet.keeper = fleet.make_keeper()
        await fleet.keeper.look()
        assert fleet.version(LineId("shared-1")) == 2

    run(body)


def test_lines_share_the_connections_anew_when_one_more_comes_and_when_it_goes(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("acme", "acme-1", "acme-2"))
        await fleet.keeper.look()
        fleet.serve(served("acme", "acme-1", "acme-2", "acme-3"))
        await fleet.keeper.look()
        names = [LineId(f"acme-{n}") for n in (1, 2, 3)]
        assert [read_instances(fleet.directory(each)).connections for each in names] == [21, 21, 21]
        fleet.serve(served("acme", "acme-1", "acme-2"))
        await fleet.keeper.look()
        assert read_instances(fleet.directory(ACME)).connections == 32

    run(body)


def test_platform_database_is_asked_for_one_number_while_nothing_changes(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("acme", "acme-1"))
        for _ in range(5):
            await fleet.keeper.look()
        assert fleet.reads == 1
        fleet.serve(served("acme", "acme-1"), served("beta", "beta-1"))
        await fleet.keeper.look()
        assert (fleet.reads, await fleet.states()) == (2, {"acme-1": "ready", "beta-1": "ready"})

    run(body)


def test_line_that_is_wanted_no_more_finishes_what_it_has_and_leaves_no_secret(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("acme", "acme-1"), served("beta", "beta-1"))
        await fleet.keeper.look()
        fleet.runner.machine.processes[BETA].has_request = True
        fleet.serve(served("acme", "acme-1"))
        await fleet.keeper.look()
        await until(lambda: _has(fleet, BETA, "draining"), "the drain")
        await fleet.keeper.look()
        assert fleet.directory(BETA).exists(), "its process still reads there"
        assert fleet.runner.calls.count(("drain", BETA)) == 1
        fleet.runner.machine.processes[BETA].has_request = False
        fleet.runner.tell()
        await until(lambda: _is_gone(fleet, BETA), "its end")
        await fleet.keeper.look()
        assert not fleet.directory(BETA).exists()
        assert await fleet.states() == {"acme-1": "ready"}

    run(body)


def test_line_that_comes_back_while_it_drains_is_begun_again_after_that(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("acme", "acme-1"))
        await fleet.keeper.look()
        first = fleet.runner.machine.processes[ACME]
        first.has_request = True
        fleet.serve()
        await fleet.keeper.look()
        await until(lambda: _has(fleet, ACME, "draining"), "the drain")
        fleet.serve(served("acme", "acme-1"))
        await fleet.keeper.look()
        first.has_request = False
        fleet.runner.tell()
        await until(lambda: _is_gone(fleet, ACME), "its end")
        await fleet.keeper.look()
        assert await fleet.states() == {"acme-1": "ready"}
        assert fleet.runner.machine.processes[ACME] is not first

    run(body)


def test_line_that_nobody_wants_is_found_and_ended_at_start(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.runner.machine.start(BETA)
        left = fleet.directory(LineId("old-1"))
        left.mkdir(parents=True)
        (left / "instances.json").write_text("{}")
        fleet.serve(served("acme", "acme-1"))
        await fleet.keeper.look()
        await until(lambda: _is_gone(fleet, BETA), "its end")
        assert not left.exists()

    run(body)


def test_instance_whose_database_cannot_be_found_is_left_out_and_comes_back(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        shared = LineId("shared-1")
        fleet.serve(served("beta", "shared-1"), served("gamma", "shared-1"))
        fleet.away.add("ins_gamma")
        for _ in range(3):
            await fleet.keeper.look()
        assert [each.name for each in read_instances(fleet.directory(shared)).instances] == ["beta"]
        told = [each for each in caplog.records if each.message == "line_without_database"]
        assert len(told) == 1
        fleet.away.clear()
        fleet.change += 1
        await fleet.keeper.look()
        assert [each.name for each in read_instances(fleet.directory(shared)).instances] == ["beta", "gamma"]

    run(body)


@pytest.mark.parametrize("is_new", [False, True], ids=["same control", "next control"])
def test_instance_of_which_nobody_can_say_where_it_is_stays_where_its_line_has_it(
    fleet: Fleet, caplog: pytest.LogCaptureFixture, *, is_new: bool
) -> None:
    async def body() -> None:
        shared = LineId("shared-1")
        fleet.serve(served("beta", "shared-1"), served("gamma", "shared-1"))
        await fleet.keeper.look()
        fleet.unsure |= {"ins_gamma", "ins_delta"}
        if is_new:
            fleet.keeper = fleet.make_keeper()
        fleet.serve(
            served("beta", "shared-1"),
            served("delta", "shared-1"),
            served("renamed", "shared-1", owner="gamma"),
        )
        for _ in range(3):
            await fleet.keeper.look()
        known = read_instances(fleet.directory(shared)).instances
        assert [(each.instance_id, each.name) for each in known] == [
            ("ins_beta", "beta"),
            ("ins_gamma", "renamed"),
        ]
        told = [each for each in caplog.records if each.message == "line_database_unknown"]
        assert len(told) == 2, "once for each"
        # It needs no change of anything to be asked again.
        fleet.unsure.clear()
        await fleet.keeper.look()
        assert len(read_instances(fleet.directory(shared)).instances) == 3

    run(body)


def test_look_at_the_plan_takes_no_change_away_from_the_next_turn(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("beta", "shared-1"))
        await fleet.keeper.look()
        fleet.serve(served("beta", "shared-1"), served("gamma", "shared-1"))
        await fleet.keeper.plan()
        await fleet.keeper.look()
        assert len(read_instances(fleet.directory(LineId("shared-1"))).instances) == 2

    run(body)


def test_line_starts_with_what_it_was_told_before_while_nothing_can_be_written(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        fleet.serve(served("beta", "shared-1"))
        await fleet.keeper.look()
        # Another control, and nothing runs any more.
        fleet.runner = FakeRunner()
        fleet.keeper = fleet.make_keeper()
        fleet.serve(served("beta", "shared-1"), served("gamma", "shared-1"), served("acme", "acme-1"))
        with monkeypatch.context() as patch:
            patch.setattr("tenancy.line_file.replace_file", _no_space)
            for _ in range(3):
                await fleet.keeper.look()
            # The other one does not know yet what it is.
            assert await fleet.states() == {"shared-1": "ready"}
            assert len([each for each in caplog.records if each.message == "line_not_told"]) == 2
        await fleet.keeper.look()
        assert len(read_instances(fleet.directory(LineId("shared-1"))).instances) == 2
        assert await fleet.states() == {"shared-1": "ready", "acme-1": "ready"}

    run(body)


def _no_space(path: Path, _content: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_frozen_and_waiting_lines_are_left_to_others(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("acme", "acme-1"), served("beta", "beta-1"))
        await fleet.keeper.look()
        fleet.runner.machine.processes[ACME].is_frozen = True
        fleet.runner.crash(BETA)
        assert await fleet.keeper.plan() == ()
        await fleet.keeper.restart(ACME)
        assert (await fleet.states())["acme-1"] == "ready"

    run(body)


def test_damaged_file_of_a_line_is_written_again_with_a_newer_version(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("acme", "acme-1"))
        await fleet.keeper.look()
        (fleet.directory(ACME) / "instances.json").write_text("nonsense")
        (fleet.directory(ACME) / "line.json").write_text("nonsense")
        fleet.keeper = fleet.make_keeper()
        await fleet.keeper.look()
        # The line has applied version 1 already: what it is told now must be newer.
        assert fleet.version(ACME) == 2
        assert read_line(fleet.directory(ACME)).line_id == ACME

    run(body)


def test_files_that_are_damaged_or_lost_are_written_again_with_the_next_reading(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("acme", "acme-1"))
        await fleet.keeper.look()
        (fleet.directory(ACME) / "instances.json").unlink()
        (fleet.directory(ACME) / "line.json").write_text("nonsense")
        fleet.change += 1
        await fleet.keeper.look()
        assert fleet.version(ACME) == 2
        assert read_line(fleet.directory(ACME)).line_id == ACME

    run(body)


def test_line_that_complains_has_its_files_looked_at(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("acme", "acme-1"))
        await fleet.keeper.look()
        await fleet.keeper.look()
        (fleet.directory(ACME) / "instances.json").write_text("nonsense")
        fleet.runner.complain(ACME, "line_file_damaged: instances.json is not what control writes.")
        await fleet.keeper.look()
        assert fleet.version(ACME) == 2

    run(body)


def test_line_that_ends_again_and_again_has_its_files_looked_at_each_time(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("acme", "acme-1"))
        await fleet.keeper.look()
        fleet.runner.crashing.add(ACME)
        fleet.runner.crash(ACME)
        await fleet.keeper.look()
        # It has complained of the same before this happened.
        (fleet.directory(ACME) / "line.json").write_text("nonsense")
        await fleet.keeper.look()
        assert read_line(fleet.directory(ACME)).line_id == ACME

    run(body)


def test_line_that_would_not_know_itself_is_told_anew_and_somebody_can_read_why_it_waits(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        fleet.serve(served("acme", "acme-1"))
        await fleet.keeper.look()
        await fleet.runner.stop(ACME)
        (fleet.directory(ACME) / "line.json").unlink()
        with monkeypatch.context() as patch:
            patch.setattr("tenancy.line_file.replace_file", _no_space)
            for _ in range(4):
                await fleet.keeper.look()
        assert await fleet.states() == {}
        told = [each.message for each in caplog.records]
        assert told == ["line_knows_nothing", "line_not_told"], "each once"
        await fleet.keeper.look()
        assert await fleet.states() == {"acme-1": "ready"}

    run(body)


def test_password_stands_in_no_log(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def body() -> None:
        fleet.serve(served("acme", "acme-1"))
        await fleet.keeper.look()
        fleet.serve()
        await fleet.keeper.look()
        await until(lambda: _is_gone(fleet, ACME), "its end")

    run(body)
    assert SECRET not in caplog.text
    assert SECRET not in repr(replace(fleet._home_of(InstanceId("ins_acme"))))


def test_closed_keeper_leaves_lines_running(fleet: Fleet) -> None:
    async def body() -> None:
        fleet.serve(served("acme", "acme-1"))
        await fleet.keeper.look()
        await fleet.keeper.close()
        assert ACME in fleet.runner.machine.processes

    run(body)


async def _has(fleet: Fleet, line_id: LineId, state: str) -> bool:
    return (await fleet.states()).get(line_id) == state


async def _is_gone(fleet: Fleet, line_id: LineId) -> bool:
    return line_id not in await fleet.states()


def test_line_that_cannot_be_told_holds_up_no_other_and_is_told_later(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        # Where its directory would be, a file is in the way.
        fleet.directory(ACME).parent.mkdir()
        fleet.directory(ACME).touch()
        fleet.serve(served("acme", "acme-1"), served("beta", "beta-1"))
        await fleet.keeper.look()
        assert "line_not_told" in caplog.text
        assert fleet.version(BETA) == 1
        assert await fleet.states() == {"beta-1": "ready"}, "it would not know who it is"
        fleet.directory(ACME).unlink()
        await fleet.keeper.look()
        assert fleet.version(ACME) == 1
        assert await fleet.states() == {"acme-1": "ready", "beta-1": "ready"}

    run(body)

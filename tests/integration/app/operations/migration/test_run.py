"""A run over all instances: complete, repeatable, and not stopped by one that fails."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.core.clock import SystemClock
from app.core.ids import InstanceId
from app.core.migrate import Tree, Upgraded, current, head, migrate, sole_run
from app.operations.migration.record import MigrationReport
from app.operations.migration.run import MigrationRun, Progress, RunOrder, nobody_listens
from tenancy.database.home import name_database
from tests.service.database import EngineKind
from tests.service.fleet import CLIENTS, EVENTS, OLD_INSTANCE, Fleet
from tests.service.mariadb import MariaDbServer
from tests.service.wait import wait_until

FleetMaker = Callable[[int], Fleet]
# More than are at work at a time by far; how long a thousand take is for the benchmark to say. A database on a server
# takes ten times as long to make as a file.
MANY = {"sqlite": 60, "mariadb": 20}


@pytest.fixture
def make_fleet(
    engine_kind: EngineKind, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[FleetMaker]:
    """Makes a platform with so many instances of an older wops."""
    made: list[Fleet] = []

    def make(count: int) -> Fleet:
        server: MariaDbServer | None = None
        if engine_kind == "mariadb":
            server = request.getfixturevalue("mariadb_server")
        made.append(Fleet(tmp_path / f"data-{len(made)}", count, server))
        return made[-1]

    yield make
    for fleet in made:
        fleet.drop()


def _run(
    fleet: Fleet, order: RunOrder | None = None, on_progress: Callable[[Progress], None] = nobody_listens
) -> MigrationReport:
    with fleet.open() as (platform_db, databases):
        return MigrationRun(
            fleet.platform_url,
            platform_db=platform_db,
            databases=databases,
            clock=SystemClock(),
            on_progress=on_progress,
        ).run(order or RunOrder())


def _rows(fleet: Fleet, statement: str) -> list[tuple[Any, ...]]:
    with fleet.platform() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def _states(fleet: Fleet) -> dict[str, tuple[str, str | None]]:
    rows = _rows(fleet, "SELECT instance_id, state, error_code FROM instance_migration")
    return {fleet.name(InstanceId(row[0])): (row[1], row[2]) for row in rows}


def _check_whole(fleet: Fleet, instance_id: InstanceId) -> None:
    """Everything that older wops wrote is there, filled in and chained, once."""
    with fleet.connect(instance_id) as connection:

        def count(what: str) -> object:
            return connection.execute(text(f"SELECT COUNT(*) FROM {what}")).scalar()

        assert count("client_secret") == count("api_client") == CLIENTS
        assert count("outbox_event WHERE hash IS NOT NULL") == EVENTS


@pytest.mark.timeout(300)
def test_many_instances_are_migrated_and_the_second_run_finds_nothing_to_do(
    make_fleet: FleetMaker, engine_kind: EngineKind
) -> None:
    many = MANY[engine_kind]
    fleet = make_fleet(many)
    report = _run(fleet)
    assert report.is_complete
    assert len(report.of("migrated")) == report.candidates == many
    assert {(each.before, each.after) for each in report.outcomes} == {(OLD_INSTANCE, head("instance"))}
    assert set(fleet.revisions().values()) == {head("instance")}
    assert current(fleet.platform_url) == head("platform")
    assert set(_states(fleet).values()) == {("done", None)}
    for instance_id in fleet.ids[:: many // 10]:
        _check_whole(fleet, instance_id)
    told = "SELECT subject, actor, action FROM outbox_event WHERE type = 'instance.migrated'"
    assert sorted(row[0] for row in _rows(fleet, told)) == fleet.ids
    assert {(json.loads(row[1])["kind"], row[2]) for row in _rows(fleet, told)} == {
        ("system", "migrateInstances.migrate")
    }

    noted = _rows(fleet, "SELECT * FROM instance_migration ORDER BY instance_id")
    again = _run(fleet)
    assert (len(again.of("current")), again.platform_changed, again.is_complete) == (many, False, True)
    assert _rows(fleet, "SELECT * FROM instance_migration ORDER BY instance_id") == noted
    assert len(_rows(fleet, told)) == many


class _Gate:
    """Knows how many instances are being migrated at a time; the first wait until as many as may have come."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._lock = threading.Lock()
        self._now = self.most = 0

    def migrate(self, url: str, tree: Tree, **more: Any) -> Upgraded:
        if tree == "platform":
            return migrate(url, tree, **more)
        self._count(1)
        try:
            wait_until(lambda: self.most >= self._jobs, "as many as may work side by side")
            return migrate(url, tree, **more)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._now += change
            self.most = max(self.most, self._now)


@pytest.mark.parametrize("jobs", [1, 2, 4])
@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_as_many_instances_are_migrated_at_a_time_as_was_asked_for(
    make_fleet: FleetMaker, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    fleet, gate = make_fleet(12), _Gate(jobs)
    monkeypatch.setattr("app.operations.migration.run.migrate", gate.migrate)
    report = _run(fleet, RunOrder(jobs=jobs))
    assert (len(report.of("migrated")), gate.most) == (12, jobs)


# One that fails.


def _damage_files(fleet: Fleet, damaged: ExitStack) -> dict[InstanceId, tuple[str, Callable[[], object]]]:
    """Instances with the code they must fail with, and what mends them."""
    foreign, locked, garbage, missing, emptied = fleet.ids[1:11:2]
    with fleet.connect(foreign) as connection:
        connection.execute(text("CREATE TABLE client_secret (x INTEGER)"))
    holder = damaged.enter_context(closing(sqlite3.connect(fleet.file(locked), isolation_level=None)))
    holder.execute("BEGIN IMMEDIATE")
    content = fleet.file(garbage).read_bytes()
    fleet.file(emptied).write_bytes(b"")
    fleet.file(garbage).write_bytes(b"no database at all" * 500)
    away = fleet.file(missing).rename(fleet.folder / "away.db")
    return {
        foreign: ("schema_conflict", lambda: _drop_foreign(fleet, foreign)),
        locked: ("database_unavailable", lambda: holder.execute("ROLLBACK")),
        garbage: ("migration_refused", lambda: fleet.file(garbage).write_bytes(content)),
        missing: ("instance_database_missing", lambda: away.rename(fleet.file(missing))),
        emptied: ("instance_database_missing", lambda: fleet.file(emptied).write_bytes(content)),
    }


def _damage_databases(
    fleet: Fleet, damaged: ExitStack, server: MariaDbServer
) -> dict[InstanceId, tuple[str, Callable[[], object]]]:
    foreign, locked, powerless, emptied = fleet.ids[1:9:2]
    with fleet.connect(foreign) as connection:
        connection.execute(text("CREATE TABLE client_secret (x INTEGER)"))
    holder = damaged.enter_context(server.connect_admin()).cursor()
    holder.execute(f"LOCK TABLES `{name_database(locked, 'mariadb')}`.outbox_event READ")
    name = name_database(powerless, "mariadb")
    pattern = name.replace("_", r"\_")
    server.execute(f"REVOKE ALTER ON `{pattern}`.* FROM `{name}`@`%`")
    return {
        foreign: ("schema_conflict", lambda: _drop_foreign(fleet, foreign)),
        locked: ("database_unavailable", lambda: holder.execute("UNLOCK TABLES")),
        powerless: (
            "migration_refused",
            lambda: server.execute(f"GRANT ALTER ON `{pattern}`.* TO `{name}`@`%`"),
        ),
        emptied: ("instance_database_missing", _take_tables(server, name_database(emptied, "mariadb"))),
    }


def _take_tables(server: MariaDbServer, database: str) -> Callable[[], object]:
    """Move an instance's tables out of its database; what is returned moves them back."""
    aside = f"{database}_aside"
    with server.connect_admin() as connection, connection.cursor() as cursor:
        cursor.execute(f"SHOW TABLES FROM `{database}`")
        tables = [row[0] for row in cursor.fetchall()]
    server.execute(
        f"CREATE DATABASE `{aside}`",
        *(f"RENAME TABLE `{database}`.`{each}` TO `{aside}`.`{each}`" for each in tables),
    )
    return lambda: server.execute(
        *(f"RENAME TABLE `{aside}`.`{each}` TO `{database}`.`{each}`" for each in tables),
        f"DROP DATABASE `{aside}`",
    )


def _drop_foreign(fleet: Fleet, instance_id: InstanceId) -> None:
    with fleet.connect(instance_id) as connection:
        connection.execute(text("DROP TABLE client_secret"))


def test_damaged_instances_are_named_and_the_others_finish(
    make_fleet: FleetMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody gives the lock back while the run waits for it.
    monkeypatch.setattr("app.core.migrate.PATIENCE", timedelta(seconds=4))
    fleet = make_fleet(12)
    with ExitStack() as damaged:
        broken = (
            _damage_files(fleet, damaged)
            if fleet.server is None
            else _damage_databases(fleet, damaged, fleet.server)
        )
        report = _run(fleet)
        assert {each.candidate.instance_id: each.code for each in report.of("failed")} == {
            instance_id: code for instance_id, (code, _) in broken.items()
        }
        assert (len(report.of("migrated")), report.is_complete) == (12 - len(broken), False)
        assert {name: code for name, (state, code) in _states(fleet).items() if state == "failed"} == {
            fleet.name(instance_id): code for instance_id, (code, _) in broken.items()
        }
        for each in report.of("failed"):
            assert "hash" not in str(each.message), "no text of the database's"
        for _, mend in broken.values():
            mend()
        again = _run(fleet)
    assert (len(again.of("migrated")), len(again.of("current"))) == (len(broken), 12 - len(broken))
    assert set(fleet.revisions().values()) == {head("instance")}
    assert set(_states(fleet).values()) == {("done", None)}
    for instance_id in fleet.ids:
        _check_whole(fleet, instance_id)


@pytest.mark.parametrize("state", ["ready", "frozen", "ended"])
@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_lost_database_is_not_replaced_by_an_empty_one(make_fleet: FleetMaker, state: str) -> None:
    fleet = make_fleet(1)
    _run(fleet)
    fleet.file(fleet.ids[0]).write_bytes(b"")
    with fleet.platform() as connection:
        connection.execute(text(f"UPDATE instance SET state = '{state}'"))
    for order in (RunOrder(is_dry=True), RunOrder()):
        report = _run(fleet, order)
        assert [each.code for each in report.of("failed")] == ["instance_database_missing"]
        assert not report.is_complete
    assert current(fleet.url(fleet.ids[0])) is None


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_platform_that_goes_away_takes_no_report_from_the_others(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(4)
    _run(fleet, RunOrder(names=["fleet-1"]))
    fleet.file(fleet.ids[2]).write_bytes(b"")

    def lose(progress: Progress) -> None:
        if progress.done == 1:
            with fleet.platform() as connection:
                connection.execute(text("ALTER TABLE instance RENAME TO away"))

    with fleet.open() as (platform_db, databases):
        for instance_id in fleet.ids:
            databases.migration_url(instance_id)  # Remembered from here on.
        run = MigrationRun(
            fleet.platform_url,
            platform_db=platform_db,
            databases=databases,
            clock=SystemClock(),
            on_progress=lose,
        )
        report = run.run(RunOrder(jobs=1))
    assert (len(report.of("migrated")) + len(report.of("current")), report.left_out) == (3, 0)
    assert [each.code for each in report.of("failed")] == ["instance_database_missing"]


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_instance_that_is_erased_while_the_run_is_under_way_is_no_failure(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(6)
    last = fleet.ids[-1]

    def erase(progress: Progress) -> None:
        if progress.done == 1:
            fleet.file(last).unlink()
            with fleet.platform() as connection:
                connection.execute(text(f"UPDATE instance SET state = 'erased' WHERE instance_id = '{last}'"))

    report = _run(fleet, RunOrder(jobs=1), on_progress=erase)
    assert (len(report.of("migrated")), report.left_out, report.is_complete) == (5, 1, True)
    assert not fleet.file(last).exists(), "nobody made an empty one in its place"


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("state", "is_migrated"),
    [("frozen", True), ("ended", True), ("provisioning", False), ("failed", False), ("erased", False)],
)
def test_what_is_kept_is_migrated_and_nothing_else(
    make_fleet: FleetMaker, state: str, is_migrated: bool
) -> None:
    fleet = make_fleet(1)
    with fleet.platform() as connection:
        connection.execute(text(f"UPDATE instance SET state = '{state}'"))
    assert len(_run(fleet).of("migrated")) == int(is_migrated)
    assert set(fleet.revisions().values()) == {head("instance") if is_migrated else OLD_INSTANCE}


# Killed, stopped, started twice.


@contextmanager
def _started(fleet: Fleet, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        fleet.command("--jobs", "2", *arguments),
        env=fleet.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _wait_for_tenth(process: subprocess.Popen[str], tenth: int, *, of: int) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"{of * tenth // 10} of "):
            return
    raise AssertionError("the run ended before that")


@pytest.mark.timeout(300)
def test_run_that_is_killed_goes_on_where_it_was(make_fleet: FleetMaker, engine_kind: EngineKind) -> None:
    count = MANY[engine_kind]
    fleet = make_fleet(count)
    with _started(fleet) as process:
        _wait_for_tenth(process, 2, of=count)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = [each for each in fleet.revisions().values() if each == head("instance")]
    assert count // 5 <= len(done) < count
    again = fleet.migrate("--json")
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert (report["failed"], report["migrated"] + report["current"]) == (0, count)
    assert report["current"] <= len(done)
    assert set(fleet.revisions().values()) == {head("instance")}
    assert set(_states(fleet).values()) == {("done", None)}
    for instance_id in fleet.ids:
        _check_whole(fleet, instance_id)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_ctrl_c_ends_the_run_in_order_with_a_report(make_fleet: FleetMaker) -> None:
    many = MANY["sqlite"]
    fleet = make_fleet(many)
    with _started(fleet, "--json") as process:
        _wait_for_tenth(process, 2, of=many)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 2
    report = json.loads(out)
    assert report["stopped"] is True
    assert report["migrated"] + report["left_out"] == many
    assert _rows(fleet, "SELECT COUNT(*) FROM schema_lease") == [(0,)], "nobody has to wait for a lease"
    assert json.loads(fleet.migrate("--json").stdout)["current"] == report["migrated"]


def test_second_run_at_the_same_time_is_refused(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(3)
    with sole_run(fleet.platform_url, clock=SystemClock()):
        refused = fleet.migrate("--all")
    assert refused.returncode == 1
    assert refused.stderr.startswith("migration_running: ")
    assert set(fleet.revisions().values()) == {OLD_INSTANCE}
    assert fleet.migrate("--all").returncode == 0


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_stopped_run_leaves_out_what_it_has_not_begun(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(6)
    with fleet.open() as (platform_db, databases):
        run = MigrationRun(
            fleet.platform_url,
            platform_db=platform_db,
            databases=databases,
            clock=SystemClock(),
            on_progress=lambda _progress: run.stop(),
        )
        report = run.run(RunOrder(jobs=1))
    assert report.is_stopped
    assert len(report.of("migrated")) + report.left_out == 6
    assert report.left_out >= 4
    assert len(_run(fleet).of("current")) == len(report.of("migrated"))


# The command.


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_command_reports_and_its_status_says_whether_all_are_there(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(5)
    with fleet.connect(fleet.ids[2]) as connection:
        connection.execute(text("CREATE TABLE client_secret (x INTEGER)"))
    dry = json.loads(fleet.migrate("--dry-run", "--json").stdout)
    assert (dry["behind"], dry["dry_run"], set(fleet.revisions().values())) == (5, True, {OLD_INSTANCE})

    partly = fleet.migrate("--all")
    assert partly.returncode == 2
    assert "fleet-3: schema_conflict: " in partly.stderr
    assert "5 of 5 instances" in partly.stderr
    assert "1 failed" in partly.stdout
    assert "failed: fleet-3." in partly.stdout
    assert "Traceback" not in partly.stderr

    one = fleet.migrate("--instance", "fleet-1", "--instance", fleet.ids[1], "--json")
    assert one.returncode == 0
    report = json.loads(one.stdout)
    assert [each["name"] for each in report["outcomes"]] in (["fleet-1", "fleet-2"], ["fleet-2", "fleet-1"])
    assert (report["current"], report["platform_changed"]) == (2, False)

    assert json.loads(fleet.migrate("--dry-run", "--json").stdout)["behind"] == 1
    unknown = fleet.migrate("--instance", "nobody")
    assert (unknown.returncode, "input_invalid: No instance with a database: nobody." in unknown.stderr) == (
        1,
        True,
    )
    assert fleet.migrate("--all", "--instance", "fleet-1").returncode == 1
    _drop_foreign(fleet, fleet.ids[2])
    whole = fleet.migrate()
    assert (whole.returncode, "6 databases, 1 changed" in whole.stdout) == (0, True)


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_schema_that_a_newer_wops_has_made_is_said_to_be_newer(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(2)
    assert fleet.migrate().returncode == 0
    with fleet.connect(fleet.ids[1]) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9998'"))
    with fleet.platform() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for how in (("--all",), ("--dry-run",)):
        done = fleet.migrate(*how)
        assert done.returncode == 0
        assert f"platform at 9999, newer than this wops knows ({head('platform')})" in done.stdout
        assert "newer than this wops knows: fleet-2 at 9998. Left as they are." in done.stdout
    report = json.loads(fleet.migrate("--json").stdout)
    assert (report["newer"], report["platform_revision"], report["platform_changed"]) == (1, "9999", False)


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_passwords_stand_in_no_line_that_is_printed_and_on_no_command_line(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(4)
    assert fleet.server is not None
    name = name_database(fleet.ids[0], "mariadb")
    fleet.server.execute(f"ALTER USER `{name}`@`%` IDENTIFIED BY 'changed'")
    done = fleet.migrate("--json")
    assert json.loads(done.stdout)["failed"] == 1
    secrets = [fleet.platform_url, *(fleet.url(each).split(":")[2].split("@")[0] for each in fleet.ids)]
    assert [each for each in secrets if each in done.stdout + done.stderr + " ".join(fleet.command())] == []


@pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)
def test_progress_is_told_by_one_thread_after_each_instance(make_fleet: FleetMaker) -> None:
    fleet = make_fleet(5)
    heard: list[tuple[int, int]] = []
    threads: set[int] = set()

    def hear(progress: Progress) -> None:
        heard.append((progress.done, progress.candidates))
        threads.add(threading.get_ident())

    _run(fleet, on_progress=hear)
    assert heard == [(number, 5) for number in range(1, 6)]
    assert threads == {threading.get_ident()}
    wait_until(
        lambda: not any(each.name.startswith(("migrate", "lease")) for each in threading.enumerate()),
        "the run's threads to end",
        deadline=timedelta(seconds=5),
    )

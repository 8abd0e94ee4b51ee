"""What a supervisor refuses to start, what it leaves when a start fails or is interrupted, and what it ends."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from app.cluster import mariadb
from app.cluster.address import AddressNotFree, require_free
from app.cluster.mariadb import DatabaseNotMade, is_made, is_maker
from app.cluster.part import supervised_part
from app.cluster.place import ClusterPlace, ClusterRunning, held, plan_place
from app.cluster.sign import box_processes, control_sign, gateway_sign
from app.cluster.supervisor import PartNotEnded, PartNotStarted, Supervisor
from app.command.cluster_up import end_cluster
from app.core.clock import SystemClock
from app.core.process_identity import running
from tests.service.binary import require_binary
from tests.service.wait import wait_until_async

SOON = timedelta(seconds=30)
LATE_LINE = """
import pathlib, runpy, sys, time
place = pathlib.Path(sys.argv[-1])
while not (place / "go").exists():
    time.sleep(0.01)
sys.argv = [sys.argv[0], str(place)]
runpy.run_module("tests.service.stand_in_line", run_name="__main__")
"""
LISTENER = """
import pathlib, signal, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print(flush=True)
signal.pause()
"""


WAITING = "import signal; print(flush=True); signal.pause()"


@contextmanager
def just_started(words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with the words of a part that listens nowhere yet."""
    process = subprocess.Popen([sys.executable, "-c", WAITING, *words.split()], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def place(data_dir: Path) -> Iterator[ClusterPlace]:
    for program in ("mariadbd", "mariadb-install-db", "haproxy"):
        require_binary(program)
    with held(data_dir):
        yield plan_place(data_dir, fronts="lb1=127.0.0.31:18443; lb2=127.0.0.32:18443")


def _tell_nobody(_text: str) -> None:
    pass


def _supervisor(place: ClusterPlace) -> Supervisor:
    return Supervisor(place, clock=SystemClock(), tell=_tell_nobody)


@pytest.mark.parametrize(
    ("address", "part", "remedy"),
    [
        ("127.0.0.31:18443", "lb1", "--fronts"),
        ("127.0.0.32:18444", "lb2", "--fronts"),
        ("127.0.0.32:18445", "lb2", "--fronts"),
        ("127.0.0.1:{control}", "control", "--port"),
        ("127.0.0.1:{database}", "database", "End that process."),
    ],
)
def test_address_that_another_process_has_is_named_with_what_to_do(
    place: ClusterPlace, address: str, part: str, remedy: str
) -> None:
    memory = place.memory
    where = address.format(control=memory.control_port, database=memory.database_port)
    host, port = where.split(":")
    with socket.create_server((host, int(port))), pytest.raises(AddressNotFree) as refused:
        _supervisor(place).check()

    assert refused.value.detail == {"part": part, "address": where}
    assert where in refused.value.message
    assert "another process listens there" in refused.value.message
    assert remedy in refused.value.message
    _supervisor(place).check()


@pytest.mark.parametrize("address", ["192.0.2.1:8443", "127.0.0.1:99999"])
def test_address_at_which_nobody_can_listen_is_refused(address: str) -> None:
    with pytest.raises(AddressNotFree):
        require_free(address, part="lb1", remedy="")


def test_part_that_ends_again_and_again_is_named_with_its_log_and_nothing_is_left(
    place: ClusterPlace,
) -> None:
    # A server without tables of its own ends at once.
    (place.database_directory / "data").mkdir(parents=True)

    async def body() -> None:
        supervisor = _supervisor(place)
        with pytest.raises(PartNotStarted) as refused:
            await supervisor.start()
        assert str(place.log_file("database")) in refused.value.message
        assert "ends again and again (exit status 1)" in refused.value.message
        assert place.log_file("database").stat().st_size
        await supervisor.stop()
        assert supervisor.seen() == {}

    asyncio.run(body())
    assert not place.supervisor_socket.exists()


def test_start_that_is_interrupted_starts_nothing_more(place: ClusterPlace) -> None:
    (place.database_directory / "data").mkdir(parents=True)

    async def body() -> None:
        supervisor = _supervisor(place)
        supervisor.told_to_end.set()
        await supervisor.start()
        assert set(supervisor.seen()) == {"database"}
        await supervisor.stop()

    asyncio.run(body())


def test_end_takes_along_what_a_killed_supervisor_has_left(place: ClusterPlace) -> None:
    command = [sys.executable, "-c", LISTENER, str(place.settings.control_socket)]
    left = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert left.stdout is not None
    left.stdout.readline()
    try:
        asyncio.run(_supervisor(place).stop())
        assert left.wait(SOON.total_seconds()) < 0
    finally:
        left.kill()
        left.communicate()


@pytest.mark.parametrize(
    "words",
    [
        "app.cli cluster control --data-dir {}",
        "app.cli fsb serve --data-dir {}",
        "app.cli fsb box b-1 --data-dir {}",
        "--datadir={}/mariadb/data",
        "--datadir={}/mariadb/new-1",
    ],
)
def test_end_takes_along_what_listens_nowhere_yet_and_nothing_of_another_cluster(
    place: ClusterPlace, words: str
) -> None:
    with (
        just_started(words.format(place.data_dir)) as own,
        just_started(words.format(f"{place.data_dir}2")) as others,
    ):
        asyncio.run(_supervisor(place).stop())
        assert own.wait(SOON.total_seconds()) < 0
        assert others.poll() is None


def test_part_that_has_only_just_been_started_is_not_started_a_second_time(place: ClusterPlace) -> None:
    async def body() -> None:
        part = supervised_part(
            "control", ["/bin/false"], control_sign(place), clock=SystemClock(), log_file=place.log_file("x")
        )
        part.start()
        await wait_until_async(lambda: part.pid, "the process to be found")
        assert (part.pid, part.restarts) == (started.pid, 0)
        await part.stop(SOON)

    with just_started(f"app.cli cluster control --data-dir {place.data_dir}") as started:
        asyncio.run(body())


def test_making_of_the_database_is_ended_when_everything_is_to_end(place: ClusterPlace) -> None:
    async def body() -> None:
        supervisor = Supervisor(place, clock=SystemClock(), tell=tell)

        def is_making() -> bool:
            return bool(running(lambda words: is_maker(place, words)))

        starting = asyncio.create_task(supervisor.start())
        await wait_until_async(is_making, "the making")
        supervisor.told_to_end.set()
        async with asyncio.timeout(SOON.total_seconds()):
            await starting
        assert not is_making()
        assert told == ["making the data directory of the database server"]
        await supervisor.stop()

    told: list[str] = []
    tell = told.append
    asyncio.run(body())
    assert not is_made(place)
    assert list(place.database_directory.glob("new-*")) == []


def test_making_of_the_database_that_fails_is_named_with_its_log_and_gives_its_room_back(
    place: ClusterPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        supervisor = _supervisor(place)
        with pytest.raises(DatabaseNotMade) as refused:
            await supervisor.start()
        await supervisor.stop()
        assert "status 3" in refused.value.message
        assert str(place.log_file("database-install")) in refused.value.message

    failing = ("/bin/sh", "-c", "echo the reason; exit 3")
    monkeypatch.setattr(mariadb, "make_command", lambda *_: failing)
    asyncio.run(body())
    assert "the reason" in place.log_file("database-install").read_text()
    assert not is_made(place)
    assert list(place.database_directory.glob("new-*")) == []


def test_disk_without_room_for_a_new_database_is_refused_and_one_that_is_there_is_started(
    place: ClusterPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mariadb, "_ROOM_MB", 10**12)
    with pytest.raises(DatabaseNotMade, match="make room"):
        _supervisor(place).check()
    assert not place.database_directory.exists()

    (place.database_directory / "data").mkdir(parents=True)
    _supervisor(place).check()


def test_line_that_control_has_only_just_started_is_ended_as_well(place: ClusterPlace) -> None:
    directory = place.data_dir / "lines" / "acme-1"
    directory.mkdir(parents=True, mode=0o700)
    line = subprocess.Popen([sys.executable, "-c", LATE_LINE, "line", str(directory)])

    def tell(text: str) -> None:
        if "only just been started" in text:
            (directory / "go").touch()

    try:
        asyncio.run(Supervisor(place, clock=SystemClock(), tell=tell).stop())
        assert line.wait(SOON.total_seconds()) == 0
    finally:
        line.kill()
        line.wait()


def test_line_that_does_not_end_is_named_and_keeps_what_it_needs(
    place: ClusterPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cluster.supervisor._STARTS_WITHIN", timedelta(0))
    with (
        just_started(f"--datadir={place.data_dir}/mariadb/data") as database,
        just_started(f"app.cli cluster control --data-dir {place.data_dir}") as control,
    ):
        with just_started(f"line {place.data_dir}/lines/acme-1") as line:
            left = asyncio.run(_supervisor(place).stop())
            assert left == {"lines": [line.pid], "database": [database.pid]}
            assert control.wait(SOON.total_seconds()) < 0
        assert asyncio.run(_supervisor(place).stop()) == {}
        assert database.wait(SOON.total_seconds()) < 0


def test_end_says_what_still_runs(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cluster.supervisor._STARTS_WITHIN", timedelta(0))
    with held(data_dir):
        place = plan_place(data_dir)
    with (
        just_started(f"line {data_dir}/lines/acme-1") as line,
        pytest.raises(PartNotEnded, match=f"lines: process {line.pid}"),
    ):
        asyncio.run(end_cluster(place, within=SOON, tell=_tell_nobody))


def test_box_with_the_name_of_a_command_is_taken_for_nothing_else(place: ClusterPlace) -> None:
    for name in ("serve", "control", "cluster"):
        words = f"app.cli fsb box {name} --data-dir {place.data_dir}"
        with just_started(words) as box:
            assert gateway_sign(place).processes() == []
            assert control_sign(place).processes() == []
            assert box_processes(place) == {name: box.pid}


def test_supervisor_that_has_only_just_begun_is_told_to_end_as_soon_as_it_listens(data_dir: Path) -> None:
    begun, told = held(data_dir), []
    begun.__enter__()
    place = plan_place(data_dir)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await reader.readline())
        writer.write(b"{}")
        writer.close()
        with suppress(StopIteration):
            begun.__exit__(None, None, None)

    async def body() -> None:
        waiting = asyncio.Event()
        ending = asyncio.create_task(end_cluster(place, within=SOON, tell=lambda _text: waiting.set()))
        # It has found the lock taken, and nobody who listens.
        await asyncio.sleep(0)
        server = await asyncio.start_unix_server(answer, place.supervisor_socket)
        async with server, asyncio.timeout(SOON.total_seconds()):
            await ending
        assert waiting.is_set()

    asyncio.run(body())
    assert told == [b"down\n"]


def test_supervisor_that_does_not_end_is_named_with_its_log(data_dir: Path) -> None:
    with held(data_dir):
        place = plan_place(data_dir)
        with pytest.raises(ClusterRunning, match=r"supervisor\.log"):
            asyncio.run(end_cluster(place, within=timedelta(0), tell=_tell_nobody))

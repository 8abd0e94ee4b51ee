"""What a supervisor refuses to start, what it leaves when a start fails or is interrupted, and what it ends."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from app.cluster.address import AddressNotFree, require_free
from app.cluster.place import ClusterPlace, ClusterRunning, held, make_place
from app.cluster.program import ProgramMissing
from app.cluster.supervisor import PartNotStarted, Supervisor
from app.command.cluster_up import end_cluster
from app.core.clock import SystemClock
from tests.service.binary import require_binary

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


@pytest.fixture
def place(data_dir: Path) -> Iterator[ClusterPlace]:
    for program in ("mariadbd", "mariadb-install-db", "haproxy"):
        require_binary(program)
    with held(data_dir):
        yield make_place(data_dir, fronts="lb1=127.0.0.31:18443; lb2=127.0.0.32:18443")


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


def test_program_that_is_not_installed_is_named(place: ClusterPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOPS_HAPROXY", "haproxy-of-nobody")
    with pytest.raises(ProgramMissing, match="haproxy-of-nobody"):
        _supervisor(place).check()


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
        assert "again and again" in refused.value.message
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


def test_supervisor_that_has_only_just_begun_is_told_to_end_as_soon_as_it_listens(data_dir: Path) -> None:
    begun, told = held(data_dir), []
    begun.__enter__()
    place = make_place(data_dir)

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
        place = make_place(data_dir)
        with pytest.raises(ClusterRunning, match=r"supervisor\.log"):
            asyncio.run(end_cluster(place, within=timedelta(0), tell=_tell_nobody))

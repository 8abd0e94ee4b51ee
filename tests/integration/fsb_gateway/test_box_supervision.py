"""Who keeps a box's process running, and what becomes of it when that one goes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.process_identity import start_ticks
from fsb_gateway import box as box_module
from fsb_gateway.box import find_process
from fsb_gateway.error import BoxDisconnected
from fsb_gateway.process import box_link
from fsb_gateway.process.frame import PROTOCOL, Identity, encode_frame, socket_path
from tests.service.box import SECONDS, BoxHouse, becomes, becomes_ready
from tests.service.wait import wait_until_async
from tests.unit.fsb_gateway.factory import box_spec, make_job

SLOW = timedelta(milliseconds=400)


@pytest.fixture
def house(tmp_path: Path) -> BoxHouse:
    return BoxHouse(tmp_path)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_box_outlives_a_killed_gateway_and_the_next_one_adopts_it_with_its_job(house: BoxHouse) -> None:
    spec = replace(box_spec(), operation_time=SLOW)

    async def prepare() -> None:
        async with house.at_work(spec):
            pass

    async def go_on(pid: int) -> None:
        processes = house.processes()
        box = processes.make_box(spec)
        await becomes_ready(box)
        kept = processes.ensure(spec)
        # The box says that it is ready as soon as it is spoken to; who it is is asked beside that.
        await wait_until_async(lambda: kept.pid, "the process to be adopted")
        assert (kept.pid, kept.restarts) == (pid, 0)
        assert box.has_recorded("trf_at_hand")
        found = await box.recall("trf_at_hand", "digest")
        assert found is not None
        assert box.status().jobs_done == 1
        await box.close()
        assert not is_alive(pid), "an adopted process is stopped as one's own"

    asyncio.run(prepare())
    gateway = subprocess.Popen(
        [sys.executable, "-m", "tests.service.short_gateway", str(house.data_dir)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert gateway.stdout is not None
    pid = int(gateway.stdout.readline())
    gateway.kill()
    gateway.wait(SECONDS)
    gateway.stdout.close()
    assert is_alive(pid)
    assert os.getpgid(pid) == pid, "no signal from a terminal reaches it"
    asyncio.run(go_on(pid))


def test_killed_box_is_started_again_and_found_again(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (box, kept):
            first = kept.pid
            result = await box.program(make_job(), "digest")
            kept.kill()
            await becomes(box, "disconnected")
            with pytest.raises(BoxDisconnected):
                await box.program(make_job("trf_2"), "digest")
            await becomes_ready(box)
            assert kept.pid not in (None, first)
            assert await box.program(make_job(), "digest") == result

    asyncio.run(body())


def test_configuration_that_a_box_missed_reaches_it_when_it_is_back(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (box, kept):
            kept.kill()
            await becomes(box, "disconnected")
            await box.configure(replace(box_spec(), operation_time=timedelta(milliseconds=25)))
            await becomes_ready(box)
            await box.program(make_job(), "digest")
            assert box.status().busy_seconds >= 0.025

    asyncio.run(body())


def test_box_that_stands_still_over_a_job_is_started_again_and_says_then_what_it_has_done(
    house: BoxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (box, kept):
            first = kept.pid
            assert first is not None
            monkeypatch.setattr(box_link, "_GRACE_SECONDS", 0.3)
            os.kill(first, signal.SIGSTOP)
            asked = [asyncio.create_task(box.program(make_job(f"trf_{number}"), "d")) for number in range(2)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            # Nobody knows: it may have recorded the first one before it was ended.
            assert [type(answer) for answer in answers] == [BoxDisconnected, BoxDisconnected]
            assert box.status().state == "disconnected"
            monkeypatch.undo()
            await becomes_ready(box)
            assert kept.pid not in (None, first)
            assert await box.recall("trf_0", "d") is None
            await box.program(make_job("trf_0"), "d")

    asyncio.run(body())


def test_box_that_says_nothing_when_a_gateway_comes_is_replaced(
    house: BoxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box_module, "_ASK_SECONDS", 0.3)
    monkeypatch.setattr(box_module, "_STOP_GRACE", timedelta(minutes=10))

    async def body() -> None:
        async with house.at_work(box_spec()) as (_, kept):
            first = kept.pid
            assert first is not None
            os.kill(first, signal.SIGSTOP)
            path = socket_path(house.directory, "box-1")
            assert await find_process(path, "box-1") is None
            await wait_until_async(lambda: not is_alive(first), "the silent process to be ended")

    asyncio.run(body())


def test_box_of_another_version_is_ended_and_started_anew(
    house: BoxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (box, kept):
            first = kept.pid
            assert first is not None
            monkeypatch.setattr(box_module, "PROTOCOL", PROTOCOL + 1)
            assert await find_process(socket_path(house.directory, "box-1"), "box-1") is None
            assert not is_alive(first)
            await becomes_ready(box)
            assert kept.pid != first

    asyncio.run(body())


def test_number_that_is_another_process_by_now_is_never_signalled(tmp_path: Path) -> None:
    """The one who listens says that it is a process that has ended, whose number somebody else has got."""
    path = tmp_path / "s"
    pid = os.getpid()
    for identity in (
        Identity(PROTOCOL, "box-1", pid, start_ticks(pid) - 1, b""),
        Identity(PROTOCOL, "box-1", pid + 1, start_ticks(pid), b""),
    ):
        with socket.socket(socket.AF_UNIX) as listener:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            listener.listen()

            async def body(listener: socket.socket = listener, identity: Identity = identity) -> None:
                finding = asyncio.create_task(find_process(path, "box-1"))
                connection, _ = await asyncio.to_thread(listener.accept)
                with connection:
                    connection.sendall(encode_frame(identity))
                    assert await finding is None

            asyncio.run(body())


def test_stopped_box_is_stopped_for_good_and_a_new_one_can_be_made(house: BoxHouse) -> None:
    async def body() -> None:
        house.write_spec(box_spec())
        processes = house.processes()
        box = processes.make_box(box_spec())
        await becomes_ready(box)
        pid = processes.ensure(box_spec()).pid
        assert pid is not None
        await box.close()
        assert not is_alive(pid)
        assert box.status().retry_at is None
        again = processes.make_box(box_spec())
        await becomes_ready(again)
        await processes.close()
        await becomes(again, "disconnected")
        await again.close()

    asyncio.run(body())


def test_link_whose_box_never_comes_is_starting_and_closes(tmp_path: Path) -> None:
    async def body() -> None:
        link = box_link.BoxLink(box_spec(), tmp_path / "run" / "nobody.sock")
        assert (link.status().state, link.ready) == ("starting", False)
        with pytest.raises(BoxDisconnected):
            await link.program(make_job(), "digest")
        async with asyncio.timeout(SECONDS):
            await link.close()
        assert link.status().state == "closed"

    asyncio.run(body())


def test_box_whose_process_ended_says_when_it_is_started_again(house: BoxHouse) -> None:
    async def body() -> None:
        processes = house.processes(("/bin/false",))
        box = processes.make_box(box_spec())
        await wait_until_async(lambda: box.status().retry_at, "a pause")
        await box.close()
        assert box.status().retry_at is None

    asyncio.run(body())

"""A box in a process of its own: what it answers, what outlives what."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.process import Supervised
from fsb_gateway import read_update
from fsb_gateway.box import PROGRAM
from fsb_gateway.box_driver import Faults
from fsb_gateway.carrier.socket_path import short_path
from fsb_gateway.engine.journal import Journal
from fsb_gateway.error import (
    BoxDisconnected,
    BoxJournalUnwritable,
    FirmCodeNotOwned,
    FirmKeyMissing,
    FirmKeyUnfit,
    JobIdReused,
    PoolWithoutBox,
    TransactionsExhausted,
)
from fsb_gateway.process.box_link import BoxLink
from fsb_gateway.process.box_process import HELD_ELSEWHERE, KEYS_CLOSED, NO_SUCH_BOX
from fsb_gateway.process.frame import (
    Attach,
    FrameBuffer,
    Identity,
    decode_from_box,
    encode_frame,
    socket_path,
)
from tests.service.box import (
    LETHAL_PROGRAM,
    SECONDS,
    BoxHouse,
    becomes,
    becomes_ready,
    key_binding,
    let_go,
)
from tests.service.wait import wait_until_async
from tests.unit.fsb_gateway.factory import FIRM_CODE, box_spec, make_job, p256


def read_proc(kept: Supervised, what: str) -> bytes:
    return Path(f"/proc/{kept.pid}/{what}").read_bytes()


async def is_taken(box: BoxLink) -> None:
    """The box has read what was sent before this question."""
    assert await box.recall("no-such-job") is None


@pytest.fixture
def house(tmp_path: Path) -> BoxHouse:
    return BoxHouse(tmp_path)


def test_jobs_are_programmed_recalled_and_refused_as_in_the_same_process(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (box, _):
            jobs = [make_job(f"trf_{number}") for number in range(40)]
            results = await asyncio.gather(*(box.program(job, "digest") for job in jobs))
            for job, result in zip(jobs, results, strict=True):
                update = read_update(result.update, p256("container"), root=house.root, at=house.clock.now())
                assert update.job_id == job.job_id == result.job_id
                assert box.has_recorded(job.job_id)
            assert [await box.recall(job.job_id, "digest") for job in jobs] == results
            assert [await box.program(job, "digest") for job in jobs] == results
            assert await box.recall("trf_99") is None
            for refused, job, digest in (
                (JobIdReused, jobs[0], "other"),
                (FirmKeyMissing, make_job("trf_x", firm_code=9), "digest"),
                (FirmCodeNotOwned, make_job("trf_x", instance_id="ins_2"), "digest"),
            ):
                with pytest.raises(refused):
                    await box.program(job, digest)
            status = box.status()
            assert (status.state, status.jobs_done, status.firm_codes) == ("ready", 40, (FIRM_CODE,))
            assert status.busy_seconds > 0
        assert box.status().state == "closed"
        with pytest.raises(PoolWithoutBox):
            await box.program(make_job("trf_late"), "digest")

    asyncio.run(body())


def test_key_moves_wrapped_from_one_box_to_another_and_both_sign(house: BoxHouse) -> None:
    async def body() -> None:
        second = box_spec("box-2")
        async with (
            house.at_work(box_spec()) as (box, _),
            house.at_work(second, with_key=False) as (other, _),
        ):
            binding = key_binding("key-2")
            public_key = await box.generate_key(binding)
            chain = house.keystore.issue(binding, public_key)
            wrapped = await box.export_key(FIRM_CODE, "key-2", to=await other.transport_key())
            with pytest.raises(FirmKeyUnfit):
                await box.import_key(key_binding("key-3"), wrapped, public_key)
            await other.import_key(binding, wrapped, public_key)
            for each in (box, other):
                await each.use_key(binding, chain)
                slot = each.slot(FIRM_CODE)
                assert slot is not None
                assert (slot.key_id, slot.public_key) == ("key-2", public_key)
                await each.program(make_job(f"trf_{each.spec.name}"), "digest")
            await box.forget_key(FIRM_CODE, but="key-2")
            with pytest.raises(FirmKeyMissing):
                await box.export_key(FIRM_CODE, "key-1", to=await other.transport_key())
            await other.forget_key(FIRM_CODE)
            assert other.slot(FIRM_CODE) is None
            with pytest.raises(FirmKeyMissing):
                await other.program(make_job("trf_x"), "digest")

    asyncio.run(body())


@pytest.mark.parametrize(("point", "is_recorded"), [("begin", False), ("signed", False), ("recorded", True)])
def test_box_killed_at_any_point_says_afterwards_what_became_of_the_job(
    house: BoxHouse, point: str, is_recorded: bool
) -> None:
    async def body() -> None:
        async with house.at_work(box_spec(), program=LETHAL_PROGRAM) as (box, kept):
            before = await box.program(make_job("trf_0"), "digest")
            (house.data_dir / "die-at").write_text(point)
            with pytest.raises(BoxDisconnected):
                await box.program(make_job(), "digest")
            assert box.status().state in {"disconnected", "ready"}
            await becomes_ready(box)
            assert kept.restarts == 1
            assert box.has_recorded("trf_1") == is_recorded
            found = await box.recall("trf_1", "digest")
            assert (found is not None) == is_recorded
            result = await box.program(make_job(), "digest")
            assert found in (None, result)
            assert await box.recall("trf_0") == before
        journal = Journal(house.journal(), clock=house.clock)
        assert journal.newest(10) == ["trf_0", "trf_1"]
        journal.close()

    asyncio.run(body())


def test_box_killed_after_its_answer_gives_the_same_again(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(box_spec(), program=LETHAL_PROGRAM) as (box, kept):
            (house.data_dir / "die-at").write_text("answered")
            first = await box.program(make_job(), "digest")
            await wait_until_async(lambda: kept.restarts == 1, "the box to be started again")
            await becomes_ready(box)
            assert await box.program(make_job(), "digest") == first

    asyncio.run(body())


def test_software_box_that_loses_its_power_on_purpose_is_back_with_what_it_recorded(house: BoxHouse) -> None:
    async def body() -> None:
        spec = replace(box_spec(), faults=Faults(lost_power=1.0))
        async with house.at_work(spec) as (box, kept):
            for number in range(2):
                with pytest.raises(BoxDisconnected):
                    await box.program(make_job(f"trf_{number}"), "digest")
                await becomes_ready(box)
                assert kept.restarts == number + 1
            await box.configure(replace(spec, faults=Faults()))
            for number in range(2):
                found = await box.recall(f"trf_{number}")
                result = await box.program(make_job(f"trf_{number}"), "digest")
                assert found in (None, result)

    asyncio.run(body())


def test_job_at_hand_goes_on_without_its_gateway_and_is_there_for_the_next(house: BoxHouse) -> None:
    async def body() -> None:
        spec = replace(box_spec(), operation_time=timedelta(milliseconds=300))
        async with house.at_work(spec) as (box, kept):
            asked = [asyncio.create_task(box.program(make_job(f"trf_{number}"), "d")) for number in range(3)]
            await asyncio.sleep(0)
            await is_taken(box)
            pid = kept.pid
            await let_go(box)
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(answer, BoxDisconnected) for answer in answers)
            second = house.second_link(spec)
            await becomes_ready(second)
            assert all(second.has_recorded(f"trf_{number}") for number in range(3))
            results = [await second.recall(f"trf_{number}", "d") for number in range(3)]
            assert [result.job_id for result in results if result] == ["trf_0", "trf_1", "trf_2"]
            assert second.status().jobs_done == 3
            assert (kept.pid, kept.restarts) == (pid, 0)
            await second.close()

    asyncio.run(body())


def test_newer_gateway_replaces_the_older_and_the_job_goes_on(house: BoxHouse) -> None:
    async def body() -> None:
        spec = replace(box_spec(), operation_time=timedelta(milliseconds=200))
        async with house.at_work(spec) as (box, _):
            asked = asyncio.create_task(box.program(make_job(), "digest"))
            await asyncio.sleep(0)
            await is_taken(box)
            reader, writer = await asyncio.open_unix_connection(
                short_path(socket_path(house.directory, spec.name))
            )
            writer.write(encode_frame(Attach()))
            with pytest.raises(BoxDisconnected):
                await asked
            writer.close()
            await becomes_ready(box)
            assert await box.recall("trf_1", "digest") is not None
            assert box.status().jobs_done == 1
            del reader

    asyncio.run(body())


def test_stranger_who_only_asks_or_talks_nonsense_does_not_disturb(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (box, kept):
            for nonsense in (b"", b"\xff\xff\xff\xff", b"\x00\x00\x00\x02hm", bytes(4)):
                with socket.socket(socket.AF_UNIX) as stranger:
                    stranger.settimeout(SECONDS)
                    stranger.connect(short_path(socket_path(house.directory, "box-1")))
                    (body,) = FrameBuffer().feed(stranger.recv(65_536))
                    identity = decode_from_box(body)
                    assert isinstance(identity, Identity)
                    assert (identity.box, identity.pid) == ("box-1", kept.pid)
                    stranger.sendall(nonsense)
                    if nonsense:
                        assert await asyncio.to_thread(stranger.recv, 1) == b""
            await box.program(make_job(), "digest")
            assert kept.restarts == 0

    asyncio.run(body())


def test_second_process_of_the_same_box_says_so_and_ends(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (box, kept):
            second = await asyncio.to_thread(run_box, house, "box-1")
            assert second.returncode == HELD_ELSEWHERE
            assert "at work in another process" in second.stderr
            await box.program(make_job(), "digest")
            assert kept.restarts == 0

    asyncio.run(body())


def run_box(house: BoxHouse, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, name, "--data-dir", str(house.data_dir)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_box_without_specification_or_with_closed_keys_ends_with_its_reason(house: BoxHouse) -> None:
    unknown = run_box(house, "box-9")
    assert (unknown.returncode, "box-9" in unknown.stderr) == (NO_SUCH_BOX, True)
    house.write_spec(box_spec())
    (house.directory / "keys" / "key-encryption.key").chmod(0o644)
    closed = run_box(house, "box-1")
    assert (closed.returncode, "cannot open its keys" in closed.stderr) == (KEYS_CLOSED, True)


def test_box_started_again_cuts_a_torn_record_and_stops_at_a_damaged_one(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (box, _):
            results = [await box.program(make_job(f"trf_{number}"), "digest") for number in range(2)]
        whole = house.journal().read_bytes()
        house.journal().write_bytes(whole + whole[:100])
        async with house.at_work(box_spec(), with_key=False) as (box, _):
            assert [await box.recall(f"trf_{number}") for number in range(2)] == results
        assert house.journal().read_bytes() == whole
        house.journal().write_bytes(whole[:60] + b"\xff" + whole[61:])
        processes = house.processes()
        box = processes.make_box(box_spec())
        await becomes(box, "journal_damaged")
        house.journal().write_bytes(whole)
        await box.reload()
        assert box.ready
        assert await box.recall("trf_1") == results[1]
        await box.close()

    asyncio.run(body())


def test_box_whose_disk_is_full_stops_and_goes_on_when_there_is_room(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (box, kept):
            first = await box.program(make_job("trf_0"), "digest")
            assert kept.pid is not None
            room = house.journal().stat().st_size + 100
            resource.prlimit(kept.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            with pytest.raises(BoxJournalUnwritable):
                await box.program(make_job(), "digest")
            assert box.status().state == "journal_unwritable"
            assert await box.recall("trf_0") == first
            assert house.journal().stat().st_size == room - 100
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(kept.pid, resource.RLIMIT_FSIZE, unlimited)
            await box.reload()
            assert box.ready
            assert await box.recall("trf_1") is None
            await box.program(make_job(), "digest")
            assert kept.restarts == 0

    asyncio.run(body())


def test_transactions_are_deducted_once_and_remembered_by_the_next_process(house: BoxHouse) -> None:
    async def body() -> None:
        spec = replace(box_spec(), transactions="standard", transactions_loaded=2)
        async with house.at_work(spec) as (box, kept):
            await box.program(make_job("trf_0"), "digest")
            await box.program(make_job("trf_0"), "digest")
            assert box.status().transactions_left == 1
            kept.kill()
            await becomes(box, "disconnected")
            await becomes_ready(box)
            await box.program(make_job("trf_0"), "digest")
            await box.program(make_job("trf_1"), "digest")
            assert box.status().transactions_left == 0
            with pytest.raises(TransactionsExhausted):
                await box.program(make_job("trf_2"), "digest")
            assert box.status().state == "transactions_exhausted"
            assert box.ready
            await box.program(make_job("trf_free", base_fuc=4), "digest")
            await box.configure(replace(spec, transactions_loaded=3))
            assert box.ready
            await box.program(make_job("trf_2"), "digest")

    asyncio.run(body())


def test_stopping_finishes_the_job_at_hand_without_its_waiting_time(house: BoxHouse) -> None:
    async def body() -> None:
        spec = replace(box_spec(), operation_time=timedelta(seconds=50))
        async with house.at_work(spec) as (box, kept):
            asked = asyncio.create_task(box.program(make_job(), "digest"))
            await asyncio.sleep(0)
            await is_taken(box)
            async with asyncio.timeout(SECONDS):
                await kept.stop()
                assert (await asked).job_id == "trf_1"
            assert kept.pid is None
        assert not socket_path(house.directory, "box-1").exists()

    asyncio.run(body())


def test_closing_the_link_does_not_wait_for_the_pace(house: BoxHouse) -> None:
    async def body() -> None:
        spec = replace(box_spec(), operation_time=timedelta(seconds=50))
        async with house.at_work(spec) as (box, _):
            asked = [asyncio.create_task(box.program(make_job(f"trf_{number}"), "d")) for number in range(3)]
            await asyncio.sleep(0)
            await is_taken(box)
            async with asyncio.timeout(SECONDS):
                await box.close()
            results = await asyncio.gather(*asked)
            assert [result.job_id for result in results] == ["trf_0", "trf_1", "trf_2"]

    asyncio.run(body())


def test_process_that_no_gateway_wants_ends_itself(house: BoxHouse) -> None:
    house.write_spec(box_spec())
    impatient = (
        "import typer; from app.command.fsb_box import run_box; from fsb_gateway.process import box_process;"
        "box_process._ALONE_SECONDS = 0.2; typer.run(run_box)"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", impatient, "box-1", "--data-dir", str(house.data_dir)],
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0


def test_process_whose_keys_do_not_answer_ends_so_that_it_is_started_again(house: BoxHouse) -> None:
    house.write_spec(box_spec())
    stuck = (
        "import threading, typer, fsb_gateway.driver; from app.command.fsb_box import run_box;"
        "from fsb_gateway.process import box_process; box_process._START_SECONDS = 0.2;"
        "fsb_gateway.driver.open_driver = lambda *a, **k: threading.Event().wait(); typer.run(run_box)"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", stuck, "box-1", "--data-dir", str(house.data_dir)],
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == KEYS_CLOSED
    assert "do not answer" in ended.stderr


def test_socket_works_in_a_deep_directory_with_a_long_name_and_is_private(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    house = BoxHouse(deep)
    spec = box_spec("b" * 128)
    assert len(os.fsencode(socket_path(house.directory, spec.name))) > 107

    async def body() -> None:
        async with house.at_work(spec) as (box, _):
            await box.program(make_job(), "digest")
            path = socket_path(house.directory, spec.name)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    asyncio.run(body())


def test_nothing_secret_stands_in_the_arguments(house: BoxHouse) -> None:
    async def body() -> None:
        async with house.at_work(box_spec()) as (_, kept):
            arguments = read_proc(kept, "cmdline").split(b"\0")
            assert arguments[-6:-1] == [
                b"box-1",
                b"--data-dir",
                os.fsencode(house.data_dir),
                b"--log-level",
                b"warning",
            ]

    asyncio.run(body())


def test_saturated_box_programs_all_the_time(house: BoxHouse) -> None:
    """In the best of five seconds: other processes may take the processor away, the gateway does not."""

    async def body() -> None:
        spec = replace(box_spec(), operation_time=timedelta(milliseconds=20))
        async with house.at_work(spec) as (box, _):
            loop = asyncio.get_running_loop()
            numbers = iter(range(251))
            readings: list[tuple[float, float]] = []

            async def keep_one_staged() -> None:
                for number in numbers:
                    await box.program(make_job(f"trf_{number}"), "digest")
                    if number % 50 == 0:
                        readings.append((loop.time(), box.status().busy_seconds))

            await asyncio.gather(keep_one_staged(), keep_one_staged())
            pairs = list(itertools.pairwise(readings))
            shares = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairs]
            assert len(shares) == 5
            assert max(shares) >= 0.99
            assert min(shares) >= 0.9

    asyncio.run(body())

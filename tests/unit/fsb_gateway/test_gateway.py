"""The gateway with boxes that sign when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fsb_gateway import (
    BoxJournalDamaged,
    BoxJournalUnwritable,
    BoxQueueFull,
    BoxSpec,
    BoxSpecInvalid,
    FileMalformed,
    FirmCodeNotOwned,
    FirmKeyMissing,
    FsbUnavailable,
    Gateway,
    JobDeadlinePassed,
    JobIdReused,
    JobMalformed,
    JobPending,
    JobUnknown,
    Keystore,
    PoolUnknown,
    PoolWithoutBox,
    ProgrammingResult,
    read_update,
)
from fsb_gateway.journal import Journal
from tests.fake.clock import START, FakeClock
from tests.unit.fsb_gateway.factory import (
    FIRM_CODE,
    GateDriver,
    add_item,
    box_spec,
    journal_path,
    make_authority,
    make_job,
    make_steps,
    p256,
)

AUTHORITY = make_authority()
LONG = timedelta(seconds=20)
NOW = timedelta(0)


class Setup:
    """A gateway in a folder; `restart` gives another one on the same folder."""

    def __init__(self, folder: Path, clock: FakeClock, **options: Any) -> None:
        self.folder = folder
        self.clock = clock
        self.drivers: dict[str, GateDriver] = {}
        self.open_gates = options.pop("open_gates", True)
        keystore = Keystore(folder / "keys", clock=clock)
        self.gateway = Gateway(
            keystore, folder / "boxes", clock=clock, driver_factory=self._driver, **options
        )

    def _driver(self, spec: BoxSpec) -> GateDriver:
        return self.drivers.setdefault(spec.name, GateDriver(AUTHORITY, open_gate=self.open_gates))

    async def begun(self, box: str = "box-1") -> None:
        """Wait until a box has begun to sign."""
        assert await asyncio.to_thread(self.drivers[box].begun.acquire, timeout=20)

    def open(self) -> None:
        for driver in self.drivers.values():
            driver.gate.set()


@asynccontextmanager
async def running(setup: Setup, *boxes: str) -> AsyncIterator[Gateway]:
    for name in boxes or ("box-1",):
        await setup.gateway.ensure_box(box_spec(name))
    try:
        yield setup.gateway
    finally:
        setup.open()
        await setup.gateway.close()


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await body()

    asyncio.run(main())


@pytest.fixture
def setup(tmp_path: Path, clock: FakeClock) -> Setup:
    return Setup(tmp_path, clock)


@pytest.fixture
def gated(tmp_path: Path, clock: FakeClock) -> Setup:
    return Setup(tmp_path, clock, open_gates=False, queue_limit=2)


def test_update_comes_back_and_opens_for_the_container(setup: Setup) -> None:
    async def body() -> None:
        async with running(setup) as gateway:
            result = await gateway.program(make_job(), wait=LONG)
            assert isinstance(result, ProgrammingResult)
            update = read_update(result.update, p256("container"), root=AUTHORITY.root.certificate, at=START)
            assert (update.job_id, result.box, result.operations) == ("trf_1", "box-1", 1)
            (status,) = gateway.boxes()
            assert (status.jobs_done, status.operations_done, status.state) == (1, 1, "ready")

    run(body)


def test_repeated_job_gets_the_first_update_also_after_a_restart(setup: Setup, clock: FakeClock) -> None:
    async def body() -> None:
        async with running(setup) as gateway:
            first = await gateway.program(make_job(), wait=LONG)
            assert await gateway.program(make_job(), wait=LONG) == first
            assert await gateway.find("trf_1") == first
        again = Setup(setup.folder, clock)
        async with running(again, "box-0", "box-1") as gateway:
            clock.advance(timedelta(days=1))  # past its deadline, and still the recorded result
            assert await gateway.program(make_job(), wait=LONG) == first
            assert await gateway.find("trf_1") == first
            assert [driver.signed for driver in again.drivers.values()] == [0, 0]

    run(body)


def test_job_repeated_while_it_runs_joins_it(gated: Setup) -> None:
    async def body() -> None:
        async with running(gated) as gateway:
            first = asyncio.create_task(gateway.program(make_job(), wait=LONG))
            await gated.begun()
            pending = await gateway.program(make_job(), wait=NOW)
            assert isinstance(pending, JobPending)
            assert pending.position == 0
            second = asyncio.create_task(gateway.program(make_job(), wait=LONG))
            gated.open()
            assert await first == await second
            assert gated.drivers["box-1"].signed == 1

    run(body)


def test_same_id_with_other_content_is_refused_running_and_done(gated: Setup) -> None:
    other = make_job(base_fuc=5)

    async def body() -> None:
        async with running(gated) as gateway:
            task = asyncio.create_task(gateway.program(make_job(), wait=LONG))
            await gated.begun()
            with pytest.raises(JobIdReused):
                await gateway.program(other, wait=LONG)
            gated.open()
            await task
            with pytest.raises(JobIdReused):
                await gateway.program(other, wait=LONG)
            assert gated.drivers["box-1"].signed == 1

    run(body)


def test_job_that_waits_knows_its_place_and_is_served_in_turn(gated: Setup) -> None:
    async def body() -> None:
        async with running(gated) as gateway:
            assert isinstance(await gateway.program(make_job("trf_1"), wait=NOW), JobPending)
            await gated.begun()
            second = await gateway.program(make_job("trf_2"), wait=NOW)
            third = await gateway.program(make_job("trf_3"), wait=NOW)
            assert isinstance(second, JobPending)
            assert isinstance(third, JobPending)
            assert (second.position, third.position) == (1, 2)
            assert timedelta(0) < second.expected_wait < third.expected_wait
            (pool,) = gateway.pools()
            assert (pool.waiting, pool.running, pool.ready_boxes) == (2, 1, 1)
            gated.open()
            assert isinstance(await gateway.find("trf_3", wait=LONG), ProgrammingResult)
            assert isinstance(await gateway.find("trf_2"), ProgrammingResult)

    run(body)


def test_queue_of_an_instance_is_bounded(gated: Setup) -> None:
    async def body() -> None:
        async with running(gated) as gateway:
            for number in range(3):  # one runs, two wait
                await gateway.program(make_job(f"trf_{number}"), wait=NOW)
                await gated.begun() if number == 0 else None
            with pytest.raises(BoxQueueFull) as caught:
                await gateway.program(make_job("trf_9"), wait=NOW)
            expected = caught.value.detail["expected_wait_seconds"]
            assert isinstance(expected, float)
            assert expected > 0
            with pytest.raises(JobUnknown):
                await gateway.find("trf_9")

    run(body)


def test_job_past_its_deadline_is_dropped_and_nothing_is_programmed(gated: Setup, clock: FakeClock) -> None:
    async def body() -> None:
        async with running(gated) as gateway:
            running_job = asyncio.create_task(gateway.program(make_job("trf_1"), wait=LONG))
            await gated.begun()
            await gateway.program(make_job("trf_2"), wait=NOW)
            await gateway.program(make_job("trf_3"), wait=NOW)
            clock.advance(timedelta(hours=1))
            for _ in range(2):
                with pytest.raises(JobDeadlinePassed):
                    await gateway.find("trf_2")
            gated.open()
            assert isinstance(await running_job, ProgrammingResult), "a job that has begun is finished"
            with pytest.raises(JobDeadlinePassed):
                await gateway.find("trf_3")
            with pytest.raises(JobDeadlinePassed):
                await gateway.program(make_job("trf_4"), wait=LONG)
            assert gated.drivers["box-1"].signed == 1
            later = make_job("trf_2", deadline_at=clock.now() + timedelta(hours=1))
            assert isinstance(await gateway.program(later, wait=LONG), ProgrammingResult)

    run(body)


def test_two_boxes_work_side_by_side(gated: Setup) -> None:
    async def body() -> None:
        async with running(gated, "box-1", "box-2") as gateway:
            for number in range(2):
                await gateway.program(make_job(f"trf_{number}"), wait=NOW)
            await gated.begun("box-1")
            await gated.begun("box-2")
            gated.open()
            results = [await gateway.find(f"trf_{number}", wait=LONG) for number in range(2)]
            assert {result.box for result in results if isinstance(result, ProgrammingResult)} == {
                "box-1",
                "box-2",
            }

    run(body)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"pool": "elsewhere"}, PoolUnknown),
        ({"instance_id": "ins_2"}, FirmCodeNotOwned),
        ({"firm_code": FIRM_CODE + 1}, FirmKeyMissing),
        ({"steps": ()}, JobMalformed),
        ({"container_key": {"kty": "oct"}}, FileMalformed),
    ],
    ids=["pool", "instance", "firm code", "steps", "container key"],
)
def test_refused_job_leaves_nothing_behind(
    setup: Setup, changes: dict[str, Any], refusal: type[Exception]
) -> None:
    async def body() -> None:
        async with running(setup) as gateway:
            with pytest.raises(refusal):
                await gateway.program(make_job(**changes), wait=LONG)
            assert setup.drivers["box-1"].signed == 0
            assert isinstance(await gateway.program(make_job(), wait=LONG), ProgrammingResult)

    run(body)


def fail_to_append(monkeypatch: pytest.MonkeyPatch, boxes: tuple[str, ...]) -> None:
    real = Journal.append

    def append(journal: Journal, job_id: str, request: str, result: bytes) -> None:
        if journal.name in boxes:
            raise BoxJournalUnwritable("the disk is full")
        real(journal, job_id, request, result)

    monkeypatch.setattr(Journal, "append", append)


def test_box_with_a_full_disk_hands_nothing_out_and_recovers(
    setup: Setup, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        async with running(setup) as gateway:
            fail_to_append(monkeypatch, ("box-1.journal",))
            for _ in range(2):
                with pytest.raises(BoxJournalUnwritable):
                    await gateway.program(make_job(), wait=LONG)
            assert gateway.boxes()[0].state == "journal_unwritable"
            assert not gateway.ready()
            monkeypatch.undo()
            await gateway.ensure_box(box_spec())
            assert gateway.boxes()[0].state == "ready"
            assert isinstance(await gateway.program(make_job(), wait=LONG), ProgrammingResult)

    run(body)


def test_box_with_a_full_disk_looks_again_by_itself(
    setup: Setup, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        async with running(setup) as gateway:
            fail_to_append(monkeypatch, ("box-1.journal",))
            with pytest.raises(BoxJournalUnwritable):
                await gateway.program(make_job(), wait=LONG)
            monkeypatch.undo()
            with pytest.raises(BoxJournalUnwritable):  # says so once more, and looks meanwhile
                await gateway.program(make_job(), wait=LONG)
            async with asyncio.timeout(20):
                while not gateway.ready():  # noqa: ASYNC110 - a box has no event to wait for
                    await asyncio.sleep(0)
            assert isinstance(await gateway.program(make_job(), wait=LONG), ProgrammingResult)

    run(body)


def test_other_box_takes_over_from_one_with_a_full_disk(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        async with running(setup, "box-1", "box-2") as gateway:
            fail_to_append(monkeypatch, ("box-1.journal",))
            result = await gateway.program(make_job(), wait=LONG)
            assert isinstance(result, ProgrammingResult)
            assert result.box == "box-2"
            assert [box.state for box in gateway.boxes()] == ["journal_unwritable", "ready"]

    run(body)


def test_box_with_a_damaged_journal_takes_no_work(setup: Setup, clock: FakeClock) -> None:
    async def body() -> None:
        async with running(setup) as gateway:
            await gateway.program(make_job("trf_1"), wait=LONG)
            await gateway.program(make_job("trf_2"), wait=LONG)
        path = journal_path(setup.folder / "boxes")
        content = bytearray(path.read_bytes())
        content[60] ^= 1
        path.write_bytes(content)
        again = Setup(setup.folder, clock)
        async with running(again) as gateway:
            assert gateway.boxes()[0].state == "journal_damaged"
            with pytest.raises(BoxJournalDamaged):
                await gateway.program(make_job("trf_3"), wait=LONG)
            assert again.drivers["box-1"].signed == 0

    run(body)


def test_error_inside_a_box_is_unavailable_and_the_box_goes_on(setup: Setup) -> None:
    async def body() -> None:
        async with running(setup) as gateway:
            driver = setup.drivers["box-1"]
            real, driver.sign = driver.sign, broken  # type: ignore[method-assign]
            with pytest.raises(FsbUnavailable):
                await gateway.program(make_job(), wait=LONG)
            driver.sign = real  # type: ignore[method-assign]
            assert isinstance(await gateway.program(make_job(), wait=LONG), ProgrammingResult)

    run(body)


def broken(firm_code: int, message: bytes) -> bytes:
    raise RuntimeError("the dongle was pulled out")


def test_closing_finishes_the_running_job_and_refuses_the_waiting(gated: Setup) -> None:
    async def body() -> None:
        await gated.gateway.ensure_box(box_spec())
        first = asyncio.create_task(gated.gateway.program(make_job("trf_1"), wait=LONG))
        await gated.begun()
        second = asyncio.create_task(gated.gateway.program(make_job("trf_2"), wait=LONG))
        await asyncio.sleep(0)
        closing = asyncio.create_task(gated.gateway.close())
        with pytest.raises(PoolWithoutBox):
            await second
        gated.open()
        await closing
        assert isinstance(await first, ProgrammingResult)
        await gated.gateway.close()
        with pytest.raises(PoolWithoutBox):
            await gated.gateway.program(make_job("trf_3"), wait=LONG)

    run(body)


def test_pace_is_kept_for_each_operation(tmp_path: Path, clock: FakeClock) -> None:
    async def body() -> None:
        setup = Setup(tmp_path, clock)
        gateway = setup.gateway
        await gateway.ensure_box(
            BoxSpec(name="box-1", pool="shared", operation_time=timedelta(milliseconds=10))
        )
        begun = clock.monotonic()
        job = make_job(steps=make_steps(0, (add_item("lic_1"), add_item("lic_2"), add_item("lic_3"))))
        await gateway.program(job, wait=LONG)
        assert clock.monotonic() - begun >= 0.03
        assert gateway.boxes()[0].busy_seconds >= 0.03
        await gateway.ensure_box(box_spec())
        assert gateway.boxes()[0].jobs_done == 1
        await gateway.close()

    run(body)


@pytest.mark.parametrize(
    "spec",
    [
        BoxSpec(name="box-1", pool="other"),
        BoxSpec(name="box-1", pool="shared", operation_time=timedelta(days=1)),
        BoxSpec(name="box-1", pool="shared", operation_time=timedelta(seconds=-1)),
    ],
    ids=["other pool", "absurd pace", "negative pace"],
)
def test_impossible_box_is_refused(setup: Setup, spec: BoxSpec) -> None:
    async def body() -> None:
        async with running(setup) as gateway:
            with pytest.raises(BoxSpecInvalid):
                await gateway.ensure_box(spec)

    run(body)


def test_software_box_learns_a_firm_key_that_is_installed_later(tmp_path: Path, clock: FakeClock) -> None:
    async def body() -> None:
        gateway = Gateway(Keystore(tmp_path / "keys", clock=clock), tmp_path / "boxes", clock=clock)
        await gateway.ensure_box(box_spec("box-1"))
        await gateway.ensure_box(box_spec("box-2"))
        with pytest.raises(FirmKeyMissing):
            await gateway.program(make_job(), wait=LONG)
        status = await gateway.ensure_firm_key("ins_1", FIRM_CODE, pool="shared")
        assert status.certificate.startswith("-----BEGIN CERTIFICATE-----")
        assert isinstance(await gateway.program(make_job(), wait=LONG), ProgrammingResult)
        assert [box.firm_codes for box in gateway.boxes()] == [(FIRM_CODE,), (FIRM_CODE,)]
        with pytest.raises(FirmCodeNotOwned):
            await gateway.ensure_firm_key("ins_2", FIRM_CODE, pool="shared")
        await gateway.close()

    run(body)

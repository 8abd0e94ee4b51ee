"""A firm key that cannot be opened stops its own jobs, for as long as it is damaged, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fsb_gateway import (
    FirmKeyMissing,
    FsbUnavailable,
    Gateway,
    JobPending,
    Keystore,
    ProgrammingResult,
)
from fsb_gateway.engine.embedded import embedded_boxes
from tests.fake.clock import FakeClock
from tests.service.wait import wait_until_async
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, box_spec, make_job

LONG = timedelta(seconds=20)
OTHER = FIRM_CODE + 1


class Boxes:
    """A gateway with software boxes in this process, on one folder."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder = folder
        self.clock = clock

    def run(self, body: Callable[[Gateway], Awaitable[None]]) -> None:
        async def main() -> None:
            keystore = Keystore(self.folder / "keys", clock=self.clock)
            gateway = Gateway(
                keystore,
                self.folder,
                clock=self.clock,
                make_box=embedded_boxes(self.folder, keystore, clock=self.clock),
            )
            await gateway.start()
            try:
                await body(gateway)
            finally:
                await gateway.close()

        asyncio.run(main())

    def slot_file(self, box: str = "box-1") -> Path:
        return self.folder / "slots" / box / f"{FIRM_CODE}.json"


@pytest.fixture
def boxes(tmp_path: Path, clock: FakeClock) -> Boxes:
    """One box, or two, with two firm keys each."""
    boxes = Boxes(tmp_path, clock)

    async def install(gateway: Gateway) -> None:
        await gateway.ensure_box(box_spec())
        for firm_code in (FIRM_CODE, OTHER):
            await gateway.ensure_firm_key(INSTANCE, firm_code, pool="shared", algorithm="ES256")

    boxes.run(install)
    return boxes


def test_jobs_of_a_damaged_key_may_come_again_and_others_are_done(boxes: Boxes) -> None:
    whole = boxes.slot_file().read_bytes()
    boxes.slot_file().write_bytes(whole[:40])

    async def body(gateway: Gateway) -> None:
        with pytest.raises(FsbUnavailable) as refused:
            await gateway.program(make_job("trf_1"), wait=LONG)
        assert refused.value.code == "fsb_unavailable"
        with pytest.raises(FirmKeyMissing):
            await gateway.program(make_job("trf_2", firm_code=OTHER + 1), wait=LONG)
        other = await gateway.program(make_job("trf_3", firm_code=OTHER), wait=LONG)
        assert isinstance(other, ProgrammingResult)

        boxes.slot_file().write_bytes(whole)
        assert (await resend_until_done(gateway, boxes.clock)).job_id == "trf_1"

    boxes.run(body)


def test_other_box_with_the_key_does_the_jobs_of_a_damaged_one(boxes: Boxes) -> None:
    async def add(gateway: Gateway) -> None:
        await gateway.ensure_box(box_spec("box-2"))
        await gateway.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared", algorithm="ES256")

    boxes.run(add)
    boxes.slot_file().write_bytes(b"{")

    async def body(gateway: Gateway) -> None:
        jobs = [gateway.program(make_job(f"trf_{number}"), wait=LONG) for number in range(8)]
        results = await asyncio.gather(*jobs)
        assert {result.box for result in results if isinstance(result, ProgrammingResult)} == {"box-2"}
        other = await gateway.program(make_job("trf_x", firm_code=OTHER), wait=LONG)
        assert isinstance(other, ProgrammingResult)
        assert other.box == "box-1"

    boxes.run(body)


def test_damaged_key_is_brought_anew_from_the_other_box(boxes: Boxes) -> None:
    """What is left of it is destroyed first: whoever orders that answers for it."""

    async def add(gateway: Gateway) -> None:
        await gateway.ensure_box(box_spec("box-2"))
        await gateway.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared", algorithm="ES256")

    boxes.run(add)
    boxes.slot_file().write_bytes(b"{")

    async def body(gateway: Gateway) -> None:
        await gateway.drop_firm_key(FIRM_CODE, box="box-1")
        await gateway.copy_firm_key(FIRM_CODE, to="box-1")
        await gateway.drop_firm_key(FIRM_CODE, box="box-2")
        result = await gateway.program(make_job("trf_1"), wait=LONG)
        assert isinstance(result, ProgrammingResult)
        assert result.box == "box-1"

    boxes.run(body)


async def resend_until_done(gateway: Gateway, clock: FakeClock) -> ProgrammingResult:
    """As a line does; the box looks at its keys again every few seconds."""
    found: list[ProgrammingResult] = []

    async def ask() -> None:
        try:
            answer = await gateway.program(make_job("trf_1"), wait=timedelta(0))
        except FsbUnavailable:
            return
        if not isinstance(answer, JobPending):
            found.append(answer)

    while not found:
        clock.advance(timedelta(seconds=1))
        task = asyncio.create_task(ask())
        await wait_until_async(task.done, "an answer")
        task.result()
    return found[0]

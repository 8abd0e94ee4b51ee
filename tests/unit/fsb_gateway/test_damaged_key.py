"""A firm key that cannot be opened stops its own jobs, for as long as it is damaged, and nobody else's."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from fsb_gateway import FirmKeyMissing, FsbUnavailable, Gateway, JobPending, Keystore, ProgrammingResult
from fsb_gateway.box_driver import KeySlot
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import (
    FIRM_CODE,
    GateDriver,
    box_spec,
    make_authority,
    make_job,
)

LONG = timedelta(seconds=20)
OTHER = FIRM_CODE + 1


def test_jobs_of_a_damaged_key_may_come_again_and_others_are_done(tmp_path: Path, clock: FakeClock) -> None:
    async def body() -> None:
        path = _install_and_damage(tmp_path, clock)
        whole = path.with_suffix(".whole").read_bytes()
        gateway = _gateway(tmp_path, clock)
        await gateway.ensure_box(box_spec())
        with pytest.raises(FsbUnavailable) as refused:
            await gateway.program(make_job("trf_1"), wait=LONG)
        assert refused.value.code == "fsb_unavailable"
        with pytest.raises(FirmKeyMissing):
            await gateway.program(make_job("trf_2", firm_code=OTHER + 1), wait=LONG)
        other = await gateway.program(make_job("trf_3", firm_code=OTHER), wait=LONG)
        assert isinstance(other, ProgrammingResult)

        path.write_bytes(whole)
        done = await _resend_until_done(gateway, clock)
        assert done.job_id == "trf_1"
        await gateway.close()

    asyncio.run(body())


async def _resend_until_done(gateway: Gateway, clock: FakeClock) -> ProgrammingResult:
    """As a line does; the box looks at its keys again every few seconds."""
    for _ in range(100):
        try:
            answer = await gateway.program(make_job("trf_1"), wait=LONG)
        except FsbUnavailable:
            clock.advance(timedelta(seconds=1))
            await asyncio.to_thread(lambda: None)
            continue
        assert not isinstance(answer, JobPending)
        return answer
    raise AssertionError("the mended key was not taken")


def test_box_that_misses_the_key_does_not_take_the_same_job_again_and_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Two boxes of a pool, started before and after the damage: the second takes the job and has no slot."""

    class Lacking(GateDriver):
        @property
        def unreadable(self) -> frozenset[int]:
            return frozenset({FIRM_CODE})

    async def body() -> None:
        authority = make_authority()
        first, second = GateDriver(authority, open_gate=False), Lacking(authority)
        none: dict[int, KeySlot] = {}
        second.slots = none
        gateway = Gateway(
            Keystore(tmp_path / "keys", clock=clock),
            tmp_path / "boxes",
            clock=clock,
            driver_factory=lambda spec: first if spec.name == "box-1" else second,
        )
        for name in ("box-1", "box-2"):
            await gateway.ensure_box(box_spec(name))
        busy = asyncio.create_task(gateway.program(make_job("trf_1"), wait=LONG))
        assert await asyncio.to_thread(first.begun.acquire, timeout=20)
        with pytest.raises(FsbUnavailable):
            await asyncio.wait_for(gateway.program(make_job("trf_2"), wait=LONG), timeout=10)
        first.gate.set()
        assert isinstance(await busy, ProgrammingResult)
        await gateway.close()

    asyncio.run(body())


def _install_and_damage(folder: Path, clock: FakeClock) -> Path:
    keystore = Keystore(folder / "keys", clock=clock)
    for firm_code in (FIRM_CODE, OTHER):
        keystore.ensure_firm_key("ins_1", firm_code, pool="shared", algorithm="ES256")
    path = folder / "keys" / "firm-key" / f"{FIRM_CODE}.json"
    path.with_suffix(".whole").write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[:40])
    return path


def _gateway(folder: Path, clock: FakeClock) -> Gateway:
    return Gateway(Keystore(folder / "keys", clock=clock), folder / "boxes", clock=clock)

"""Taking back what provisioning installed: a firm key that signed for nobody, a box that has no work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fsb_gateway import (
    BoxBusy,
    BoxJournalUnwritable,
    FirmCodeNotOwned,
    FirmKeyMissing,
    FsbClient,
    Gateway,
    JobMalformed,
    Keystore,
    PoolUnknown,
    ProgrammingResult,
    create_gateway_app,
)
from fsb_gateway.journal import Journal
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, GateDriver, box_spec, make_authority, make_job

LONG = timedelta(seconds=20)
OTHER_CODE = FIRM_CODE + 1


@pytest.fixture
def keystore(tmp_path: Path, clock: FakeClock) -> Keystore:
    return Keystore(tmp_path / "keys", clock=clock)


def run(gateway: Gateway, body: Callable[[FsbClient], Awaitable[None]]) -> None:
    async def main() -> None:
        try:
            await body(FsbClient.in_process(create_gateway_app(gateway)))
        finally:
            await gateway.close()

    asyncio.run(main())


def test_removed_key_signs_nothing_more_and_the_other_keys_go_on(
    keystore: Keystore, tmp_path: Path, clock: FakeClock
) -> None:
    async def body(client: FsbClient) -> None:
        for n in (1, 2):
            await client.ensure_box(box_spec(f"box-{n}"))
        await client.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")
        await client.ensure_firm_key("ins_2", OTHER_CODE, pool="shared")
        for _ in range(2):
            await client.remove_firm_key(INSTANCE, FIRM_CODE)
        assert {box.firm_codes for box in await client.boxes()} == {(OTHER_CODE,)}
        with pytest.raises(FirmKeyMissing):
            await client.program(make_job(), wait=LONG)
        job = make_job("trf_2", instance_id="ins_2", firm_code=OTHER_CODE)
        assert isinstance(await client.program(job, wait=LONG), ProgrammingResult)

    run(Gateway(keystore, tmp_path / "boxes", clock=clock), body)
    assert [key.firm_code for key in keystore.firm_keys("shared").keys] == [OTHER_CODE]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_nothing_of_an_instance_is_left_in_files_once_its_key_and_boxes_are_removed(
    keystore: Keystore, tmp_path: Path, clock: FakeClock
) -> None:
    async def body(client: FsbClient) -> None:
        await client.ensure_box(box_spec())
        await client.ensure_firm_key("ins_2", OTHER_CODE, pool="shared")
        before = files(tmp_path)
        await client.ensure_box(box_spec("own-1", "own"))
        await client.ensure_firm_key(INSTANCE, FIRM_CODE, pool="own")
        assert isinstance(await client.program(make_job(pool="own"), wait=LONG), ProgrammingResult)
        await client.remove_firm_key(INSTANCE, FIRM_CODE)
        await client.remove_box("own-1")
        assert files(tmp_path) == before

    run(Gateway(keystore, tmp_path / "boxes", clock=clock), body)


def test_ca_is_kept_while_its_instance_has_another_key_and_removed_with_the_last(
    keystore: Keystore, tmp_path: Path
) -> None:
    for code in (FIRM_CODE, OTHER_CODE):
        keystore.ensure_firm_key(INSTANCE, code, pool="shared", algorithm="ES256")
    ca = tmp_path / "keys" / "instance-ca" / f"{INSTANCE}.json"
    assert keystore.remove_firm_key(INSTANCE, FIRM_CODE)
    assert ca.exists()
    assert keystore.remove_firm_key(INSTANCE, OTHER_CODE)
    assert not ca.exists()


def test_removal_killed_between_key_and_ca_is_finished_by_a_repeat(
    keystore: Keystore, tmp_path: Path
) -> None:
    keystore.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared", algorithm="ES256")
    (tmp_path / "keys" / "firm-key" / f"{FIRM_CODE}.json").unlink()
    assert not keystore.remove_firm_key(INSTANCE, FIRM_CODE)
    assert not (tmp_path / "keys" / "instance-ca" / f"{INSTANCE}.json").exists()


def test_journal_of_a_box_that_a_killed_process_left_is_removed_and_one_in_use_is_not(
    keystore: Keystore, tmp_path: Path, clock: FakeClock
) -> None:
    folder = tmp_path / "boxes"

    async def leave(client: FsbClient) -> None:
        await client.ensure_box(box_spec("own-1", "own"))

    async def remove(client: FsbClient) -> None:
        used = Journal(folder / "own-1.journal", clock=clock)
        with pytest.raises(BoxJournalUnwritable):
            await client.remove_box("own-1")
        used.close()
        await client.remove_box("own-1")
        with pytest.raises(JobMalformed):
            await client.remove_box("own 1")

    run(Gateway(keystore, folder, clock=clock), leave)
    assert len(files(folder)) == 3
    run(Gateway(keystore, folder, clock=clock), remove)
    assert files(folder) == set()


def test_firm_code_of_a_removed_key_can_be_given_to_another_instance(
    keystore: Keystore, tmp_path: Path, clock: FakeClock
) -> None:
    async def body(client: FsbClient) -> None:
        await client.ensure_box(box_spec())
        await client.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")
        await client.remove_firm_key(INSTANCE, FIRM_CODE)
        await client.ensure_firm_key("ins_2", FIRM_CODE, pool="shared")
        job = make_job(instance_id="ins_2")
        assert isinstance(await client.program(job, wait=LONG), ProgrammingResult)

    run(Gateway(keystore, tmp_path / "boxes", clock=clock), body)


def test_nobody_removes_the_key_of_another_instance(
    keystore: Keystore, tmp_path: Path, clock: FakeClock
) -> None:
    async def body(client: FsbClient) -> None:
        await client.ensure_box(box_spec())
        await client.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")
        with pytest.raises(FirmCodeNotOwned):
            await client.remove_firm_key("ins_2", FIRM_CODE)
        assert isinstance(await client.program(make_job(), wait=LONG), ProgrammingResult)

    run(Gateway(keystore, tmp_path / "boxes", clock=clock), body)


@pytest.mark.parametrize(
    ("instance_id", "firm_code"), [("../ins", FIRM_CODE), (INSTANCE, -1), (INSTANCE, 2**32)]
)
def test_removal_of_what_is_no_key_is_refused(keystore: Keystore, instance_id: str, firm_code: int) -> None:
    with pytest.raises(JobMalformed):
        keystore.remove_firm_key(instance_id, firm_code)


def test_removed_box_is_gone_with_its_pool_and_can_be_set_up_again(
    keystore: Keystore, tmp_path: Path, clock: FakeClock
) -> None:
    async def body(client: FsbClient) -> None:
        await client.ensure_box(box_spec("own-1", "own"))
        await client.ensure_box(box_spec())
        for _ in range(2):
            await client.remove_box("own-1")
        assert [box.name for box in await client.boxes()] == ["box-1"]
        assert [pool.name for pool in await client.pools()] == ["shared"]
        with pytest.raises(PoolUnknown):
            await client.program(make_job(pool="own"), wait=LONG)
        assert (await client.ensure_box(box_spec("own-1", "own"))).state == "ready"

    run(Gateway(keystore, tmp_path / "boxes", clock=clock), body)


def test_box_that_has_work_stays(keystore: Keystore, tmp_path: Path, clock: FakeClock) -> None:
    driver = GateDriver(make_authority(), open_gate=False)
    gateway = Gateway(keystore, tmp_path / "boxes", clock=clock, driver_factory=lambda _spec: driver)

    async def body(client: FsbClient) -> None:
        await client.ensure_box(box_spec())
        working = asyncio.create_task(client.program(make_job(), wait=LONG))
        assert await asyncio.to_thread(driver.begun.acquire, timeout=20)
        with pytest.raises(BoxBusy):
            await client.remove_box("box-1")
        driver.gate.set()
        assert isinstance(await working, ProgrammingResult)
        await client.remove_box("box-1")

    run(gateway, body)

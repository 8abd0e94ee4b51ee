"""Steps with firm keys that are killed before and after everything that they do, and repeated by the next process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fsb_gateway import FirmKeyReport, Gateway
from fsb_gateway.driver.software import SoftwareDriver
from fsb_gateway.error import FirmKeyUnfit
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE
from tests.unit.fsb_gateway.gateway.key_site import Body, Killed, Life, Site, add_boxes, install, program


async def check_signs(gateway: Gateway, boxes: int) -> FirmKeyReport:
    """One key, in all boxes, which sign with it; nothing else is left in them."""
    (report,) = await gateway.firm_keys()
    assert len(report.boxes) == boxes
    for number in range(2 * boxes):
        assert (await program(gateway, f"trf_{number}")).signer.instance_id == INSTANCE
    assert [box.jobs_done for box in gateway.boxes()] == [2] * boxes
    return report


def copy_of(site: Site, folder: Path) -> Site:
    """Another site that begins as this one is."""
    shutil.copytree(site.folder, folder)
    return Site(folder, site.clock)


def kill_everywhere(tmp_path: Path, clock: FakeClock, prepare: Body, step: Body, check: Body) -> int:
    """Kill a step before and after each thing that it does, repeat it in a new process, and look."""
    before = Site(tmp_path / "before", clock)
    before.run(prepare)
    whole = Life()
    copy_of(before, tmp_path / "whole").run(step, whole)
    assert whole.steps > 0
    for ends_at in range(1, whole.steps + 1):
        for is_done_first in (False, True):
            site = copy_of(before, tmp_path / f"{ends_at}-{is_done_first}")
            assert isinstance(site.run(step, Life(ends_at, is_done_first=is_done_first)), Killed)
            site.run(step)
            site.run(check)
            for path in (site.folder / "slots").rglob(f"{FIRM_CODE}.json"):
                assert path.read_bytes().count(b'"key_id"') == 1
    return whole.steps


async def two_boxes(gateway: Gateway) -> None:
    await add_boxes(gateway, "box-1", "box-2")


async def two_boxes_with_key(gateway: Gateway) -> None:
    await two_boxes(gateway)
    await install(gateway)


def test_installation_killed_anywhere_is_finished_by_a_repeat(tmp_path: Path, clock: FakeClock) -> None:
    steps = kill_everywhere(tmp_path, clock, two_boxes, install, lambda gateway: check_signs(gateway, 2))
    assert steps >= 8


def test_rotation_killed_anywhere_is_finished_by_a_repeat(tmp_path: Path, clock: FakeClock) -> None:
    async def rotate(gateway: Gateway) -> None:
        await gateway.rotate_firm_key(FIRM_CODE, key_id="key_new")

    async def check(gateway: Gateway) -> None:
        report = await check_signs(gateway, 2)
        assert (report.key_id, len(report.former)) == ("key_new", 1)

    assert kill_everywhere(tmp_path, clock, two_boxes_with_key, rotate, check) >= 10


def test_rotation_of_a_key_that_cannot_leave_its_box_is_finished_by_a_repeat(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SoftHSM2 has Ed25519 keys."""
    export = SoftwareDriver.export

    def export_nothing(driver: SoftwareDriver, firm_code: int, key_id: str, *, to: bytes) -> bytes:
        export(driver, firm_code, key_id, to=to)
        raise FirmKeyUnfit("the key stays where it is", firm_code=firm_code)

    monkeypatch.setattr(SoftwareDriver, "export", export_nothing)

    async def prepare(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1")
        await install(gateway, algorithm="Ed25519")

    async def rotate(gateway: Gateway) -> None:
        await gateway.rotate_firm_key(FIRM_CODE, key_id="key_new")

    async def check(gateway: Gateway) -> None:
        report = await check_signs(gateway, 1)
        assert (report.key_id, len(report.former)) == ("key_new", 1)

    assert kill_everywhere(tmp_path, clock, prepare, rotate, check) >= 6


def test_rotation_killed_anywhere_leaves_a_key_that_signs(tmp_path: Path, clock: FakeClock) -> None:
    async def rotate(gateway: Gateway) -> None:
        await gateway.rotate_firm_key(FIRM_CODE, key_id="key_new")

    async def still_signs(gateway: Gateway) -> None:
        for number in range(4):
            assert (await program(gateway, f"trf_{number}")).signer.instance_id == INSTANCE

    before = Site(tmp_path / "before", clock)
    before.run(two_boxes_with_key)
    for ends_at in range(1, 30):
        site = copy_of(before, tmp_path / str(ends_at))
        if not isinstance(site.run(rotate, Life(ends_at)), Killed):
            break
        site.run(still_signs)
    assert ends_at > 10


def test_copy_and_move_killed_anywhere_are_finished_by_a_repeat(tmp_path: Path, clock: FakeClock) -> None:
    async def prepare(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1")
        await install(gateway)
        await add_boxes(gateway, "box-2")

    async def move(gateway: Gateway) -> None:
        await gateway.copy_firm_key(FIRM_CODE, to="box-2")
        await gateway.drop_firm_key(FIRM_CODE, box="box-1")

    async def check(gateway: Gateway) -> None:
        (report,) = await gateway.firm_keys()
        assert report.boxes == ("box-2",)
        await program(gateway, "trf_1")

    kill_everywhere(tmp_path, clock, prepare, move, check)


def test_retirement_and_removal_killed_anywhere_are_finished_by_a_repeat(
    tmp_path: Path, clock: FakeClock
) -> None:
    async def retire(gateway: Gateway) -> None:
        await gateway.retire_firm_key(FIRM_CODE)

    async def remove(gateway: Gateway) -> None:
        await gateway.remove_firm_key(INSTANCE, FIRM_CODE)

    async def is_retired(gateway: Gateway) -> None:
        (report,) = await gateway.firm_keys()
        assert (report.state, report.boxes) == ("retired", ())

    async def is_gone(gateway: Gateway) -> None:
        assert await gateway.firm_keys() == ()
        assert {box.firm_codes for box in gateway.boxes()} == {()}

    kill_everywhere(tmp_path / "retire", clock, two_boxes_with_key, retire, is_retired)
    kill_everywhere(tmp_path / "remove", clock, two_boxes_with_key, remove, is_gone)

"""Taking back what provisioning installed: a firm key that signed for nobody, a box that has no work."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsb_gateway import (
    BoxSpec,
    FirmCodeNotOwned,
    FirmKeyMissing,
    FsbClient,
    Gateway,
    JobMalformed,
    ProgrammingResult,
    create_gateway_app,
)
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, make_job
from tests.unit.fsb_gateway.gateway.key_site import Site, add_boxes, install
from tests.unit.fsb_gateway.gateway.stage import LONG

OTHER_CODE = FIRM_CODE + 1


@pytest.fixture
def site(tmp_path: Path, clock: FakeClock) -> Site:
    return Site(tmp_path, clock)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_removed_key_signs_nothing_more_and_the_other_keys_go_on(site: Site) -> None:
    async def body(gateway: Gateway) -> None:
        client = FsbClient.in_process(create_gateway_app(gateway))
        await add_boxes(gateway, "box-1", "box-2")
        await install(gateway)
        await client.ensure_firm_key("ins_2", OTHER_CODE, pool="shared")
        for _ in range(2):
            await client.remove_firm_key(INSTANCE, FIRM_CODE)
        assert {box.firm_codes for box in await client.boxes()} == {(OTHER_CODE,)}
        assert [key.firm_code for key in await client.firm_keys()] == [OTHER_CODE]
        with pytest.raises(FirmKeyMissing):
            await client.program(make_job(), wait=LONG)
        job = make_job("trf_2", instance_id="ins_2", firm_code=OTHER_CODE)
        assert isinstance(await client.program(job, wait=LONG), ProgrammingResult)

    site.run(body)


def test_nothing_of_an_instance_is_left_in_files_once_its_key_and_boxes_are_removed(site: Site) -> None:
    async def body(gateway: Gateway) -> None:
        client = FsbClient.in_process(create_gateway_app(gateway))
        await add_boxes(gateway, "box-1")
        await client.ensure_firm_key("ins_2", OTHER_CODE, pool="shared")
        before = files(site.folder)
        await client.ensure_box(BoxSpec(name="own-1", pool="own", owner=INSTANCE))
        await client.ensure_firm_key(INSTANCE, FIRM_CODE, pool="own")
        assert isinstance(await client.program(make_job(pool="own"), wait=LONG), ProgrammingResult)
        assert len(files(site.folder)) > len(before) + 3
        await client.remove_firm_key(INSTANCE, FIRM_CODE)
        for _ in range(2):
            await client.remove_box("own-1")
        assert files(site.folder) == before
        assert not (site.folder / "slots" / "own-1").exists()

    site.run(body)


def test_removed_box_takes_its_journal_along_and_a_new_one_of_its_name_knows_none_of_its_jobs(
    site: Site,
) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1", "box-2")
        await install(gateway)
        first = await gateway.program(make_job(), wait=LONG)
        assert isinstance(first, ProgrammingResult)
        await gateway.remove_box(first.box)
        assert not list(site.folder.glob(f"journals/{first.box}.journal*"))
        await add_boxes(gateway, first.box)
        await gateway.copy_firm_key(FIRM_CODE, to=first.box)

    async def after(gateway: Gateway) -> None:
        again = await gateway.program(make_job(), wait=LONG)
        assert isinstance(again, ProgrammingResult)
        assert sum(box.operations_done for box in gateway.boxes()) == 1

    site.run(body)
    site.run(after)


def test_files_of_a_box_that_a_killed_removal_left_are_removed_by_a_repeat(site: Site) -> None:
    async def leave(gateway: Gateway) -> None:
        await add_boxes(gateway, "own-1", pool="own")

    async def remove(gateway: Gateway) -> None:
        assert gateway.boxes() == ()
        await gateway.remove_box("own-1")
        with pytest.raises(JobMalformed):
            await gateway.remove_box("own 1")

    site.run(leave)
    (site.folder / "box" / "own-1.json").unlink()  # the first thing that a removal does
    assert any("own-1" in name for name in files(site.folder))
    site.run(remove)
    assert not any("own-1" in name for name in files(site.folder))


def test_nobody_removes_the_key_of_another_instance(site: Site) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1")
        await install(gateway)
        with pytest.raises(FirmCodeNotOwned):
            await gateway.remove_firm_key("ins_2", FIRM_CODE)
        assert isinstance(await gateway.program(make_job(), wait=LONG), ProgrammingResult)

    site.run(body)


@pytest.mark.parametrize(
    ("instance_id", "firm_code"), [("../ins", FIRM_CODE), (INSTANCE, -1), (INSTANCE, 2**32)]
)
def test_removal_of_what_is_no_key_is_refused(site: Site, instance_id: str, firm_code: int) -> None:
    async def body(gateway: Gateway) -> None:
        with pytest.raises(JobMalformed):
            await gateway.remove_firm_key(instance_id, firm_code)

    site.run(body)

"""Firm keys between real software boxes: installed, copied, dropped, rotated, retired."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fsb_gateway import (
    FirmCodeNotOwned,
    FirmKeyConflict,
    FirmKeyMissing,
    FsbUnavailable,
    Gateway,
    PoolUnknown,
    ProgrammingResult,
)
from fsb_gateway.error import BoxDisconnected, BoxLast, TokenAbsent
from tests.fake.clock import START, FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, make_job
from tests.unit.fsb_gateway.gateway.key_site import Site, add_boxes, install, program, read, slot_files
from tests.unit.fsb_gateway.gateway.stage import LONG


@pytest.fixture
def site(tmp_path: Path, clock: FakeClock) -> Site:
    return Site(tmp_path, clock)


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_every_box_of_the_pool_signs_with_the_one_key(site: Site, algorithm: Any) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1", "box-2", "box-3")
        report = await install(gateway, algorithm=algorithm)
        assert (report.boxes, report.state, report.former) == (("box-1", "box-2", "box-3"), "active", ())
        assert report.certificate.count("-----BEGIN CERTIFICATE-----") == 2
        assert report.expires_at > START + timedelta(days=365)
        assert await install(gateway, algorithm=algorithm) == report
        assert await gateway.firm_keys() == (report,)
        for number in range(6):
            update = await program(gateway, f"trf_{number}")
            assert (update.firm_code, update.signer.instance_id) == (FIRM_CODE, INSTANCE)
        assert [box.jobs_done for box in gateway.boxes()] == [2, 2, 2]

    site.run(body)


def test_box_of_another_pool_gets_nothing_and_is_found_without_its_key(site: Site) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1")
        await add_boxes(gateway, "own-1", pool="own", owner="ins_2")
        await install(gateway)
        assert [box.firm_codes for box in gateway.boxes()] == [(FIRM_CODE,), ()]
        with pytest.raises(PoolUnknown):
            await install(gateway, pool="nowhere")

    site.run(body)


def test_refused_installations_change_nothing(site: Site) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1")
        report = await install(gateway)
        with pytest.raises(FirmCodeNotOwned):
            await gateway.ensure_firm_key("ins_2", FIRM_CODE, pool="shared")
        with pytest.raises(FirmKeyConflict):
            await install(gateway, algorithm="Ed25519")
        with pytest.raises(FirmCodeNotOwned):
            await gateway.remove_firm_key("ins_2", FIRM_CODE)
        assert await gateway.firm_keys() == (report,)

    site.run(body)


def test_copied_key_signs_in_the_other_box_and_the_last_one_cannot_be_dropped(site: Site) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1")
        await add_boxes(gateway, "own-1", pool="own", owner=INSTANCE)
        await install(gateway)
        for _ in range(2):
            report = await gateway.copy_firm_key(FIRM_CODE, to="own-1")
            assert report.boxes == ("box-1", "own-1")
        for _ in range(2):
            await gateway.drop_firm_key(FIRM_CODE, box="box-1")
        assert (await program(gateway, "trf_1", pool="own")).firm_code == FIRM_CODE
        assert slot_files(site) == {"own-1"}
        with pytest.raises(BoxLast):
            await gateway.drop_firm_key(FIRM_CODE, box="own-1")
        with pytest.raises(BoxLast):
            await gateway.remove_box("own-1")
        with pytest.raises(FirmKeyMissing):
            await gateway.copy_firm_key(FIRM_CODE + 1, to="own-1")
        await gateway.remove_box("box-1")

    site.run(body)


def test_rotated_key_signs_everywhere_and_the_old_updates_still_verify(site: Site) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1", "box-2")
        before = await install(gateway)
        old = await gateway.program(make_job("trf_1"), wait=LONG)
        assert isinstance(old, ProgrammingResult)
        for _ in range(2):
            report = await gateway.rotate_firm_key(FIRM_CODE, key_id="key_new")
        assert (report.key_id, report.boxes) == ("key_new", ("box-1", "box-2"))
        assert report.fingerprint != before.fingerprint
        assert [(key.key_id, key.fingerprint) for key in report.former] == [
            (before.key_id, before.fingerprint)
        ]
        assert (await read(gateway, old)).firm_code == FIRM_CODE
        for number in range(2, 6):
            assert (await program(gateway, f"trf_{number}")).firm_code == FIRM_CODE
        later = await gateway.rotate_firm_key(FIRM_CODE, key_id="key_newer")
        assert [key.key_id for key in later.former] == ["key_new", before.key_id]
        # A repeat of the first rotation comes late: nothing goes back.
        assert await gateway.rotate_firm_key(FIRM_CODE, key_id="key_new") == later

    site.run(body)
    for path in (site.folder / "slots").rglob(f"{FIRM_CODE}.json"):
        assert path.read_bytes().count(b'"key_id"') == 1, "the old keys are destroyed"


def test_box_that_is_away_stops_a_rotation_before_anything_is_used(site: Site) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1", "box-2")
        before = await install(gateway)
        site.away = {"box-2"}
        with pytest.raises(FsbUnavailable):
            await gateway.rotate_firm_key(FIRM_CODE, key_id="key_new")
        assert await gateway.firm_keys() == (before,)
        assert before.boxes == ("box-1", "box-2")
        site.away = set()
        report = await gateway.rotate_firm_key(FIRM_CODE, key_id="key_new")
        assert (report.key_id, len(report.former)) == ("key_new", 1)

    site.run(body)


def test_other_rotation_clears_away_what_an_abandoned_one_left(site: Site) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1", "box-2")
        before = await install(gateway)
        site.away = {"box-2"}
        with pytest.raises(FsbUnavailable):
            await gateway.rotate_firm_key(FIRM_CODE, key_id="key_abandoned")
        site.away = set()
        report = await gateway.rotate_firm_key(FIRM_CODE, key_id="key_new")
        assert [key.key_id for key in report.former] == [before.key_id]
        await program(gateway, "trf_1")

    site.run(body)
    for path in (site.folder / "slots").rglob(f"{FIRM_CODE}.json"):
        assert b"key_abandoned" not in path.read_bytes()


def test_retired_key_signs_no_more_and_stays_on_record(site: Site) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1", "box-2")
        await install(gateway)
        old = await gateway.program(make_job("trf_1"), wait=LONG)
        assert isinstance(old, ProgrammingResult)
        for _ in range(2):
            report = await gateway.retire_firm_key(FIRM_CODE)
        assert (report.state, report.boxes) == ("retired", ())
        with pytest.raises(FirmKeyMissing):
            await gateway.program(make_job("trf_2"), wait=LONG)
        for again in (install(gateway), gateway.rotate_firm_key(FIRM_CODE, key_id="key_new")):
            with pytest.raises((FirmKeyConflict, FirmKeyMissing)):
                await again
        assert (await read(gateway, old)).firm_code == FIRM_CODE

    site.run(body)
    assert slot_files(site) == set()


def test_retired_key_of_a_box_that_was_away_signs_nothing_and_goes_with_the_repeat(site: Site) -> None:
    async def retire(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1", "box-2")
        await install(gateway)
        site.away = {"box-2"}
        with pytest.raises(BoxDisconnected):
            await gateway.retire_firm_key(FIRM_CODE)
        with pytest.raises(FirmKeyMissing):
            await gateway.program(make_job("trf_1"), wait=LONG)

    async def again(gateway: Gateway) -> None:
        with pytest.raises(FirmKeyMissing):
            await gateway.program(make_job("trf_1"), wait=LONG)
        await gateway.retire_firm_key(FIRM_CODE)

    site.run(retire)
    site.away = set()
    assert slot_files(site) == {"box-2"}
    site.run(again)
    assert slot_files(site) == set()


def test_removed_key_leaves_nothing_and_its_firm_code_is_free(site: Site) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1", "box-2")
        await install(gateway)
        for _ in range(2):
            await gateway.remove_firm_key(INSTANCE, FIRM_CODE)
        assert (await gateway.firm_keys(), slot_files(site)) == ((), set())
        assert not list((site.folder / "keys" / "instance-ca").iterdir())
        await gateway.ensure_firm_key("ins_2", FIRM_CODE, pool="shared")
        assert (await program(gateway, "trf_1", instance_id="ins_2")).signer.instance_id == "ins_2"

    site.run(body)


@pytest.mark.parametrize("step", ["retire", "remove"])
def test_box_that_cannot_destroy_a_key_keeps_no_other_from_it(site: Site, step: str) -> None:
    async def body(gateway: Gateway) -> None:
        await add_boxes(gateway, "box-1", "box-2", "box-3")
        await install(gateway)
        box = gateway._boxes.seats["box-1"].box
        destroy = box.forget_key

        async def pulled(firm_code: int, *, key_id: str | None = None, but: str | None = None) -> None:
            raise TokenAbsent("the token has been pulled")

        def carry_out() -> Awaitable[object]:
            if step == "retire":
                return gateway.retire_firm_key(FIRM_CODE)
            return gateway.remove_firm_key(INSTANCE, FIRM_CODE)

        box.forget_key = pulled  # type: ignore[method-assign]
        site.away = {"box-2"}
        with pytest.raises(TokenAbsent):
            await carry_out()
        assert slot_files(site) == {"box-1", "box-2"}
        site.away = set()
        box.forget_key = destroy  # type: ignore[method-assign]
        await carry_out()
        assert slot_files(site) == set()

    site.run(body)

"""A token has one box; the last box with a key is asked for it, not believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fsb_gateway import BoxSpec
from fsb_gateway.box_driver import TokenSpec
from fsb_gateway.error import BoxFailed, BoxLast, FsbError, TokenAbsent, TokenTaken
from fsb_gateway.wire import encode_spec
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE
from tests.unit.fsb_gateway.gateway.stage import Stage, play


def token_box(name: str, module: Path, label: str = "firm", pool: str = "shared") -> BoxSpec:
    token = TokenSpec(module=str(module), label=label, pin_file="/etc/wops/pin")
    return BoxSpec(name=name, pool=pool, driver="pkcs11", token=token)


def test_token_of_another_box_is_refused_however_its_library_is_written(
    tmp_path: Path, clock: FakeClock
) -> None:
    library, link, folder = tmp_path / "lib" / "hsm.so", tmp_path / "hsm.so", tmp_path / "linked"
    library.parent.mkdir()
    library.touch()
    link.symlink_to(library)
    folder.symlink_to(library.parent)
    stage = Stage(tmp_path / "gateway", clock)

    async def body() -> None:
        await stage.gateway.ensure_box(token_box("box-1", library))
        spellings = (library, link, folder / "hsm.so", library.parent / ".." / "lib" / "hsm.so")
        for pool, spelling in zip(("shared", "own") * 2, spellings, strict=True):
            with pytest.raises(TokenTaken) as refused:
                await stage.gateway.ensure_box(token_box("box-2", spelling, pool=pool))
            assert refused.value.detail == {"box": "box-2", "holder": "box-1"}
        assert [path.name for path in (stage.folder / "box").iterdir()] == ["box-1.json"]
        await stage.gateway.ensure_box(token_box("box-1", link))
        await stage.gateway.ensure_box(token_box("box-2", library, label="other"))
        with pytest.raises(TokenTaken):
            await stage.gateway.ensure_box(token_box("box-2", library))
        await stage.gateway.remove_box("box-1")
        await stage.gateway.ensure_box(token_box("box-3", library))

    play(stage, body)


def test_gateway_that_starts_gives_a_token_to_one_of_its_boxes_alone(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    specs = [token_box(name, Path("/usr/lib/hsm.so")) for name in ("box-1", "box-2")]
    (tmp_path / "box").mkdir()
    for spec in specs:
        (tmp_path / "box" / f"{spec.name}.json").write_bytes(encode_spec(spec))
    stage = Stage(tmp_path, clock)

    async def body() -> None:
        await stage.gateway.start()
        assert [box.name for box in stage.gateway.boxes()] == ["box-1"]
        await stage.gateway.ensure_box(replace(specs[0], drained=True))
        with pytest.raises(TokenTaken):
            await stage.gateway.ensure_box(specs[1])
        await stage.gateway.remove_box("box-2")
        assert [path.name for path in (tmp_path / "box").iterdir()] == ["box-1.json"]

    play(stage, body)
    assert "box box-2 is left out" in caplog.text


@pytest.mark.parametrize("trouble", [None, BoxFailed("no"), TokenAbsent("pulled")])
def test_box_keeps_its_key_if_the_other_one_lists_it_and_cannot_show_it(
    tmp_path: Path, clock: FakeClock, trouble: FsbError | None
) -> None:
    stage = Stage(tmp_path, clock)

    async def body() -> None:
        boxes = [await stage.add(name, keys={}) for name in ("box-1", "box-2")]
        key = await stage.gateway.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")
        slot = boxes[1].slot(FIRM_CODE)
        if trouble is None:
            await boxes[1].forget_key(FIRM_CODE)
            boxes[1]._slots[FIRM_CODE] = slot  # type: ignore[assignment]
        else:
            boxes[1].key_trouble = trouble
        assert key.boxes == ("box-1", "box-2")
        for call in (
            stage.gateway.drop_firm_key(FIRM_CODE, box="box-1"),
            stage.gateway.remove_box("box-1"),
        ):
            with pytest.raises(BoxLast):
                await call
        assert boxes[0].slot(FIRM_CODE) is not None
        boxes[1].key_trouble = None
        if trouble is not None:
            await stage.gateway.drop_firm_key(FIRM_CODE, box="box-1")
            assert boxes[0].slot(FIRM_CODE) is None

    play(stage, body)

"""What control relies on of a gateway of boxes: of the real one, and of the one that stands in for it in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest

from fsb_gateway import BoxSpec, FsbClient, create_gateway_app
from fsb_gateway.box_driver import TokenSpec
from fsb_gateway.error import (
    BoxBusy,
    BoxDisconnected,
    BoxLast,
    BoxSpecInvalid,
    BoxUnknown,
    FirmCodeNotOwned,
    FirmKeyConflict,
    FirmKeyMissing,
    PoolUnknown,
    TokenTaken,
)
from fsb_gateway.report import FirmKeyReport
from tenancy.box.port import BoxGateway
from tests.fake.box_gateway import FakeGateway
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE
from tests.unit.fsb_gateway.gateway.stage import Stage

ONE, TWO, OWN = BoxSpec(name="one", pool="shared"), BoxSpec(name="two", pool="shared"), "own-1"
OTHER_CODE = FIRM_CODE + 1


class Rig(Protocol):
    """A gateway whose boxes can be taken away and kept at work."""

    @property
    def gateway(self) -> BoxGateway: ...

    def go_away(self, box: str) -> None: ...

    def come_back(self, box: str) -> None: ...

    async def begin_work(self, box: str) -> None: ...

    async def end_work(self, box: str) -> None: ...

    async def close(self) -> None: ...


@dataclass
class FakeRig:
    """The stand-in."""

    gateway: FakeGateway

    def go_away(self, box: str) -> None:
        self.gateway.away.add(box)

    def come_back(self, box: str) -> None:
        self.gateway.away.discard(box)

    async def begin_work(self, box: str) -> None:
        self.gateway.rack[box].running = 1

    async def end_work(self, box: str) -> None:
        self.gateway.rack[box].running = 0

    async def close(self) -> None:
        pass


class RealRig:
    """The gateway behind its client, with boxes that sign nothing."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        for name in (ONE.name, TWO.name, OWN):
            stage.options[name] = {"keys": {}}
        self.gateway: BoxGateway = FsbClient.in_process(create_gateway_app(stage.gateway))

    def go_away(self, box: str) -> None:
        self._stage.boxes[box].go_away()

    def come_back(self, box: str) -> None:
        self._stage.boxes[box].come_back()

    async def begin_work(self, box: str) -> None:
        """The box is the only one that has the key."""
        await self._stage.send("trf_1")
        await self._stage.at_work(self._stage.boxes[box], "trf_1")

    async def end_work(self, box: str) -> None:
        self._stage.boxes[box].finish()
        await self._stage.result("trf_1")

    async def close(self) -> None:
        await self._stage.gateway.close()


@pytest.fixture(params=["fake", "real"])
def rig(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Rig:
    return FakeRig(FakeGateway(clock=clock)) if request.param == "fake" else RealRig(Stage(tmp_path, clock))


Body = Callable[[BoxGateway], Awaitable[None]]


def play(rig: Rig, body: Body) -> None:
    """Run a test's body on two boxes of one pool."""

    async def main() -> None:
        try:
            for spec in (ONE, TWO):
                await rig.gateway.ensure_box(spec)
            await body(rig.gateway)
        finally:
            await rig.close()

    asyncio.run(main())


async def install(gateway: BoxGateway) -> FirmKeyReport:
    return await gateway.ensure_firm_key(INSTANCE, FIRM_CODE, pool="shared")


async def holders(gateway: BoxGateway) -> tuple[str, ...]:
    """The boxes of the one key, as both kinds of reports say."""
    (key,) = await gateway.firm_keys()
    assert key.boxes == tuple(box.name for box in await gateway.boxes() if key.firm_code in box.firm_codes)
    return key.boxes


def test_key_is_made_once_for_every_box_of_its_pool(rig: Rig) -> None:
    async def body(gateway: BoxGateway) -> None:
        await gateway.ensure_box(BoxSpec(name=OWN, pool="own", owner="ins_9"))
        first, again = await install(gateway), await install(gateway)
        assert first.key_id == again.key_id
        assert (first.state, first.instance_id, first.boxes) == ("active", INSTANCE, ("one", "two"))
        assert await holders(gateway) == ("one", "two")
        assert {pool.name: (pool.owner, pool.ready_boxes) for pool in await gateway.pools()} == {
            "shared": (None, 2),
            "own": ("ins_9", 1),
        }

    play(rig, body)


def test_key_comes_only_into_a_pool_that_is_there_and_for_its_instance(rig: Rig) -> None:
    async def body(gateway: BoxGateway) -> None:
        with pytest.raises(PoolUnknown):
            await gateway.ensure_firm_key(INSTANCE, FIRM_CODE, pool="nobodys")
        await install(gateway)
        with pytest.raises(FirmCodeNotOwned):
            await gateway.ensure_firm_key("ins_9", FIRM_CODE, pool="shared")
        with pytest.raises(FirmCodeNotOwned):
            await gateway.remove_firm_key("ins_9", FIRM_CODE)
        for _ in range(2):
            await gateway.remove_firm_key(INSTANCE, FIRM_CODE)
        assert await gateway.firm_keys() == ()

    play(rig, body)


def test_key_is_copied_and_dropped_as_often_as_one_likes(rig: Rig) -> None:
    async def body(gateway: BoxGateway) -> None:
        await install(gateway)
        await gateway.ensure_box(BoxSpec(name=OWN, pool="own", owner="ins_9"))
        for _ in range(2):
            assert (await gateway.copy_firm_key(FIRM_CODE, to=OWN)).boxes == ("one", OWN, "two")
        for _ in range(2):
            await gateway.drop_firm_key(FIRM_CODE, box=OWN)
        assert await holders(gateway) == ("one", "two")
        for call in (
            gateway.copy_firm_key(FIRM_CODE, to="nothing"),
            gateway.drop_firm_key(FIRM_CODE, box="nothing"),
        ):
            with pytest.raises(BoxUnknown):
                await call
        with pytest.raises(FirmKeyMissing):
            await gateway.copy_firm_key(OTHER_CODE, to="one")
        await gateway.drop_firm_key(OTHER_CODE, box="one")

    play(rig, body)


def test_last_box_that_answers_keeps_its_key(rig: Rig) -> None:
    async def body(gateway: BoxGateway) -> None:
        await install(gateway)
        rig.go_away("two")
        with pytest.raises(BoxLast):
            await gateway.drop_firm_key(FIRM_CODE, box="one")
        rig.come_back("two")
        await gateway.drop_firm_key(FIRM_CODE, box="one")
        for call in (gateway.drop_firm_key(FIRM_CODE, box="two"), gateway.remove_box("two")):
            with pytest.raises(BoxLast):
                await call
        assert await holders(gateway) == ("two",)

    play(rig, body)


def test_nothing_is_done_to_keys_in_a_box_that_is_away(rig: Rig) -> None:
    async def body(gateway: BoxGateway) -> None:
        key = await install(gateway)
        await gateway.ensure_box(BoxSpec(name=OWN, pool="own", owner="ins_9"))
        for name in ("two", OWN):
            rig.go_away(name)
        for call in (
            gateway.copy_firm_key(FIRM_CODE, to=OWN),
            gateway.drop_firm_key(FIRM_CODE, box="two"),
            gateway.rotate_firm_key(FIRM_CODE, key_id="key_2"),
        ):
            with pytest.raises(BoxDisconnected):
                await call
        assert await holders(gateway) == ("one", "two")
        assert {box.name: box.condition for box in await gateway.boxes()} == {
            "one": "ready",
            "two": "disconnected",
            OWN: "disconnected",
        }
        assert [each.key_id for each in await gateway.firm_keys()] == [key.key_id]
        rig.come_back(OWN)
        rig.go_away("one")
        with pytest.raises(BoxDisconnected):
            await gateway.copy_firm_key(FIRM_CODE, to=OWN)

    play(rig, body)


def test_key_is_retired_even_if_a_box_is_away_which_is_told_later(rig: Rig) -> None:
    async def body(gateway: BoxGateway) -> None:
        await install(gateway)
        rig.go_away("two")
        with pytest.raises(BoxDisconnected):
            await gateway.retire_firm_key(FIRM_CODE)
        assert [each.state for each in await gateway.firm_keys()] == ["retired"]
        rig.come_back("two")
        for _ in range(2):
            retired = await gateway.retire_firm_key(FIRM_CODE)
            assert (retired.state, retired.boxes) == ("retired", ())
        for call in (
            gateway.copy_firm_key(FIRM_CODE, to="one"),
            gateway.rotate_firm_key(FIRM_CODE, key_id="key_2"),
            gateway.retire_firm_key(OTHER_CODE),
        ):
            with pytest.raises(FirmKeyMissing):
                await call
        with pytest.raises(FirmKeyConflict):
            await install(gateway)

    play(rig, body)


def test_rotation_of_one_name_makes_one_key(rig: Rig) -> None:
    async def body(gateway: BoxGateway) -> None:
        old = await install(gateway)
        for _ in range(2):
            new = await gateway.rotate_firm_key(FIRM_CODE, key_id="key_2")
            assert (new.key_id, new.boxes) == ("key_2", ("one", "two"))
            assert [each.fingerprint for each in new.former] == [old.fingerprint]
        with pytest.raises(FirmKeyMissing):
            await gateway.rotate_firm_key(OTHER_CODE, key_id="key_3")

    play(rig, body)


def test_box_that_has_work_stays_and_one_that_is_gone_is_gone(rig: Rig) -> None:
    async def body(gateway: BoxGateway) -> None:
        await install(gateway)
        await gateway.drop_firm_key(FIRM_CODE, box="two")
        await rig.begin_work("one")
        await gateway.copy_firm_key(FIRM_CODE, to="two")
        with pytest.raises(BoxBusy):
            await gateway.remove_box("one")
        await rig.end_work("one")
        for _ in range(2):
            await gateway.remove_box("one")
        assert await holders(gateway) == ("two",)
        assert [box.name for box in await gateway.boxes()] == ["two"]

    play(rig, body)


def test_token_has_one_box(rig: Rig) -> None:
    token = TokenSpec(module="/usr/lib/hsm.so", label="firm", pin_file="/etc/wops/pin")
    other = BoxSpec(name=OWN, pool="shared", driver="pkcs11", token=token)

    async def body(gateway: BoxGateway) -> None:
        first = replace(other, name="a-first")
        for _ in range(2):
            await gateway.ensure_box(first)
        with pytest.raises(TokenTaken) as refused:
            await gateway.ensure_box(other)
        assert refused.value.detail["holder"] == "a-first"
        await gateway.ensure_box(replace(other, token=replace(token, label="another")))
        assert [box.name for box in await gateway.boxes()][-2:] == ["a-first", OWN]

    play(rig, body)


def test_box_does_not_change_its_pool_its_kind_or_its_owner_alone(rig: Rig) -> None:
    async def body(gateway: BoxGateway) -> None:
        for spec in (replace(ONE, pool="own"), replace(ONE, owner="ins_9")):
            with pytest.raises(BoxSpecInvalid):
                await gateway.ensure_box(spec)
        (report, _) = await gateway.boxes()
        assert (report.pool, report.owner, report.condition) == ("shared", None, "ready")
        await gateway.ensure_box(replace(ONE, drained=True, operation_time=timedelta(seconds=1)))
        (report, _) = await gateway.boxes()
        assert (report.name, report.condition) == ("one", "drained")

    play(rig, body)

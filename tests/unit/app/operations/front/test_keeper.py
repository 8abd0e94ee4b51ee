from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.operations.front.desired import Desired
from app.operations.front.keeper import FrontKeeper
from app.operations.front.kept_front import KeptFront
from lb.front.front import Applied
from lb.front.plan import Plan
from lb.front.state import FrontState
from tests.fake.clock import FakeClock
from tests.unit.app.operations.front.test_kept_front import FakeFront, applied, refuse, wanted


class FakeDesired:
    """What they are to be, as a test says."""

    served: tuple[()] = ()

    def __init__(self) -> None:
        self.answer: Desired | Exception = wanted()

    def look(self) -> Desired:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class NoAccess:
    """Nobody has to be asked who may call."""

    def take_noted(self, most: int) -> list[Any]:
        return []

    def take_turn(self, served: object) -> list[Any]:
        return []

    def read(self, instance_ids: object) -> None:
        pass


class Unplanned(FakeFront):
    """Its files cannot be read."""

    def plan(self, state: FrontState) -> Plan:
        raise OSError(5, "Input/output error")


async def keep(keeper: FrontKeeper, turns: int = 1) -> None:
    """Turns, each with what it has begun."""
    for _ in range(turns):
        try:
            await keeper.turn()
        finally:
            await keeper.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def desired() -> FakeDesired:
    return FakeDesired()


def make_keeper(desired: Any, clock: FakeClock, **fronts: FakeFront) -> FrontKeeper:
    access: Any = NoAccess()
    kept = {name: KeptFront(name, front, clock=clock) for name, front in fronts.items()}
    return FrontKeeper(desired, access, kept)


def test_what_nobody_foresaw_is_said_and_tried_ever_more_rarely(
    desired: FakeDesired, clock: FakeClock
) -> None:
    broken, sound = FakeFront(answer=refuse(RuntimeError("secret"))), FakeFront()
    keeper = make_keeper(desired, clock, lb1=broken, lb2=sound)

    async def run() -> None:
        await keep(keeper, turns=5)
        first, second = keeper.report().fronts
        assert (first.in_step, first.problem, second.in_step) == (False, "front_not_kept", True)
        assert "secret" not in str(first.message)
        assert len(broken.applied) == 1, "not before its time has come"
        clock.advance(timedelta(seconds=1))
        broken.answer = lambda _state: applied()
        await keep(keeper)
        assert (keeper.report().fronts[0].in_step, keeper.report().fronts[0].problem) == (True, None)

    asyncio.run(run())


def test_certificate_that_cannot_be_read_is_said(desired: FakeDesired, clock: FakeClock) -> None:
    keeper = make_keeper(desired, clock, lb1=FakeFront())

    async def run() -> None:
        desired.answer = FileNotFoundError(2, "No such file or directory")
        with pytest.raises(OSError, match="No such file"):
            await keep(keeper)
        assert keeper.report().problem == "front_certificate_unreadable"
        desired.answer = wanted()
        await keep(keeper)
        assert keeper.report().problem is None

    asyncio.run(run())


def test_plan_that_cannot_be_made_says_why_and_hides_no_other(desired: FakeDesired, clock: FakeClock) -> None:
    keeper = make_keeper(desired, clock, lb1=Unplanned(), lb2=FakeFront())

    async def run() -> None:
        await keep(keeper)
        first, second = await keeper.plan()
        assert (first.problem, second.problem) == ("front_disk_failed", None)

    asyncio.run(run())


def test_one_that_hangs_holds_up_nobody(desired: FakeDesired, clock: FakeClock) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        begun, release = asyncio.Event(), asyncio.Event()

        def hang(_state: FrontState) -> Applied:
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(timeout=10)
            return applied()

        hanging, sound = FakeFront(answer=hang), FakeFront()
        keeper = make_keeper(desired, clock, lb1=hanging, lb2=sound)
        await keeper.turn()
        await asyncio.wait_for(begun.wait(), 10)
        for number in (2, 3):
            desired.answer = wanted(number)
            await keeper.turn()
            async with asyncio.timeout(10):
                while keeper.report().fronts[1].applied != number:
                    await asyncio.sleep(0)
                    await keeper.turn()
        assert len(hanging.applied) == 1
        release.set()
        await keeper.close()
        await keeper.turn()
        await keeper.close()
        assert keeper.report().fronts[0].applied == 3, "what was overtaken meanwhile is left out"

    asyncio.run(run())

"""What every runner does, by processes and by the fake: `tenancy.runner.port`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from app.core.ids import LineId
from tests.integration.tenancy.runner.runner_site import FakeSite, LocalSite, RunnerSite, cleared
from tests.service.wait import until

ACME = LineId("acme-1")
LONG = timedelta(seconds=30)
SHORT = timedelta(seconds=0.3)

Opened = Callable[[], AbstractAsyncContextManager[RunnerSite]]


@pytest.fixture(params=[LocalSite, FakeSite], ids=["local", "fake"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    make: Callable[[Path], RunnerSite] = request.param
    return lambda: cleared(make(tmp_path / "lines"))


def test_line_that_is_ensured_becomes_ready_and_the_same_again_changes_nothing(opened: Opened) -> None:
    async def body() -> None:
        async with opened() as site:
            assert await site.runner.observe() == {}
            first = await site.begin()
            await site.runner.ensure(site.spec())
            assert await site.seen() == first
            assert (first.restarts, first.running, first.applied, first.problem) == (0, 0, 1, None)

    asyncio.run(body())


def test_line_that_ends_by_itself_is_started_again_and_its_end_is_told(opened: Opened) -> None:
    async def body() -> None:
        async with opened() as site:
            first = await site.begin()
            await site.end_process()
            again = await site.becomes_another(first.process_id)
            assert again.restarts == 1
            assert again.problem is not None

    asyncio.run(body())


def test_line_that_ends_again_and_again_is_started_after_pauses_that_grow(opened: Opened) -> None:
    async def body() -> None:
        async with opened() as site:
            site.say("crash")
            await site.runner.ensure(site.spec())
            starts: list[datetime] = []

            async def has_waited() -> bool:
                found = await site.seen()
                due = None if found is None else found.next_start_at
                if due is not None and due not in starts:
                    starts.append(due)
                return len(starts) >= 4

            await until(has_waited, "four pauses")
            gaps = [later - earlier for earlier, later in pairwise(starts)]
            assert gaps == sorted(gaps)
            waiting = await site.becomes("waiting")
            assert waiting.process_id is None
            assert waiting.problem == "exit status 3"
            site.say("crash", on=False)
            assert (await site.becomes("ready")).restarts >= 3

    asyncio.run(body())


def test_line_that_lives_and_says_nothing_is_frozen_and_a_restart_brings_a_new_process(
    opened: Opened,
) -> None:
    async def body() -> None:
        async with opened() as site:
            first = await site.begin()
            await site.freeze()
            frozen = await site.becomes("frozen")
            assert (frozen.process_id, frozen.running) == (first.process_id, None)
            await site.runner.restart(ACME)
            again = await site.becomes_another(first.process_id)
            assert again.restarts == 0, "nobody counts what was asked for"

    asyncio.run(body())


def test_drained_line_finishes_what_runs_and_is_not_started_again(opened: Opened) -> None:
    async def body() -> None:
        async with opened() as site:
            await site.begin()
            site.say("hold")
            draining = asyncio.create_task(site.runner.drain(ACME, within=LONG))
            seen = await site.becomes("draining")
            assert seen.process_id is not None
            assert not draining.done()
            site.say("hold", on=False)
            async with asyncio.timeout(LONG.total_seconds()):
                await draining
            assert await site.runner.observe() == {}

    asyncio.run(body())


def test_line_that_is_not_done_when_its_time_is_over_is_ended_all_the_same(opened: Opened) -> None:
    async def body() -> None:
        async with opened() as site:
            await site.begin()
            site.say("hold")
            await site.runner.drain(ACME, within=SHORT)
            assert await site.runner.observe() == {}

    asyncio.run(body())


def test_frozen_line_is_drained_by_ending_it(opened: Opened) -> None:
    async def body() -> None:
        async with opened() as site:
            await site.begin()
            await site.freeze()
            await site.runner.drain(ACME, within=SHORT)
            assert await site.runner.observe() == {}

    asyncio.run(body())


def test_stopped_line_is_gone_at_once_and_can_be_had_again(opened: Opened) -> None:
    async def body() -> None:
        async with opened() as site:
            first = await site.begin()
            site.say("hold")
            await site.runner.stop(ACME)
            assert await site.runner.observe() == {}
            await site.runner.stop(ACME)
            await site.runner.ensure(site.spec())
            assert (await site.becomes("ready")).process_id != first.process_id

    asyncio.run(body())


def test_line_that_is_wanted_again_while_it_drains_is_started_anew(opened: Opened) -> None:
    async def body() -> None:
        async with opened() as site:
            first = await site.begin()
            site.say("hold")
            draining = asyncio.create_task(site.runner.drain(ACME, within=LONG))
            await site.becomes("draining")
            ensuring = asyncio.create_task(site.runner.ensure(site.spec()))
            site.say("hold", on=False)
            await asyncio.gather(draining, ensuring)
            assert (await site.becomes("ready")).process_id != first.process_id

    asyncio.run(body())


def test_restart_of_a_line_that_nobody_wants_does_nothing(opened: Opened) -> None:
    async def body() -> None:
        async with opened() as site:
            await site.runner.restart(ACME)
            assert await site.runner.observe() == {}

    asyncio.run(body())


def test_lines_outlive_their_runner_and_the_next_one_finds_them(opened: Opened) -> None:
    async def body() -> None:
        async with opened() as site:
            await site.runner.ensure(site.spec())
            await site.runner.ensure(site.spec("beta-1"))
            first = await site.becomes("ready")
            other = await site.becomes("ready", "beta-1")
            await site.renew_runner()
            await site.runner.ensure(site.spec())
            assert (await site.becomes("ready")).process_id == first.process_id
            # Nobody has said yet whether this one is wanted.
            assert (await site.becomes("ready", "beta-1")).process_id == other.process_id
            await site.runner.drain(LineId("beta-1"), within=LONG)
            assert set(await site.runner.observe()) == {ACME}

    asyncio.run(body())

"""Boxes whose transactions run out: what costs more than is left waits, everything else goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fsb_gateway import BoxSpec, Gateway, JobPending, ProgrammingResult
from fsb_gateway.error import TransactionsExhausted
from fsb_gateway.job import ProgrammingStep
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import INSTANCE, add_item, make_job, make_steps
from tests.unit.fsb_gateway.gateway.key_site import Site, install, program
from tests.unit.fsb_gateway.gateway.stage import LONG, NOW, Stage, play

CODE = "transactions_exhausted"


@pytest.fixture
def site(tmp_path: Path, clock: FakeClock) -> Site:
    return Site(tmp_path, clock)


@pytest.fixture
def stage(tmp_path: Path, clock: FakeClock) -> Stage:
    return Stage(tmp_path, clock)


def operations(count: int) -> tuple[ProgrammingStep, ...]:
    return make_steps(0, tuple(add_item(f"lic_{number}") for number in range(count)))


def test_standard_box_without_transactions_still_changes_containers_that_exist(site: Site) -> None:
    spec = BoxSpec(name="box-1", pool="shared", transactions="standard", transactions_loaded=1)

    async def body(gateway: Gateway) -> None:
        await gateway.ensure_box(spec)
        await install(gateway)
        await program(gateway, "trf_0")
        new = await gateway.program(make_job("trf_1"), wait=NOW)
        assert isinstance(new, JobPending)
        assert (new.state, new.reason) == ("waiting", CODE)
        (box,) = gateway.boxes()
        assert (box.condition, box.transactions_left) == (CODE, 0)
        assert (gateway.pools()[0].reason, gateway.queue(INSTANCE).reason) == (CODE, CODE)
        for number in range(2, 6):
            await program(gateway, f"trf_{number}", base_fuc=4)
        (box,) = gateway.boxes()
        assert (box.failures, box.jobs_done) == ({}, 5), "it is not asked for what it cannot pay"
        await gateway.ensure_box(replace(spec, transactions_loaded=2))
        assert isinstance(await gateway.find("trf_1", wait=LONG), ProgrammingResult)
        assert gateway.pools()[0].reason == CODE

    site.run(body)


def test_job_that_costs_more_than_is_left_waits_and_smaller_ones_of_the_same_instance_go_on(
    site: Site,
) -> None:
    spec = BoxSpec(name="box-1", pool="shared", transactions="pay_per_use", transactions_loaded=10)

    async def body(gateway: Gateway) -> None:
        await gateway.ensure_box(spec)
        await install(gateway)
        big = await gateway.program(make_job("trf_big", steps=operations(11)), wait=NOW)
        assert isinstance(big, JobPending)
        assert (big.state, big.reason) == ("waiting", CODE)
        for number in range(10):
            await program(gateway, f"trf_{number}")
        for job_id in ("trf_big", "trf_0"):
            last = await gateway.program(make_job(f"{job_id}_more"), wait=NOW)
            assert isinstance(last, JobPending)
            assert last.reason == CODE
        await gateway.ensure_box(replace(spec, transactions_loaded=23))
        for job_id in ("trf_big", "trf_big_more", "trf_0_more"):
            assert isinstance(await gateway.find(job_id, wait=LONG), ProgrammingResult)
        assert gateway.boxes()[0].transactions_left == 0

    site.run(body)


def test_box_is_given_no_more_than_it_can_pay_with_what_it_has_already(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(transactions="pay_per_use", transactions_loaded=3)
        box.transactions_left = 3
        for number in range(4):
            await stage.send(f"trf_{number}", steps=operations(2))
        await stage.send("trf_small")
        await stage.at_work(box, "trf_0", "trf_small")
        box.transactions_left = 1
        box.finish()
        box.transactions_left = 0
        box.finish()
        await stage.result("trf_small")
        assert (await stage.pending("trf_1")).reason == CODE
        assert box.given == ["trf_0", "trf_small"]
        free = replace(box.spec, transactions="unlimited")
        box.transactions_left, box.answer = None, lambda job: True
        await stage.gateway.ensure_box(free)
        await stage.result("trf_3")

    play(stage, body)


def test_box_that_refuses_for_lack_of_transactions_is_not_to_blame_and_another_one_does_the_job(
    stage: Stage,
) -> None:
    async def body() -> None:
        one = await stage.add("box-1", answer=lambda job: TransactionsExhausted("none left", box="box-1"))
        two = await stage.add("box-2", keys={}, answer=lambda job: True)
        for number in range(4):
            await stage.send(f"trf_{number}")
        await stage.until(lambda: len(one.given) >= 12, "the jobs to be tried, and then held")
        assert (await stage.pending("trf_0")).reason == CODE
        (report, _) = stage.gateway.boxes()
        assert (report.condition, report.consecutive_failures) == ("ready", 0)
        assert len(one.given) == 12, "three times each, then after a pause"
        two.take_key(make_job().firm_code)
        await stage.send("trf_4")
        await stage.result("trf_4")

    play(stage, body)


def test_box_without_transactions_is_said_to_be_drained_where_somebody_drained_it(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(transactions="standard", transactions_loaded=1)
        box.transactions_left = 0
        box.become("transactions_exhausted")
        assert stage.gateway.boxes()[0].condition == CODE
        await stage.gateway.ensure_box(replace(box.spec, drained=True))
        assert stage.gateway.boxes()[0].condition == "drained"

    play(stage, body)

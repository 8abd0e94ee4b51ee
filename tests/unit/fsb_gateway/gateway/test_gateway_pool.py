"""Pools and their boxes: who serves whom, what joins, leaves and is lent while jobs come in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.core.clock import SystemClock
from fsb_gateway import (
    BoxBusy,
    BoxJournalUnwritable,
    BoxSpec,
    BoxSpecInvalid,
    FirmKeyMissing,
    FsbUnavailable,
    JobMalformed,
    JobPending,
    PoolDrained,
    PoolForeign,
    PoolUnknown,
    ProgrammingResult,
)
from fsb_gateway.box_driver import Faults
from tests.fake.clock import START, FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, box_spec, make_job
from tests.unit.fsb_gateway.gateway.stage import LONG, Stage, play

HOUR = timedelta(hours=1)
SLOW = timedelta(seconds=1)
STEADY = timedelta(milliseconds=400)
# Within the last 5 ms of its work.
RESERVE = timedelta(milliseconds=4)


@pytest.fixture
def stage(tmp_path: Path, clock: FakeClock) -> Stage:
    return Stage(tmp_path, clock)


def test_own_pool_is_for_its_owner_alone_and_its_owner_for_it(stage: Stage) -> None:
    async def body() -> None:
        await stage.add("shared-1", keys={FIRM_CODE: INSTANCE, 7: "ins_2"}, answer=lambda job: True)
        await stage.add("own-1", "own", owner="ins_2", keys={7: "ins_2", FIRM_CODE: INSTANCE})
        with pytest.raises(PoolForeign):
            await stage.send("trf_1", pool="own")
        with pytest.raises(PoolForeign):
            await stage.send("trf_2", instance_id="ins_2", firm_code=7)
        assert isinstance(await stage.gateway.program(make_job("trf_3"), wait=LONG), ProgrammingResult)

    play(stage, body)


def test_lent_box_works_for_the_borrower_alone_until_the_loan_ends(stage: Stage, clock: FakeClock) -> None:
    async def body() -> None:
        keys = {FIRM_CODE: INSTANCE, 7: "ins_2"}
        lent = await stage.add("shared-1", keys=keys, operation_time=SLOW)
        own = await stage.add("own-1", "own", owner="ins_2", keys={7: "ins_2"}, operation_time=SLOW)
        spec = replace(lent.spec, lent_to="own", lent_until=START + HOUR / 2)
        await stage.gateway.ensure_box(spec)
        shared = await stage.send("trf_1")
        assert isinstance(shared, JobPending)
        assert (shared.reason, shared.expected_wait >= HOUR / 2) == ("pool_without_box", True)
        for number in range(2):
            await stage.send(f"own_{number}", pool="own", instance_id="ins_2", firm_code=7)
        await stage.until(lambda: lent.at_work and own.at_work, "both to work for the borrower")
        reports = {pool.name: pool for pool in stage.gateway.pools()}
        assert (reports["own"].boxes, reports["shared"].boxes) == (("shared-1", "own-1"), ())
        assert {box.name: box.works_for for box in stage.gateway.boxes()} == {
            "shared-1": "own",
            "own-1": "own",
        }
        clock.advance(HOUR / 2)
        lent.finish()
        await stage.at_work(lent, "trf_1")
        await stage.send("own_3", pool="own", instance_id="ins_2", firm_code=7)
        assert tuple(lent.at_work) == ("trf_1",)

    play(stage, body)


def test_end_of_a_loan_wakes_the_waiting_jobs_by_itself(tmp_path: Path) -> None:
    clock = SystemClock()
    stage = Stage(tmp_path, clock)

    async def body() -> None:
        until = clock.now() + timedelta(milliseconds=150)
        await stage.add("own-1", "own", owner="ins_2")
        await stage.add("box-1", answer=lambda job: True, lent_to="own", lent_until=until)
        job = make_job(deadline_at=clock.now() + HOUR)
        assert isinstance(await stage.gateway.program(job, wait=LONG), ProgrammingResult)
        assert timedelta(0) <= clock.now() - until < SLOW

    play(stage, body)


def test_drained_box_finishes_what_it_has_and_a_pool_of_them_refuses_new_jobs(stage: Stage) -> None:
    async def body() -> None:
        one = await stage.add("box-1", operation_time=STEADY)
        two = await stage.add("box-2", keys={}, operation_time=STEADY)
        for number in range(3):
            await stage.send(f"trf_{number}")
        await stage.at_work(one, "trf_0", "trf_1")
        await stage.gateway.ensure_box(replace(one.spec, drained=True))
        one.finish()
        one.finish()
        await stage.result("trf_1")
        assert isinstance(await stage.send("trf_3"), JobPending), "another box of the pool is not drained"
        await stage.gateway.ensure_box(replace(two.spec, drained=True))
        with pytest.raises(PoolDrained):
            await stage.send("trf_4")
        waiting = await stage.pending("trf_2")
        assert (waiting.reason, one.given) == ("pool_drained", ["trf_0", "trf_1"])
        assert [box.condition for box in stage.gateway.boxes()] == ["drained", "drained"]
        one.answer = lambda job: True
        await stage.gateway.ensure_box(replace(one.spec, drained=False))
        assert isinstance(await stage.result("trf_3"), ProgrammingResult)

    play(stage, body)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("disconnected", "box_disconnected"),
        ("journal_damaged", "box_journal_damaged"),
        ("journal_unwritable", "box_journal_unwritable"),
        ("token_absent", "token_absent"),
        ("token_pin_wrong", "token_pin_wrong"),
    ],
)
def test_job_for_a_pool_without_a_working_box_waits_and_says_why(
    stage: Stage, state: Any, reason: str
) -> None:
    async def body() -> None:
        box = await stage.add(answer=lambda job: True)
        box.become(state)
        assert not stage.gateway.ready()
        pending = await stage.send("trf_1")
        assert isinstance(pending, JobPending)
        assert (pending.state, pending.reason) == ("waiting", reason)
        assert timedelta(seconds=5) <= pending.expected_wait <= HOUR + SLOW
        assert stage.gateway.pools()[0].reason == reason
        assert stage.gateway.queue(INSTANCE).reason == reason
        assert stage.gateway.boxes()[0].condition == state
        box.become("ready")
        assert isinstance(await stage.result("trf_1"), ProgrammingResult)
        assert stage.gateway.pools()[0].reason is None

    play(stage, body)


def test_instance_that_has_sent_nothing_is_shown_the_pool_that_it_says(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add("box-1")
        await stage.gateway.ensure_box(replace(box.spec, drained=True))
        assert stage.gateway.queue("ins_9").pool is None
        seen = stage.gateway.queue("ins_9", pool="shared")
        assert (seen.pool, seen.reason, seen.waiting) == ("shared", "pool_drained", 0)
        assert seen.expected_wait_p95_seconds >= seen.expected_wait_seconds >= HOUR.total_seconds()

    play(stage, body)


def test_instance_that_has_moved_is_shown_its_new_pool_and_never_a_foreign_one(stage: Stage) -> None:
    async def body() -> None:
        await stage.add("box-1", answer=lambda job: True)
        await stage.add("box-2", "north", state="token_pin_wrong")
        await stage.add("box-3", "theirs", owner="ins_2")
        assert isinstance(await stage.gateway.program(make_job(), wait=LONG), ProgrammingResult)
        assert stage.gateway.queue(INSTANCE).pool == "shared"
        moved = stage.gateway.queue(INSTANCE, pool="north")
        assert (moved.pool, moved.reason, moved.jobs_done) == ("north", "token_pin_wrong", 0)
        assert stage.gateway.queue("ins_2", pool="shared").pool == "theirs", "its own is the one it may use"
        for pool, reason in (("theirs", "pool_foreign"), ("nowhere", "pool_unknown")):
            refused = stage.gateway.queue(INSTANCE, pool=pool)
            assert (refused.pool, refused.reason, refused.position) == (None, reason, 0)
            assert refused.expected_wait_seconds >= HOUR.total_seconds()
        with pytest.raises(JobMalformed):
            stage.gateway.queue(INSTANCE, pool="no name\n")

    play(stage, body)


def test_full_disk_is_looked_at_again_while_jobs_wait_but_a_wrong_pin_never(stage: Stage) -> None:
    async def body() -> None:
        full = await stage.add("box-1", answer=lambda job: True)
        locked = await stage.add("box-2", state="token_pin_wrong")
        full.become("journal_unwritable")
        full.on_reload = full.come_back
        assert isinstance(await stage.gateway.program(make_job(), wait=LONG), ProgrammingResult)
        assert (full.reloads, locked.reloads) == (1, 0)
        await stage.gateway.ensure_box(locked.spec)
        assert locked.reloads == 1, "somebody asked for it"

    play(stage, body)


def test_unreadable_key_is_unavailable_and_looked_at_again(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(answer=lambda job: True)
        box.damage_key(FIRM_CODE)
        box.on_reload = lambda: box.take_key(FIRM_CODE)
        with pytest.raises(FsbUnavailable) as caught:
            await stage.send("trf_1")
        assert caught.value.code == "fsb_unavailable"
        await stage.until(lambda: box.reloads == 1, "the box to look again")
        assert isinstance(await stage.gateway.program(make_job(), wait=LONG), ProgrammingResult)

    play(stage, body)


def test_key_held_by_a_stopped_box_only_keeps_the_job_waiting_for_it(stage: Stage) -> None:
    async def body() -> None:
        await stage.add("box-1", keys={}, answer=lambda job: True)
        two = await stage.add("box-2", answer=lambda job: True)
        two.go_away()
        pending = await stage.send("trf_1")
        assert isinstance(pending, JobPending)
        assert pending.reason == "box_disconnected"
        with pytest.raises(FirmKeyMissing):
            await stage.send("trf_2", firm_code=FIRM_CODE + 1)
        two.come_back()
        assert isinstance(await stage.result("trf_1"), ProgrammingResult)

    play(stage, body)


def test_box_joins_while_jobs_wait_and_takes_them(stage: Stage) -> None:
    async def body() -> None:
        await stage.add("box-1", state="token_absent")
        await stage.send("trf_1")
        two = await stage.add("box-2", answer=lambda job: True)
        assert isinstance(await stage.result("trf_1"), ProgrammingResult)
        assert two.given == ["trf_1"]

    play(stage, body)


def test_box_with_work_stays_and_the_last_box_takes_its_pool_with_it(stage: Stage) -> None:
    async def body() -> None:
        one = await stage.add("box-1", operation_time=STEADY)
        two = await stage.add("box-2", keys={}, operation_time=STEADY)
        for number in range(3):
            await stage.send(f"trf_{number}")
        await stage.at_work(one, "trf_0", "trf_1")
        with pytest.raises(BoxBusy):
            await stage.gateway.remove_box("box-1")
        await stage.gateway.remove_box("box-2")
        assert two.status().state == "closed"
        one.finish()
        one.finish()
        await stage.at_work(one, "trf_2")
        one.finish()
        await stage.result("trf_2")
        for _ in range(2):
            await stage.gateway.remove_box("box-1")
        assert (stage.gateway.pools(), stage.gateway.boxes()) == ((), ())
        with pytest.raises(PoolUnknown):
            await stage.send("trf_3")

    play(stage, body)


def test_last_box_of_a_pool_stays_while_jobs_wait(stage: Stage) -> None:
    async def body() -> None:
        await stage.add(state="journal_damaged")
        await stage.send("trf_1")
        with pytest.raises(BoxBusy):
            await stage.gateway.remove_box("box-1")
        await stage.gateway.cancel("trf_1")
        await stage.gateway.remove_box("box-1")

    play(stage, body)


@pytest.mark.parametrize(
    "spec",
    [
        BoxSpec(name="box-1", pool="other"),
        BoxSpec(name="box-2", pool="shared", owner=INSTANCE),
        BoxSpec(name="box-1", pool="shared", operation_time=timedelta(days=1)),
        BoxSpec(name="box-1", pool="shared", operation_time=timedelta(seconds=-1)),
        BoxSpec(name="box-1", pool="shared", jitter=float("nan")),
        BoxSpec(name="box-1", pool="shared", faults=Faults(busy=0.9, timeout=0.9)),
        BoxSpec(name="box-1", pool="shared", driver="pkcs11"),
        BoxSpec(name="box-1", pool="shared", lent_to="own"),
    ],
    ids=["other pool", "other owner", "absurd pace", "negative pace", "jitter", "faults", "token", "loan"],
)
def test_impossible_box_is_refused_and_nothing_is_written(stage: Stage, spec: BoxSpec) -> None:
    async def body() -> None:
        await stage.add("box-1")
        before = (stage.folder / "box" / "box-1.json").read_bytes()
        with pytest.raises(BoxSpecInvalid):
            await stage.gateway.ensure_box(spec)
        assert [path.name for path in (stage.folder / "box").iterdir()] == ["box-1.json"]
        assert (stage.folder / "box" / "box-1.json").read_bytes() == before

    play(stage, body)


def test_pool_gets_no_owner_while_others_have_unfinished_jobs_there(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(keys={FIRM_CODE: INSTANCE, 7: "ins_2"}, operation_time=SLOW)
        for number in range(2):
            await stage.send(f"trf_{number}")
        await stage.at_work(box, "trf_0")
        await stage.gateway.cancel("trf_1")
        owned = replace(box.spec, owner="ins_2")
        for state in ("running", "unknown"):
            with pytest.raises(BoxSpecInvalid) as caught:
                await stage.gateway.ensure_box(owned)
            assert (caught.value.detail["field"], stage.gateway.pools()[0].owner) == ("owner", None)
            if state == "running":
                box.go_away(recording=["trf_0"])
                await stage.until(lambda: stage.gateway.pools()[0].unknown, "the job to be unknown")
        box.come_back()
        await stage.result("trf_0")
        await stage.send("own_1", instance_id="ins_2", firm_code=7)
        await stage.gateway.ensure_box(owned)
        assert stage.gateway.pools()[0].owner == "ins_2"
        with pytest.raises(PoolForeign):
            await stage.send("trf_3")
        await stage.gateway.ensure_box(replace(owned, owner=None))

    play(stage, body)


def test_changed_box_is_told_also_when_it_was_away(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # How long the gateway waits for a box that is away is not what is tested.
    monkeypatch.setattr("fsb_gateway.gateway.gateway._CONNECT_SECONDS", 0.01)

    async def body() -> None:
        box = await stage.add()
        slow = replace(box.spec, operation_time=SLOW)
        box.go_away()
        await stage.gateway.ensure_box(slow)
        assert box.specs == [box_spec()]
        box.come_back()
        await stage.until(lambda: box.spec == slow, "the box to hear of its new pace")
        await stage.gateway.ensure_box(slow)
        assert box.specs == [box_spec(), slow]

    play(stage, body)


def test_box_report_warns_of_transactions_that_run_out(stage: Stage) -> None:
    async def body() -> None:
        box = await stage.add(transactions="pay_per_use", transactions_loaded=100)
        for left, is_low in ((100, False), (10, False), (9, True), (0, True)):
            box.transactions_left = left
            (report,) = stage.gateway.boxes()
            # From 100 to 10 within the day means less than a week, whatever the tenth says.
            assert report.transactions_low == (is_low or left < 7 * (100 - left))
            assert (report.transactions_left, report.transactions) == (left, "pay_per_use")

    play(stage, body)


def test_removed_journal_that_another_process_uses_is_told(stage: Stage, clock: FakeClock) -> None:
    from fsb_gateway.engine.journal import Journal  # noqa: PLC0415

    async def body() -> None:
        await stage.add("own-1", "own")
        used = Journal(stage.folder / "journals" / "own-1.journal", clock=clock)
        with pytest.raises(BoxJournalUnwritable):
            await stage.gateway.remove_box("own-1")
        used.close()
        await stage.gateway.remove_box("own-1")
        assert not list((stage.folder / "journals").iterdir())

    play(stage, body)


def test_box_whose_process_has_ended_is_reported_with_the_time_of_its_next_start(
    stage: Stage, clock: FakeClock
) -> None:
    async def body() -> None:
        box = await stage.add()
        assert stage.gateway.boxes()[0].retry_at is None
        box.go_away()
        box.retry_at = clock.now() + SLOW
        assert stage.gateway.boxes()[0].retry_at == box.retry_at

    play(stage, body)

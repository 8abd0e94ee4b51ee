"""A box at work: order, journal before answer, what it does when something goes wrong."""

from __future__ import annotations

import errno
import logging
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue

import pytest

from fsb_gateway.engine import box_engine, recorder
from fsb_gateway.engine.box_job import Answer
from fsb_gateway.engine.journal import Journal
from fsb_gateway.error import (
    BoxAnswerWrong,
    BoxFailed,
    BoxJournalDamaged,
    BoxJournalUnwritable,
    BoxOccupied,
    FirmCodeNotOwned,
    FirmKeyMissing,
    FsbUnavailable,
    JobIdReused,
    PoolWithoutBox,
)
from fsb_gateway.job import ProgrammingResult
from tests.fake.box_driver import ScriptedDriver
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.engine.engine_bench import SECONDS, Bench, Disk, recall, state, submit
from tests.unit.fsb_gateway.factory import (
    FIRM_CODE,
    add_item,
    box_spec,
    journal_path,
    make_authority,
    make_job,
    make_steps,
)

# Longer than a job may take to be called quick: such jobs go to the journal's own thread.
SLOW = timedelta(milliseconds=3)


def test_result_leaves_only_when_the_disk_has_it(bench: Bench, disk: Disk) -> None:
    engine = bench.start()
    disk.open.clear()
    asked = submit(engine, make_job())
    assert disk.begun.acquire(timeout=SECONDS)
    assert not asked.is_answered
    assert not engine.has_recorded("trf_1")
    disk.open.set()
    assert asked.result().job_id == "trf_1"
    assert engine.has_recorded("trf_1")


def test_next_job_is_programmed_while_the_journal_takes_up_the_last(bench: Bench, disk: Disk) -> None:
    engine = bench.start(replace(box_spec(), operation_time=SLOW))
    disk.open.clear()
    asked = [submit(engine, make_job(f"trf_{number}")) for number in range(4)]
    for _ in asked:
        assert bench.driver.begun.acquire(timeout=SECONDS)
    assert disk.begun.acquire(timeout=SECONDS)
    assert not any(each.is_answered for each in asked)
    disk.open.set()
    assert [each.result().job_id for each in asked] == [f"trf_{number}" for number in range(4)]
    assert engine.status().jobs_done == 4


def test_jobs_that_finish_meanwhile_share_a_sync_and_keep_their_order_and_bytes(
    bench: Bench, disk: Disk
) -> None:
    engine = bench.start(replace(box_spec(), operation_time=SLOW))
    order: list[str] = []
    disk.open.clear()
    results: SimpleQueue[Answer] = SimpleQueue()
    for number in range(12):
        engine.submit(make_job(f"trf_{number}"), "digest", results.put)
    for _ in range(12):
        assert bench.driver.begun.acquire(timeout=SECONDS)
    submit(engine, make_job("trf_last"))
    assert bench.driver.begun.acquire(timeout=SECONDS)
    disk.open.set()
    given: dict[str, Answer] = {}
    for _ in range(12):
        answer = results.get(timeout=SECONDS)
        assert isinstance(answer, ProgrammingResult)
        order.append(answer.job_id)
        given[answer.job_id] = answer
    assert order == [f"trf_{number}" for number in range(12)]
    assert {job_id: recall(engine, job_id).answer() for job_id in order} == given
    engine.close()
    syncs = 1
    while disk.begun.acquire(blocking=False):
        syncs += 1
    assert syncs <= 5, "thirteen jobs are not thirteen syncs"
    again = bench.start()
    assert {job_id: recall(again, job_id).answer() for job_id in order} == given
    assert bench.driver.threads != {threading.get_ident()}


def test_quick_jobs_that_wait_together_are_recorded_together(
    bench: Bench, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box_engine, "_QUICK_SECONDS", SECONDS)
    monkeypatch.setattr(box_engine, "_GROUP_SECONDS", SECONDS)
    engine = bench.start()
    hold = threading.Event()
    bench.driver.script.append(lambda: _wait(hold))
    first = submit(engine, make_job("trf_0"))
    assert bench.driver.begun.acquire(timeout=SECONDS)
    others = [submit(engine, make_job(f"trf_{number}")) for number in range(1, 5)]
    hold.set()
    assert {each.result().job_id for each in (first, *others)} == {f"trf_{number}" for number in range(5)}
    syncs = 0
    while disk.begun.acquire(blocking=False):
        syncs += 1
    assert syncs == 1


def _wait(event: threading.Event) -> None:
    assert event.wait(SECONDS)


def test_repeated_job_joins_the_one_under_way_and_is_programmed_once(bench: Bench) -> None:
    engine = bench.start()
    hold = threading.Event()
    bench.driver.script.append(lambda: _wait(hold))
    first = submit(engine, make_job())
    second = submit(engine, make_job())
    other = submit(engine, make_job(), "other digest")
    asked_again = recall(engine, "trf_1")
    assert isinstance(other.answer(), JobIdReused)
    hold.set()
    result = first.result()
    assert second.result() == result == asked_again.result()
    assert submit(engine, make_job()).result() == result
    assert isinstance(submit(engine, make_job(), "other digest").answer(), JobIdReused)
    assert isinstance(recall(engine, "trf_1", "other digest").answer(), JobIdReused)
    assert recall(engine, "trf_2").answer() is None
    assert bench.driver.signed == 1
    assert engine.status().jobs_done == 1


def test_job_whose_key_is_missing_foreign_or_unreadable_is_refused(bench: Bench) -> None:
    engine = bench.start()
    assert isinstance(submit(engine, make_job(firm_code=9)).answer(), FirmKeyMissing)
    assert isinstance(submit(engine, make_job(instance_id="ins_2")).answer(), FirmCodeNotOwned)
    bench.driver.unreadable = frozenset({9})
    answer = submit(engine, make_job(firm_code=9)).answer()
    assert type(answer) is FsbUnavailable
    assert bench.driver.signed == 0


@pytest.mark.parametrize("answer", [bytes(64), b"short", b""])
def test_wrong_signature_is_thrown_away_and_nothing_recorded(bench: Bench, answer: bytes) -> None:
    engine = bench.start()
    bench.driver.script.append(answer)
    assert isinstance(submit(engine, make_job()).answer(), BoxAnswerWrong)
    assert not engine.has_recorded("trf_1")
    assert engine.status().error == "box_answer_wrong"
    assert submit(engine, make_job()).result().job_id == "trf_1"
    assert (engine.status().error, engine.state) == (None, "ready")


def test_ed25519_signature_is_checked_too(bench: Bench) -> None:
    driver = ScriptedDriver(make_authority(algorithm="Ed25519"), script=(bytes(64),))
    engine = bench.start(driver=driver)
    assert isinstance(submit(engine, make_job()).answer(), BoxAnswerWrong)
    assert submit(engine, make_job()).result().job_id == "trf_1"


def test_failure_of_the_driver_is_told_and_the_next_job_is_done(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    engine = bench.start()
    bench.driver.script.extend([BoxOccupied("busy"), ZeroDivisionError("a mistake")])
    assert isinstance(submit(engine, make_job()).answer(), BoxOccupied)
    with caplog.at_level(logging.ERROR):
        answer = submit(engine, make_job()).answer()
    assert type(answer) is BoxFailed
    assert "a mistake" in caplog.text
    assert submit(engine, make_job()).result().job_id == "trf_1"


def test_box_whose_journal_cannot_be_written_stops_and_goes_on_when_it_can(bench: Bench, disk: Disk) -> None:
    engine = bench.start()
    done = submit(engine, make_job("trf_0")).result()
    disk.error = OSError(errno.ENOSPC, "full")
    assert isinstance(submit(engine, make_job()).answer(), BoxJournalUnwritable)
    assert state(engine) == "journal_unwritable"
    disk.error = None
    assert isinstance(submit(engine, make_job("trf_2")).answer(), BoxJournalUnwritable)
    assert recall(engine, "trf_0").answer() == done, "what was done is still known"
    assert bench.driver.signed == 2, "a box that cannot record does not program"
    engine.reload().result(SECONDS)
    assert state(engine) == "ready"
    assert recall(engine, "trf_1").answer() is None
    assert submit(engine, make_job()).result().job_id == "trf_1"


def test_all_jobs_of_a_group_that_cannot_be_recorded_are_refused(bench: Bench, disk: Disk) -> None:
    engine = bench.start(replace(box_spec(), operation_time=SLOW))
    disk.open.clear()
    disk.error = OSError(errno.EIO, "broken")
    asked = [submit(engine, make_job(f"trf_{number}")) for number in range(3)]
    for _ in asked:
        assert bench.driver.begun.acquire(timeout=SECONDS)
    disk.open.set()
    assert all(isinstance(each.answer(), BoxJournalUnwritable) for each in asked)
    assert engine.status().jobs_done == 0


def test_damaged_journal_stops_the_box_until_it_is_set_aside(bench: Bench) -> None:
    path = journal_path(bench.folder)
    first = bench.start()
    for number in range(2):
        submit(first, make_job(f"trf_{number}")).result()
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + b"\xff" + whole[61:])
    engine = bench.start()
    assert state(engine) == "journal_damaged"
    assert isinstance(submit(engine, make_job()).answer(), BoxJournalDamaged)
    engine.reload().result(SECONDS)
    assert state(engine) == "journal_damaged"
    assert isinstance(recall(engine, "trf_1").answer(), BoxJournalDamaged), "it cannot know"
    path.rename(path.with_name("set-aside"))
    engine.reload().result(SECONDS)
    assert state(engine) == "ready"
    assert submit(engine, make_job()).result().job_id == "trf_1"


def test_journal_that_another_has_is_said(bench: Bench) -> None:
    bench.start()
    second = bench.start()
    assert (second.state, second.is_held_elsewhere) == ("journal_unwritable", True)


def test_job_that_comes_while_the_journal_is_opened_again_gets_its_recorded_result(
    bench: Bench, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bench.start()
    done = submit(engine, make_job("trf_0")).result()
    disk.error = OSError(errno.EIO, "broken")
    assert isinstance(submit(engine, make_job()).answer(), BoxJournalUnwritable)
    disk.error = None
    opening, may_open = threading.Event(), threading.Event()

    def open_slowly(path: Path, *, clock: FakeClock) -> Journal:
        opening.set()
        assert may_open.wait(SECONDS)
        return Journal(path, clock=clock)

    monkeypatch.setattr(recorder, "Journal", open_slowly)
    reloaded = engine.reload()
    assert opening.wait(SECONDS)
    assert isinstance(recall(engine, "trf_0").answer(), BoxJournalUnwritable)
    asked = submit(engine, make_job("trf_0"))
    may_open.set()
    reloaded.result(SECONDS)
    assert asked.result() == done
    assert bench.driver.signed == 2


def test_keys_are_used_after_the_jobs_at_hand_and_on_the_same_thread(bench: Bench) -> None:
    engine = bench.start()
    hold = threading.Event()
    bench.driver.script.append(lambda: _wait(hold))
    first = submit(engine, make_job())
    forgotten = engine.call(lambda driver: driver.forget(FIRM_CODE))
    after = submit(engine, make_job("trf_2"))
    hold.set()
    first.result()
    forgotten.result(SECONDS)
    assert isinstance(after.answer(), FirmKeyMissing)
    assert len(bench.driver.threads) == 1


def test_pace_is_kept_and_counted_without_the_journal(bench: Bench, disk: Disk) -> None:
    engine = bench.start(replace(box_spec(), operation_time=timedelta(milliseconds=20)))
    disk.open.clear()
    two = make_steps(0, (add_item("lic_1"), add_item("lic_2")))
    asked = submit(engine, make_job(steps=two))
    assert disk.begun.acquire(timeout=SECONDS)
    programmed = engine.status().busy_seconds
    assert programmed >= 0.04
    disk.open.set()
    asked.result()
    assert engine.status().busy_seconds == programmed
    assert engine.status().operations_done == 2


def test_jitter_varies_the_pace_within_its_share(bench: Bench) -> None:
    engine = bench.start(replace(box_spec(), operation_time=timedelta(milliseconds=10), jitter=0.5))
    times: list[float] = []
    for number in range(12):
        before = engine.status().busy_seconds
        submit(engine, make_job(f"trf_{number}")).result()
        times.append(engine.status().busy_seconds - before)
    assert min(times) >= 0.005
    assert min(times) < 0.0095
    assert max(times) - min(times) > 0.001


def test_closing_finishes_what_the_box_has_without_the_rest_of_the_time(bench: Bench) -> None:
    engine = bench.start(replace(box_spec(), operation_time=timedelta(minutes=1)))
    asked = [submit(engine, make_job(f"trf_{number}")) for number in range(3)]
    assert bench.driver.begun.acquire(timeout=SECONDS)
    engine.close()
    assert [each.result().job_id for each in asked] == ["trf_0", "trf_1", "trf_2"]
    assert engine.state == "closed"
    assert isinstance(submit(engine, make_job("trf_9")).answer(), PoolWithoutBox)
    with pytest.raises(PoolWithoutBox):
        engine.reload().result(SECONDS)
    again = bench.start()
    assert all(again.has_recorded(f"trf_{number}") for number in range(3))


def test_jobs_under_way_are_known_besides_the_recorded_ones(bench: Bench) -> None:
    engine = bench.start()
    submit(engine, make_job("trf_0")).result()
    hold = threading.Event()
    bench.driver.script.append(lambda: _wait(hold))
    asked = submit(engine, make_job("trf_1"))
    assert sorted(engine.known_jobs(10)) == ["trf_0", "trf_1"]
    assert engine.operations_under_way() == 1
    hold.set()
    asked.result()
    assert engine.known_jobs(1) == ["trf_1"]
    assert engine.operations_under_way() == 0

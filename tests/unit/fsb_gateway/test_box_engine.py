"""A box at work: order, journal before answer, what it does when something goes wrong."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue

import pytest

from fsb_gateway import box_engine, box_recorder
from fsb_gateway.box_driver import BoxDriver, BoxSpec, Faults
from fsb_gateway.box_engine import BoxEngine
from fsb_gateway.box_job import Answer
from fsb_gateway.driver.fault import FaultyDriver
from fsb_gateway.error import (
    BoxAnswerWrong,
    BoxDisconnected,
    BoxFailed,
    BoxJournalDamaged,
    BoxJournalUnwritable,
    BoxOccupied,
    FirmCodeNotOwned,
    FirmKeyMissing,
    FsbUnavailable,
    JobIdReused,
    PoolWithoutBox,
    TokenAbsent,
    TokenPinWrong,
    TransactionsExhausted,
)
from fsb_gateway.job import ProgrammingJob, ProgrammingResult
from fsb_gateway.journal import Journal
from tests.fake.box_driver import ScriptedDriver
from tests.fake.clock import FakeClock
from tests.service.wait import wait_until
from tests.unit.fsb_gateway.factory import (
    FIRM_CODE,
    add_item,
    box_spec,
    journal_path,
    make_authority,
    make_job,
    make_steps,
)

SECONDS = 20.0
# Longer than a job may take to be called quick: such jobs go to the journal's own thread.
SLOW = timedelta(milliseconds=3)


class Bench:
    """A box on a bench: what it is asked, what it answers."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder = folder
        self.clock = clock
        self.driver = ScriptedDriver(make_authority())
        self.engines: list[BoxEngine] = []
        self.states: list[str] = []

    def start(
        self,
        spec: BoxSpec | None = None,
        *,
        driver: ScriptedDriver | None = None,
        open_driver: Callable[[BoxSpec, threading.Event], BoxDriver] | None = None,
    ) -> BoxEngine:
        spec = spec or box_spec()
        engine = BoxEngine(
            spec,
            open_driver or (driver or self.driver).open,
            journal_path=journal_path(self.folder, spec.name),
            clock=self.clock,
            changed=lambda: self.states.append(engine.state),
        )
        self.engines.append(engine)
        engine.start()
        assert engine.wait_started(SECONDS)
        return engine


@pytest.fixture
def bench(tmp_path: Path, clock: FakeClock) -> Iterator[Bench]:
    bench = Bench(tmp_path, clock)
    yield bench
    for engine in bench.engines:
        engine.close()


class Asked:
    """One question to a box and its answer, when it is there."""

    def __init__(self) -> None:
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()

    def __call__(self, answer: Answer | None) -> None:
        self._answers.put(answer)

    @property
    def is_answered(self) -> bool:
        return not self._answers.empty()

    def answer(self) -> Answer | None:
        return self._answers.get(timeout=SECONDS)

    def result(self) -> ProgrammingResult:
        answer = self.answer()
        assert isinstance(answer, ProgrammingResult), answer
        return answer


def submit(engine: BoxEngine, job: ProgrammingJob, request: str = "digest") -> Asked:
    asked = Asked()
    engine.submit(job, request, asked)
    return asked


def recall(engine: BoxEngine, job_id: str, request: str | None = None) -> Asked:
    asked = Asked()
    engine.recall(job_id, request, asked)
    return asked


def state(engine: BoxEngine) -> str:
    return engine.state


class Disk:
    """The sync of the journal, which the test can hold up or let fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Semaphore(0)
        self.error: OSError | None = None
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, descriptor: int) -> None:
        self.begun.release()
        assert self.open.wait(SECONDS)
        if self.error is not None:
            raise self.error
        self._real(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.open.set()


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

    monkeypatch.setattr(box_recorder, "Journal", open_slowly)
    reloaded = engine.reload()
    assert opening.wait(SECONDS)
    assert isinstance(recall(engine, "trf_0").answer(), BoxJournalUnwritable)
    asked = submit(engine, make_job("trf_0"))
    may_open.set()
    reloaded.result(SECONDS)
    assert asked.result() == done
    assert bench.driver.signed == 2


def test_standard_box_pays_for_new_containers_only(bench: Bench) -> None:
    spec = replace(box_spec(), transactions="standard", transactions_loaded=2)
    engine = bench.start(spec)
    assert engine.status().transactions_left == 2
    submit(engine, make_job("trf_0")).result()
    submit(engine, make_job("trf_0")).result()
    submit(engine, make_job("trf_1", base_fuc=4)).result()
    assert engine.status().transactions_left == 1
    bench.driver.script.append(BoxOccupied("busy"))
    assert isinstance(submit(engine, make_job("trf_2")).answer(), BoxOccupied)
    assert engine.status().transactions_left == 1, "what failed costs nothing"
    submit(engine, make_job("trf_2")).result()
    assert isinstance(submit(engine, make_job("trf_3")).answer(), TransactionsExhausted)
    assert (engine.state, engine.status().transactions_left) == ("transactions_exhausted", 0)
    submit(engine, make_job("trf_4", base_fuc=1)).result()
    engine.configure(replace(spec, transactions_loaded=3)).result(SECONDS)
    assert engine.state == "ready"
    submit(engine, make_job("trf_3")).result()
    engine.close()
    again = bench.start(replace(spec, transactions_loaded=10))
    assert again.status().transactions_left == 7


def test_pay_per_use_box_pays_for_every_operation_and_never_more_than_it_has(
    bench: Bench, disk: Disk
) -> None:
    spec = replace(box_spec(), transactions="pay_per_use", transactions_loaded=7, operation_time=SLOW)
    engine = bench.start(spec)
    three = make_steps(0, tuple(add_item(f"lic_{number}") for number in range(3)))
    disk.open.clear()
    asked = [submit(engine, make_job(f"trf_{number}", steps=three)) for number in range(3)]
    assert isinstance(asked[2].answer(), TransactionsExhausted), "those being recorded count already"
    disk.open.set()
    asked[0].result()
    asked[1].result()
    wait_until(lambda: engine.status().transactions_left == 1, "two jobs deducted")
    assert submit(engine, make_job("trf_small")).result().operations == 1
    assert engine.status().transactions_left == 0


def test_transactions_of_a_record_that_failed_are_given_back(bench: Bench, disk: Disk) -> None:
    engine = bench.start(replace(box_spec(), transactions="pay_per_use", transactions_loaded=1))
    disk.error = OSError(errno.ENOSPC, "full")
    assert isinstance(submit(engine, make_job()).answer(), BoxJournalUnwritable)
    disk.error = None
    engine.reload().result(SECONDS)
    submit(engine, make_job()).result()
    assert engine.status().transactions_left == 0


def lossy(bench: Bench, *, share: float) -> Callable[[BoxSpec, threading.Event], BoxDriver]:
    """A driver that loses power, as the software driver does on request."""

    class Drawn:
        def __init__(self) -> None:
            self.share = share

        def random(self) -> float:
            drawn, self.share = self.share, 0.9999999
            return drawn

    random = Drawn()
    return lambda spec, stopping: FaultyDriver(bench.driver, spec.faults, random=random)  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "is_recorded"), [(0.1, False), (0.3, True)])
def test_box_that_lost_its_power_is_back_in_a_moment_and_says_what_it_has_recorded(
    bench: Bench, share: float, is_recorded: bool
) -> None:
    spec = replace(box_spec(), faults=Faults(lost_power=0.5))
    engine = bench.start(spec, open_driver=lossy(bench, share=share))
    first = submit(engine, make_job())
    second = submit(engine, make_job("trf_2"))
    assert isinstance(first.answer(), BoxDisconnected)
    assert second.result().job_id == "trf_2", "it waited until the box was back"
    assert "disconnected" in bench.states
    assert engine.state == "ready"
    found = recall(engine, "trf_1").answer()
    assert (found is not None) == is_recorded
    again = submit(engine, make_job()).result()
    assert found in (None, again)
    assert bench.driver.signed == 2
    assert bench.driver.closed == 1


def test_absent_token_is_looked_for_and_the_box_works_when_it_is_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box_engine, "_LOOK_AGAIN_SECONDS", 0.01)
    engine = bench.start()
    absent = bench.driver.trouble = TokenAbsent("not there")
    bench.driver.script.append(absent)
    assert isinstance(submit(engine, make_job()).answer(), TokenAbsent)
    assert engine.state == "token_absent"
    assert isinstance(submit(engine, make_job()).answer(), TokenAbsent)
    wait_until(lambda: bench.driver.log_ins >= 4, "the box to look again")
    assert engine.state == "token_absent"
    bench.driver.trouble = None
    wait_until(lambda: engine.state == "ready", "the box to log in")
    wait_until(lambda: bench.states[-1:] == ["ready"], "word of it")
    assert submit(engine, make_job()).result().job_id == "trf_1"


def test_wrong_pin_is_tried_once_and_again_only_when_somebody_asks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box_engine, "_LOOK_AGAIN_SECONDS", 0.01)
    other = ScriptedDriver(make_authority())
    other.trouble = TokenAbsent("not there")
    bench.driver.trouble = TokenPinWrong("refused")
    engine = bench.start()
    bench.start(box_spec("box-2"), driver=other)
    assert engine.state == "token_pin_wrong"
    assert isinstance(submit(engine, make_job()).answer(), TokenPinWrong)
    wait_until(lambda: other.log_ins >= 5, "time in which a box could try again")
    assert bench.driver.log_ins == 1
    engine.reload().result(SECONDS)
    assert (bench.driver.log_ins, engine.state) == (2, "token_pin_wrong")
    bench.driver.trouble = None
    engine.configure(engine.spec).result(SECONDS)
    assert (bench.driver.log_ins, engine.state) == (3, "ready")


def test_box_whose_keys_cannot_be_opened_is_away_until_they_can(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.driver.trouble = PermissionError(errno.EACCES, "no")
    engine = bench.start()
    assert engine.state == "disconnected"
    assert isinstance(submit(engine, make_job()).answer(), BoxDisconnected)
    with pytest.raises(BoxDisconnected):
        engine.call(lambda driver: driver.transport_key()).result(SECONDS)
    bench.driver.trouble = None
    engine.reload().result(SECONDS)
    assert submit(engine, make_job()).result().job_id == "trf_1"
    assert "cannot open its keys" in caplog.text


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

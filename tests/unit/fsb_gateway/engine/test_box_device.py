"""What a box does when its transactions run out, its power fails or its token goes."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from fsb_gateway.box_driver import BoxDriver, BoxSpec, Faults
from fsb_gateway.driver.fault import FaultyDriver
from fsb_gateway.engine import box_engine
from fsb_gateway.error import (
    BoxDisconnected,
    BoxJournalUnwritable,
    BoxOccupied,
    TokenAbsent,
    TokenPinWrong,
    TransactionsExhausted,
)
from tests.fake.box_driver import ScriptedDriver
from tests.service.wait import wait_until
from tests.unit.fsb_gateway.engine.engine_bench import SECONDS, Bench, Disk, recall, submit
from tests.unit.fsb_gateway.factory import (
    add_item,
    box_spec,
    make_authority,
    make_job,
    make_steps,
)

# A pace that is slow enough to be seen.
SLOW = timedelta(milliseconds=3)


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

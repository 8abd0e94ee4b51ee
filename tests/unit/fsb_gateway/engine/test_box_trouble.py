"""A box at work whose keys or journal fail in less usual ways: what it says of itself, and what it does about it."""

from __future__ import annotations

import errno
import logging
from dataclasses import replace

import pytest

from fsb_gateway.box_driver import TokenSpec
from fsb_gateway.engine import box_engine
from fsb_gateway.engine.box_engine import BoxEngine
from fsb_gateway.error import (
    BoxFailed,
    JobIdReused,
    TokenAbsent,
    TokenLibraryUnusable,
    TokenPinExposed,
    TokenPinWrong,
)
from tests.fake.box_driver import ScriptedDriver
from tests.fake.clock import FakeClock
from tests.service.wait import wait_until
from tests.unit.fsb_gateway.engine.engine_bench import SECONDS, Bench, submit
from tests.unit.fsb_gateway.factory import box_spec, journal_path, make_authority, make_job

TOKEN_BOX = replace(
    box_spec(), driver="pkcs11", token=TokenSpec(module="/none.so", label="token-1", pin_file="/none")
)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes look again at once."""
    monkeypatch.setattr(box_engine, "_LOOK_AGAIN_SECONDS", 0.01)


def state(engine: BoxEngine) -> str:
    return engine.state


@pytest.mark.usefixtures("impatient")
def test_absent_token_that_comes_back_with_another_pin_is_told(bench: Bench) -> None:
    bench.driver.trouble = TokenAbsent("not there")
    engine = bench.start(TOKEN_BOX, open_driver=lambda spec, stopping: bench.driver)
    assert state(engine) == "token_absent"
    bench.driver.trouble = TokenPinWrong("refused")
    wait_until(lambda: engine.state == "token_pin_wrong", "the box to look")
    wait_until(lambda: bench.states[-1:] == ["token_pin_wrong"], "word of it")


@pytest.mark.usefixtures("impatient")
def test_wrong_pin_is_tried_again_by_itself_once_for_each_change_of_its_file(bench: Bench) -> None:
    bench.driver.trouble = TokenPinWrong("refused")
    engine = bench.start(TOKEN_BOX, open_driver=lambda spec, stopping: bench.driver)
    other = ScriptedDriver(make_authority())
    other.trouble = TokenAbsent("not there")
    bench.start(replace(TOKEN_BOX, name="box-2"), open_driver=lambda spec, stopping: other)

    def let_time_pass() -> None:
        looked = other.log_ins
        wait_until(lambda: other.log_ins >= looked + 5, "time in which a box could try again")

    for tries in (1, 2):
        let_time_pass()
        assert (bench.driver.log_ins, state(engine)) == (tries, "token_pin_wrong")
        bench.driver.new_pin = True
        wait_until(lambda: not bench.driver.new_pin, "the changed file to be tried")
    bench.driver.trouble = None
    let_time_pass()
    assert state(engine) == "token_pin_wrong", "the file is the one that was refused"
    bench.driver.new_pin = True
    wait_until(lambda: engine.state == "ready", "the box to log in")
    wait_until(lambda: bench.states[-1:] == ["ready"], "word of it")
    assert bench.driver.log_ins == 4
    submit(engine, make_job()).result()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("trouble", "condition"),
    [
        (TokenLibraryUnusable("no library"), "token_absent"),
        (TokenPinExposed("exposed"), "token_pin_wrong"),
    ],
)
def test_box_says_exactly_what_is_wrong_with_its_token_whatever_it_refuses(
    bench: Bench, trouble: TokenAbsent | TokenPinWrong, condition: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.driver.trouble = trouble
    engine = bench.start(TOKEN_BOX, open_driver=lambda spec, stopping: bench.driver)
    for number in range(3):
        assert isinstance(submit(engine, make_job(f"trf_{number}")).answer(), TokenAbsent | TokenPinWrong)
        assert (state(engine), engine.status().error) == (condition, trouble.code)
        engine.reload().result(SECONDS)
    assert [record.getMessage() for record in caplog.records].count(f"box box-1: {trouble.message}") == 1
    bench.driver.trouble = TokenAbsent("pulled out")
    engine.reload().result(SECONDS)
    assert (state(engine), engine.status().error) == ("token_absent", "token_absent")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("trouble", [BoxFailed("two tokens"), OSError(errno.EIO, "broken")])
def test_token_box_that_is_not_logged_in_is_not_ready_and_looks_again(
    bench: Bench, trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench.driver.trouble = trouble
    engine = bench.start(TOKEN_BOX, open_driver=lambda spec, stopping: bench.driver)
    assert (state(engine), engine.status().error) == ("token_absent", "box_failed")
    assert isinstance(submit(engine, make_job()).answer(), TokenAbsent)
    wait_until(lambda: bench.driver.log_ins >= 5, "the box to look again")
    assert state(engine) == "token_absent"
    bench.driver.trouble = None
    wait_until(lambda: engine.state == "ready", "the box to log in")
    bench.driver.trouble = trouble
    engine.reload().result(SECONDS)
    assert state(engine) == "token_absent"
    assert sum(record.levelno >= logging.ERROR for record in caplog.records) <= 2, "not once a second"


def test_software_box_goes_on_with_the_keys_that_it_has(bench: Bench) -> None:
    engine = bench.start()
    bench.driver.trouble = OSError(errno.EIO, "broken")
    engine.reload().result(SECONDS)
    assert state(engine) == "ready"
    submit(engine, make_job()).result()


@pytest.mark.usefixtures("impatient")
def test_box_whose_keys_could_not_be_opened_opens_them_when_it_can(bench: Bench) -> None:
    bench.driver.trouble = OSError(errno.EMFILE, "too many files")
    engine = bench.start()
    assert state(engine) == "disconnected"
    bench.driver.trouble = None
    wait_until(lambda: engine.state == "ready", "the box to look again")
    submit(engine, make_job()).result()


def test_job_that_came_before_the_journal_was_open_is_compared_with_what_is_recorded(
    bench: Bench, clock: FakeClock
) -> None:
    engine = bench.start()
    first = submit(engine, make_job(), "digest A").result()
    engine.close()
    again = BoxEngine(box_spec(), bench.driver.open, journal_path=journal_path(bench.folder), clock=clock)
    bench.engines.append(again)
    other, same = (
        submit(again, make_job(job_id), digest) for job_id, digest in (("trf_1", "digest B"), ("trf_2", "d"))
    )
    again.start()
    assert isinstance(other.answer(), JobIdReused)
    assert same.result().job_id == "trf_2", "it goes on"
    assert submit(again, make_job(), "digest A").result() == first


def test_journal_that_was_set_aside_gives_no_transactions_back(bench: Bench) -> None:
    spec = replace(box_spec(), transactions="standard", transactions_loaded=5)
    engine = bench.start(spec)
    for number in range(3):
        submit(engine, make_job(f"trf_{number}")).result()
    engine.close()
    path = journal_path(bench.folder)
    content = path.read_bytes()
    path.write_bytes(content[:60] + b"\xff" + content[61:])
    engine = bench.start(spec)
    assert (state(engine), engine.status().transactions_left) == ("journal_damaged", None)
    path.rename(bench.folder / "aside")
    engine.reload().result(SECONDS)
    assert (state(engine), engine.status().transactions_left) == ("ready", 2)
    submit(engine, make_job("trf_9")).result()
    engine.close()
    assert bench.start(spec).status().transactions_left == 1

"""A loop whose rounds fail: told when it begins, when it is something else, and when it is over."""

from __future__ import annotations

import asyncio
import errno
import logging

import pytest

from app.workers import Loop, run_loop
from fsb_gateway.error import FsbUnavailable

NO_SOCKET = FsbUnavailable("The gateway at /x.sock cannot be reached: there is no such socket.")
NOBODY = FsbUnavailable("The gateway at /x.sock cannot be reached: nobody listens there.")


def test_same_refusal_is_logged_once_with_its_cause_and_that_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    rounds = iter([*([NO_SOCKET] * 30), *([NOBODY] * 30), None, None, NO_SOCKET])
    stop = asyncio.Event()

    async def call() -> None:
        error = next(rounds, "end")
        if error == "end":
            stop.set()
        elif isinstance(error, FsbUnavailable):
            raise error

    asyncio.run(run_loop(Loop("boxes", call, 0.0), stop))
    told = [(each.message, vars(each).get("cause")) for each in caplog.records]
    assert told == [
        ("loop_failed", NO_SOCKET.message),
        ("loop_failed", NOBODY.message),
        ("loop_works_again", None),
        ("loop_failed", NO_SOCKET.message),
        ("loop_works_again", None),
    ]
    assert {vars(each)["loop"] for each in caplog.records} == {"boxes"}
    assert vars(caplog.records[0])["code"] == "fsb_unavailable"


def test_system_that_refuses_the_same_again_and_again_is_logged_once_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds = iter(range(30))
    stop = asyncio.Event()

    async def call() -> None:
        if next(rounds, None) is None:
            stop.set()
        else:
            raise OSError(errno.ENOSPC, "No space left on device", "/data/denied.json.new")

    asyncio.run(run_loop(Loop("denied", call, 0.0), stop))
    assert [(each.message, each.exc_info) for each in caplog.records] == [("loop_failed", None)]
    told = vars(caplog.records[0])
    assert told["code"] == "OSError"
    assert "No space left on device: '/data/denied.json.new'" in told["cause"]


def test_what_nobody_foresaw_is_logged_each_time_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    rounds = iter(range(3))
    stop = asyncio.Event()

    async def call() -> None:
        if next(rounds, None) is None:
            stop.set()
        else:
            raise ZeroDivisionError

    asyncio.run(run_loop(Loop("boxes", call, 0.0), stop))
    assert [each.exc_info is not None for each in caplog.records] == [True] * 3

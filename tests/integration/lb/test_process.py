"""HAProxy's process: checked, started, kept running, adopted, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from app.core.process import Supervised
from lb.errors import HaproxyError, HaproxyUnavailable
from lb.process import check_configuration, find_haproxy, haproxy_processes, supervised_haproxy
from tests.service.binary import require_binary
from tests.service.front_site import FrontSite, front_home
from tests.service.wait import wait_until_async

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def answers(site: FrontSite) -> int | None:
    """The worker's number, if it answers."""
    try:
        return site.runtime.show_info().pid
    except HaproxyError:
        return None


@asynccontextmanager
async def kept(site: FrontSite) -> AsyncIterator[Supervised]:
    """Kept running until the block ends."""
    process = supervised_haproxy(site.settings, clock=SystemClock(), log_file=site.home / "log")
    process.start()
    try:
        await wait_until_async(lambda: answers(site), "HAProxy to answer")
        yield process
    finally:
        await process.stop(timedelta(seconds=5))


async def test_it_is_started_and_ends_when_told() -> None:
    with front_home() as site:
        site.front.prepare()
        async with kept(site) as process:
            assert site.get_plain("/acme/x").status == 404
        assert process.pid is None
        assert answers(site) is None


async def test_a_master_that_is_killed_is_started_again() -> None:
    with front_home() as site:
        site.front.prepare()
        async with kept(site) as process:
            first, worker = process.pid, answers(site)
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await wait_until_async(lambda: process.pid not in {None, first}, "another master")
            await wait_until_async(lambda: answers(site) not in {None, worker}, "another worker")
            assert process.restarts == 1


async def test_a_worker_that_is_killed_is_replaced_with_the_files_in_force() -> None:
    with front_home() as site:
        site.front.prepare()
        async with kept(site):
            site.start_line(1)
            site.front.apply(site.state(site.line(1, weight=7)))
            worker = answers(site)
            assert worker is not None
            os.kill(worker, signal.SIGKILL)
            await wait_until_async(lambda: answers(site) not in {None, worker}, "another worker")
            assert not site.front.apply(site.state(site.line(1, weight=7))).changed
            assert site.get_plain("/acme/x").status == 200


async def test_a_master_that_outlived_its_keeper_is_adopted_and_goes_on() -> None:
    with front_home() as site:
        site.front.prepare()
        first = supervised_haproxy(site.settings, clock=SystemClock(), log_file=site.home / "log")
        first.start()
        await wait_until_async(lambda: answers(site), "HAProxy to answer")
        pid, worker = first.pid, answers(site)
        await first.release()
        async with kept(site) as second:
            await wait_until_async(lambda: second.pid, "the master")
            assert (second.pid, answers(site)) == (pid, worker)
        assert answers(site) is None


async def test_a_reload_keeps_the_master_that_is_looked_after() -> None:
    with front_home() as site:
        site.front.prepare()
        async with kept(site) as process:
            pid = process.pid
            assert site.front.apply(site.state(site.line(1))).reloaded
            assert process.pid == pid
            assert process.restarts == 0


async def test_a_program_that_is_not_there_is_tried_again_and_stops_when_told() -> None:
    with front_home() as site:
        site.front.prepare()
        settings = replace(site.settings, haproxy=str(site.home / "absent"))
        process = supervised_haproxy(settings, clock=SystemClock())
        process.start()
        await wait_until_async(lambda: process.restarts, "another try")
        await process.stop()
        assert process.pid is None


async def test_who_is_stopped_before_it_has_begun_leaves_nobody_behind() -> None:
    with front_home() as site:
        site.front.prepare()
        process = supervised_haproxy(site.settings, clock=SystemClock(), log_file=site.home / "log")
        process.start()
        await process.stop()
        assert process.pid is None
        assert answers(site) is None


BEGINNING = """
import pathlib, signal, socket, sys
print(flush=True)
sys.stdin.readline()
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
signal.pause()
"""


@contextmanager
def beginning(site: FrontSite, *, leads: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """What has the words of a master and does not listen yet; it begins with the first line that it is given."""
    words = (str(site.settings.master_socket), "-W", str(site.settings.configuration))
    with subprocess.Popen(
        [sys.executable, "-c", BEGINNING, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=leads,
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


class LateClock(SystemClock):
    """Much time passes as soon as somebody has looked once; told then."""

    def __init__(self, passes: timedelta, tell: Callable[[], None] = lambda: None) -> None:
        self._passes = passes
        self._tell = tell
        self._looks = 0

    def monotonic(self) -> float:
        self._looks += 1
        if self._looks == 1:
            return 0.0
        if self._looks == 3:
            self._tell()
        return self._passes.total_seconds()


async def test_a_master_that_takes_long_to_begin_is_waited_for_and_gets_no_second_one_beside_it() -> None:
    with front_home() as site:
        site.front.prepare()
        with beginning(site) as master:

            def begin() -> None:
                assert master.stdin is not None
                master.stdin.write(b"\n")
                master.stdin.flush()

            found = await find_haproxy(site.settings, clock=LateClock(timedelta(seconds=15), begin))
            assert found is not None
            assert found.pid == master.pid
            found.release()


async def test_a_master_that_never_listens_is_named_and_gets_no_second_one_beside_it() -> None:
    with front_home() as site:
        site.front.prepare()
        with beginning(site) as master, pytest.raises(HaproxyUnavailable, match=f"process {master.pid}"):
            await find_haproxy(site.settings, clock=LateClock(timedelta(seconds=60)))


async def test_a_worker_that_is_left_keeps_nobody_from_starting_a_master() -> None:
    with front_home() as site:
        site.front.prepare()
        with beginning(site, leads=False) as worker:
            assert haproxy_processes(site.settings) == [worker.pid]
            assert await find_haproxy(site.settings, clock=SystemClock()) is None


def test_a_configuration_is_checked_with_what_is_wrong_in_bounded_words(tmp_path: Path) -> None:
    program, path = str(require_binary("haproxy")), tmp_path / "c.cfg"
    path.write_text("frontend f\n  bind 127.0.0.1:1\n  mode http\n  timeout client 1s\n")
    assert check_configuration(program, path).ok
    path.write_text("nonsense\n" * 5000)
    result = check_configuration(program, path)
    assert not result.ok
    assert 0 < len(result.output) <= 400


def test_a_check_that_takes_too_long_is_a_refusal(tmp_path: Path) -> None:
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexec cat /dev/zero > /dev/null\n")
    program.chmod(0o700)
    result = check_configuration(str(program), tmp_path / "c.cfg", within=timedelta(milliseconds=200))
    assert not result.ok
    assert "within 0.2 s" in result.output

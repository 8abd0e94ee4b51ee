"""Programs that are kept running, found again and ended, with real ones."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from app.core.process import Manner, Process, Supervised, run_program
from app.core.process_identity import (
    is_alive,
    is_connected,
    open_peer,
    open_running,
    running,
    start_ticks,
    words_of,
)
from tests.service.wait import wait_until, wait_until_async

SECONDS = 30
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
POLITE = """
import signal, sys
def finish(*_):
    print("finished", file=sys.stderr, flush=True)
    sys.exit(7)
signal.signal(signal.SIGUSR1, finish)
print("ready", flush=True)
while True:
    signal.pause()
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen(["sleep", "1000"])
print(child.pid, flush=True)
"""


def play(body: Coroutine[None, None, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await body

    asyncio.run(bounded())


def python(text: str) -> Sequence[str]:
    return (sys.executable, "-c", text)


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def kept(command: Sequence[str], manner: Manner | None = None) -> Supervised:
    return Supervised("a program", command, clock=SystemClock(), manner=manner or Manner())


async def said(log: Path, what: str) -> None:
    await wait_until_async(lambda: log.exists() and what in log.read_text(), f"'{what}' in the log")


def test_program_that_ends_at_once_is_started_again_with_pauses_that_grow() -> None:
    async def body() -> None:
        clock, supervised = SystemClock(), kept(["/bin/false"])
        supervised.start()
        pauses: list[float] = []

        def paused() -> bool:
            if supervised.retry_at is not None and len(pauses) == supervised.restarts:
                pauses.append((supervised.retry_at - clock.now()).total_seconds())
            return len(pauses) >= 3

        await wait_until_async(paused, "three pauses")
        assert pauses[0] < pauses[1] < pauses[2]
        assert (supervised.ended_with, supervised.problem) == (1, "exit status 1")
        await supervised.stop()
        assert (supervised.pid, supervised.retry_at) == (None, None)

    play(body())


def test_program_that_is_not_there_is_tried_again_and_said_to_be_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> None:
        supervised = kept(["/no/such/program"])
        supervised.start()
        await wait_until_async(lambda: supervised.restarts >= 1, "another try")
        await supervised.stop()
        assert supervised.problem == "No such file or directory"
        assert "cannot be started" in caplog.text

    play(body())


@pytest.mark.parametrize(
    "trouble",
    [OSError(24, "Too many open files"), RuntimeError("Too many open files")],
    ids=["system", "fault"],
)
def test_program_that_cannot_be_looked_for_is_tried_again(trouble: Exception) -> None:
    async def body() -> None:
        async def adopt() -> Process | None:
            raise trouble

        supervised = Supervised("a program", python(DEAF), clock=SystemClock(), adopt=adopt)
        supervised.start()
        await wait_until_async(lambda: supervised.restarts >= 1, "another try")
        assert supervised.problem == "Too many open files"
        await supervised.stop()

    play(body())


def test_restart_before_there_is_a_process_changes_nothing_about_its_later_end() -> None:
    async def body() -> None:
        supervised = kept(python(DEAF))
        supervised.start()
        supervised.restart()
        await wait_until_async(lambda: supervised.pid, "the program")
        supervised.kill()
        await wait_until_async(lambda: supervised.ended_with is not None and supervised.pid, "the next one")
        assert supervised.restarts == 1, "it ended by itself"
        await supervised.stop(timedelta(0))

    play(body())


def test_restart_while_a_process_is_looked_for_means_the_one_that_is_found() -> None:
    async def body() -> None:
        found: list[Process] = [Process.start(python(DEAF))]
        first = found[0].pid

        async def adopt() -> Process | None:
            supervised.restart()
            return found.pop() if found else None

        supervised = Supervised("a program", python(DEAF), clock=SystemClock(), adopt=adopt)
        supervised.start()
        await wait_until_async(lambda: supervised.pid not in (None, first), "another one")
        assert not lives(first)
        assert supervised.restarts == 0, "nobody counts what was asked for"
        await supervised.stop(timedelta(0))

    play(body())


def test_program_that_is_only_kept_if_it_is_found_is_not_started_until_it_is_wanted() -> None:
    async def body() -> None:
        async def adopt() -> Process | None:
            return None

        supervised = Supervised("a program", python(DEAF), clock=SystemClock(), adopt=adopt)
        supervised.start(only_found=True)
        await wait_until_async(lambda: supervised.was_not_found, "the look")
        assert (supervised.pid, supervised.retry_at) == (None, None)
        supervised.start()
        await wait_until_async(lambda: supervised.pid, "the program")
        assert not supervised.was_not_found
        await supervised.stop(timedelta(0))

    play(body())


def test_program_that_is_deaf_is_killed_after_its_grace(tmp_path: Path) -> None:
    async def body() -> None:
        log = tmp_path / "log"
        supervised = kept(python(DEAF), Manner(log_file=log, keeps_output=True))
        supervised.start()
        await said(log, "\n")
        pid = supervised.pid
        assert pid is not None
        await supervised.stop(timedelta(seconds=0.2))
        assert not lives(pid)
        assert supervised.ended_with == -signal.SIGKILL

    play(body())


def test_program_with_a_way_to_finish_is_told_so_first(tmp_path: Path) -> None:
    async def body() -> None:
        log = tmp_path / "log"
        supervised = kept(python(POLITE), Manner(log_file=log, keeps_output=True, finish=signal.SIGUSR1))
        supervised.start()
        await said(log, "ready")
        await supervised.stop(timedelta(seconds=SECONDS))
        assert supervised.ended_with == 7
        assert "finished" in log.read_text()

    play(body())


def test_output_is_nowhere_unless_it_is_wanted(tmp_path: Path) -> None:
    async def body() -> None:
        log = tmp_path / "log"
        words = python("import sys; print('out'); print('wrong', file=sys.stderr)")
        assert await Process.start(words, Manner(log_file=log)).ended() == 0
        assert log.read_text() == "wrong\n"
        assert await Process.start(words, Manner(log_file=log, keeps_output=True)).ended() == 0
        assert sorted(log.read_text().split()) == ["out", "wrong", "wrong"]

    play(body())


@pytest.mark.parametrize("ends_group", [False, True])
def test_rest_of_its_group_is_ended_with_it_only_if_that_is_wanted(
    tmp_path: Path,
    ends_group: bool,
) -> None:
    async def body() -> int:
        log = tmp_path / "log"
        manner = Manner(log_file=log, keeps_output=True, ends_group=ends_group)
        assert await Process.start(python(PARENT), manner).ended() == 0
        return int(log.read_text())

    child = asyncio.run(body())
    descriptor = os.pidfd_open(child)
    try:
        if ends_group:
            wait_until(lambda: not is_alive(descriptor), "the rest to end")
        assert is_alive(descriptor) is not ends_group
    finally:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)


def test_what_is_left_is_cleaned_up_before_each_start_and_after_each_end() -> None:
    async def body() -> None:
        seen: list[int | None] = []

        async def clean_up() -> None:
            seen.append(supervised.ended_with)

        supervised = Supervised("a program", ["/bin/false"], clock=SystemClock(), clean_up=clean_up)
        supervised.start()
        await wait_until_async(lambda: supervised.restarts >= 1 and len(seen) >= 3, "a second start")
        await supervised.stop()
        assert seen[:3] == [None, 1, 1]

    play(body())


def test_clean_up_that_fails_stops_nobody_from_being_started_again() -> None:
    async def body() -> None:
        async def clean_up() -> None:
            if supervised.ended_with is not None:
                raise OSError(2, "no such program")

        supervised = Supervised("a program", ["/bin/false"], clock=SystemClock(), clean_up=clean_up)
        supervised.start()
        await wait_until_async(lambda: supervised.restarts >= 2, "another start")
        await supervised.stop()

    play(body())


def test_released_program_goes_on_and_is_adopted_by_its_words(tmp_path: Path) -> None:
    name = f"mark-{tmp_path.name}"

    def is_meant(words: Sequence[str]) -> bool:
        return name in words

    async def adopt() -> Process | None:
        found = open_running(is_meant)
        return Process(*found[0]) if found else None

    async def body() -> None:
        command = (*python(DEAF), name)
        first = Supervised("a program", command, clock=SystemClock(), adopt=adopt)
        first.start()
        await wait_until_async(lambda: first.pid and running(is_meant), "the program")
        pid = first.pid
        await first.release()
        assert running(is_meant) == [pid]
        second = Supervised("a program", command, clock=SystemClock(), adopt=adopt)
        second.start()
        await wait_until_async(lambda: second.pid, "the program to be adopted")
        assert (second.pid, second.restarts) == (pid, 0)
        await second.stop(timedelta(0))
        await wait_until_async(lambda: not running(is_meant), "its end")

    play(body())


def test_one_that_nobody_can_look_after_is_not_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"mark-{tmp_path.name}"

    def refuse(_pid: int) -> int:
        raise OSError(24, "Too many open files")

    async def body() -> None:
        monkeypatch.setattr(os, "pidfd_open", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            Process.start((*python(DEAF), name))

    play(body())
    assert running(lambda words: name in words) == []


def test_processes_of_others_are_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"mark-{tmp_path.name}"
    with subprocess.Popen([*python("input()"), name], stdin=subprocess.PIPE) as child:
        wait_until(lambda: name in words_of(child.pid), "its words")
        assert running(lambda words: name in words) == [child.pid]
        monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
        assert running(lambda words: name in words) == []
        child.communicate(b"\n", timeout=SECONDS)


def test_who_listens_is_known_and_whether_he_still_does(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
        listener.bind(path)
        listener.listen()
        caller.connect(path)
        descriptor, pid = open_peer(caller)
        os.close(descriptor)
        assert pid == os.getpid()
        assert is_connected(caller)
        listener.accept()[0].close()
        assert not is_connected(caller)


def test_end_of_a_process_is_seen_by_a_descriptor_of_any_number() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2048), limits[1]))
    try:
        with subprocess.Popen(python("input()"), stdin=subprocess.PIPE) as child:
            low = os.pidfd_open(child.pid)
            # `select` takes none from 1024 on.
            high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 1024)
            assert is_alive(high)
            child.communicate(b"\n", timeout=SECONDS)
        assert not is_alive(high)
        for each in (low, high):
            os.close(each)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_start_of_a_process_is_read_whatever_its_name() -> None:
    with subprocess.Popen(
        python("open('/proc/self/comm','w').write('a) R 1 (b'); input()"), stdin=subprocess.PIPE
    ) as child:
        named = Path(f"/proc/{child.pid}/comm")
        wait_until(lambda: named.read_text() == "a) R 1 (b\n", "the name")
        assert start_ticks(child.pid) >= start_ticks(os.getpid())
        child.communicate(b"\n", timeout=SECONDS)
    with pytest.raises(OSError, match="No such file"):
        start_ticks(child.pid)


def test_program_that_is_run_to_its_end_gives_its_status_and_the_end_of_what_it_wrote() -> None:
    done = run_program(
        python("import sys; print('x' * 100); sys.exit(3)"), within=timedelta(seconds=SECONDS), output_bytes=5
    )
    assert (done.status, done.output) == (3, b"xxxx\n")
    assert run_program(python(DEAF), within=timedelta(seconds=0.3)).status is None

"""Lines as processes of this machine: what only processes do."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from app.core.ids import LineId
from app.core.process_identity import running
from tenancy.line_call import LineCaller
from tenancy.runner.line_link import LineLink, Listener
from tests.integration.tenancy.runner.runner_site import QUICK, STAND_IN, LocalSite, cleared
from tests.service.wait import until, wait_until_async

ACME = LineId("acme-1")
SECONDS = 30


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_line_outlives_a_killed_control_and_the_next_one_adopts_it(tmp_path: Path) -> None:
    root = tmp_path / "lines"
    control = subprocess.Popen(
        [sys.executable, "-m", "tests.service.short_runner", str(root), ACME, *STAND_IN],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert control.stdout is not None
    pid = int(control.stdout.readline())
    control.kill()
    control.wait(SECONDS)
    control.stdout.close()
    assert is_alive(pid)
    assert os.getpgid(pid) == pid, "no signal from a terminal reaches it"

    async def go_on() -> None:
        async with cleared(LocalSite(root)) as site:
            found = await site.begin()
            assert (found.process_id, found.restarts) == (pid, 0)
            # An adopted one is looked after as one's own.
            await site.end_process()
            await wait_until_async(lambda: not is_alive(pid), "its end")
            await site.becomes_another(pid)

    asyncio.run(go_on())


def test_line_that_was_frozen_when_control_ended_is_found_frozen(tmp_path: Path) -> None:
    async def body() -> None:
        async with cleared(LocalSite(tmp_path / "lines")) as site:
            first = await site.begin()
            await site.freeze()
            await site.renew_runner()
            await site.runner.ensure(site.spec())
            assert (await site.becomes("frozen")).process_id == first.process_id
            await site.runner.restart(ACME)
            await site.becomes_another(first.process_id)
            assert first.process_id is not None
            assert not is_alive(first.process_id)

    asyncio.run(body())


def test_line_that_drains_when_control_comes_is_ended_like_any_other(tmp_path: Path) -> None:
    async def body() -> None:
        async with cleared(LocalSite(tmp_path / "lines")) as site:
            await site.begin()
            site.say("hold")
            caller = LineCaller(site.root / ACME)
            await asyncio.to_thread(lambda: caller.drain(within=timedelta(seconds=SECONDS)))
            await site.renew_runner()
            await site.becomes("draining")
            async with asyncio.timeout(SECONDS):
                await site.runner.drain(ACME, within=timedelta(seconds=0.3))
            assert await site.runner.observe() == {}

    asyncio.run(body())


def test_line_that_another_control_has_left_is_drained_in_the_time_that_it_is_given(tmp_path: Path) -> None:
    async def body() -> None:
        async with cleared(LocalSite(tmp_path / "lines")) as site:
            await site.begin()
            site.say("hold")
            await site.renew_runner()
            # A box would have ten.
            async with asyncio.timeout(8):
                await site.runner.drain(ACME, within=timedelta(seconds=0.3))
            assert await site.runner.observe() == {}

    asyncio.run(body())


def test_line_that_never_answers_after_its_start_is_frozen(tmp_path: Path) -> None:
    async def body() -> None:
        program = (sys.executable, "-c", "import signal; signal.pause()")
        patience = replace(QUICK, starting=timedelta(seconds=0.3))
        async with cleared(LocalSite(tmp_path / "lines", program=program, patience=patience)) as site:
            await site.runner.ensure(site.spec())
            found = await site.becomes("frozen")
            assert found.process_id is not None

    asyncio.run(body())


def test_control_that_has_stood_still_takes_no_line_for_frozen(tmp_path: Path) -> None:
    class Clock(SystemClock):
        slept = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.slept

    async def body() -> None:
        clock = Clock()
        async with cleared(LocalSite(tmp_path / "lines", clock=clock)) as site:
            await site.begin()
            # As when the machine was suspended: nobody has asked meanwhile.
            clock.slept = 3600.0
            seen = await site.seen()
            assert seen is not None
            assert seen.state == "ready"

    asyncio.run(body())


def test_line_that_begins_to_listen_after_the_first_look_is_found_too(tmp_path: Path) -> None:
    """Control was killed between the start of the process and its first answer, and wants the line no more."""

    async def body() -> None:
        async with cleared(LocalSite(tmp_path / "lines")) as site:
            assert await site.runner.observe() == {}
            other = LocalSite(site.root)
            started = await other.begin()
            await other.runner.close()
            assert (await site.becomes("ready")).process_id == started.process_id

    asyncio.run(body())


def test_line_that_ends_while_it_is_taken_over_is_not_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has said that it is wanted."""
    find = LineLink.find_listener

    async def find_the_last_time(link: LineLink, line_id: LineId) -> Listener | None:
        found = await find(link, line_id)
        if found is not None:
            found.process.signal(signal.SIGKILL)
            await wait_until_async(lambda: not is_alive(found.process.pid), "its end")
        return found

    async def body() -> None:
        async with cleared(LocalSite(tmp_path / "lines")) as site:
            await site.begin()
            await site.renew_runner()
            monkeypatch.setattr(LineLink, "find_listener", find_the_last_time)
            await site.runner.observe()

            async def has_gone() -> bool:
                return await site.runner.observe() == {}

            await until(has_gone, "the line to be known no more", deadline=timedelta(seconds=SECONDS))
            assert running(lambda words: str(site.root / ACME) in words) == []

    asyncio.run(body())


def test_line_whose_program_is_not_there_says_so(tmp_path: Path) -> None:
    async def body() -> None:
        async with cleared(LocalSite(tmp_path / "lines", program=("/no/such/program",))) as site:
            await site.runner.ensure(site.spec())
            assert (await site.becomes("waiting")).problem == "No such file or directory"

    asyncio.run(body())


def test_line_that_does_not_listen_to_signals_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    async def body() -> None:
        async with cleared(LocalSite(tmp_path / "lines")) as site:
            site.say("deaf")
            found = await site.begin()
            assert found.process_id is not None
            async with asyncio.timeout(SECONDS):
                await site.runner.drain(ACME, within=timedelta(seconds=0.2))
            assert not is_alive(found.process_id)

    asyncio.run(body())


def test_number_that_somebody_else_claims_is_never_signalled(tmp_path: Path) -> None:
    """Who listens says that it is another process, or another line, than the one that listens."""
    directory = tmp_path / "lines" / ACME
    directory.mkdir(parents=True)

    async def answer(status: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(status)}\r\nconnection: close\r\n\r\n"
        writer.write((head + status).encode())
        writer.close()

    async def body(line: str, pid: int) -> None:
        status = (
            f'{{"line":"{line}","process_id":{pid},"started_at":"2026-01-01T00:00:00Z","state":"ready",'
            '"applied":1,"running":0,"instances":0,"open_instances":0,"open_transfers":0}'
        )
        path = directory / "line.sock"
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(lambda r, w: answer(status, r, w), str(path))
        async with server:
            link = LineLink(directory, patience=timedelta(seconds=5))
            assert await link.find_listener(ACME) is None
            await link.close()

    asyncio.run(body("acme-1", os.getpid() + 1))
    asyncio.run(body("acme-2", os.getpid()))


def test_socket_that_nobody_listens_at_is_nobody(tmp_path: Path) -> None:
    directory = tmp_path / ACME
    directory.mkdir()

    async def body() -> None:
        link = LineLink(directory, patience=timedelta(seconds=5))
        assert await link.find_listener(ACME) is None
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(directory / "line.sock"))
        assert await link.find_listener(ACME) is None
        assert await link.status() is None
        await link.close()

    asyncio.run(body())


def test_directories_of_lines_are_their_owners_alone(tmp_path: Path) -> None:
    async def body() -> None:
        async with cleared(LocalSite(tmp_path / "lines")) as site:
            await site.runner.ensure(site.spec())
            for each in (site.root, site.root / ACME):
                assert stat.S_IMODE(each.stat().st_mode) == 0o700

    asyncio.run(body())

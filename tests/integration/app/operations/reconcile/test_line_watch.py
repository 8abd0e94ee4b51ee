"""Lines that hang, asked at real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from app.core.ids import InstanceId, LineId
from app.operations.reconcile.line_watch import LineWatch, LineWatchParts
from app.operations.reconcile.observation import Observation
from tenancy.line.record import ServedInstance, ServedLine
from tenancy.line_file import FRONT_SOCKET
from tenancy.runner.port import LineSeen

LINES = tuple(LineId(f"acme-{number}") for number in range(1, 4))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of lines that take a connection and never answer, until everybody has given up."""
    before = set(threading.enumerate())
    with ExitStack() as stack:
        for line in LINES:
            (tmp_path / line).mkdir()
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(tmp_path / line / FRONT_SOCKET))
            listener.listen()
        yield tmp_path
        for each in set(threading.enumerate()) - before:
            each.join(10)


def look(folder: Path, *, all_within: timedelta) -> list[Observation]:
    """At three lines that their runner calls frozen, and nobody else knows."""
    lines = tuple(
        ServedLine(line_id=line, number=number, weight=100, in_service=True)
        for number, line in enumerate(LINES, start=1)
    )
    acme = InstanceId("ins_1")
    served = ServedInstance(instance_id=acme, name="acme", state="ready", line_set=acme, lines=lines)

    async def seen() -> dict[LineId, LineSeen]:
        return {line: LineSeen(line_id=line, state="frozen") for line in LINES}

    parts = LineWatchParts(
        seen=seen,
        list_served=lambda: [served],
        list_lines=lambda _: (),
        last_change=lambda: 1,
        directory_of=lambda line: folder / line,
    )
    watch = LineWatch(parts, clock=SystemClock(), all_within=all_within)
    return list(asyncio.run(watch.look((), busy=frozenset())))


def readiness(observation: Observation) -> tuple[str, str]:
    (found,) = [each for each in observation.evidence if each.witness == "readiness"]
    return found.verdict, found.detail


def test_line_that_hangs_is_asked_and_is_sick(folder: Path) -> None:
    found = look(folder, all_within=timedelta(minutes=1))
    assert [readiness(each) for each in found] == [("bad", "net_unavailable")] * len(LINES)
    assert {each.verdict for each in found} == {"bad"}


def test_line_that_cannot_be_asked_in_time_is_what_others_say_and_none_is_left_out(folder: Path) -> None:
    found = look(folder, all_within=timedelta(milliseconds=1))
    assert [each.subject.name for each in found] == list(LINES)
    assert [readiness(each) for each in found] == [("unknown", "not_in_time")] * len(LINES)
    assert {each.verdict for each in found} == {"bad"}

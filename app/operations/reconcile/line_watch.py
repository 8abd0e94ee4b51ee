"""What is seen of lines: by their runner, by the load balancers, and, where one of them is not content, by asking."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from anyio import CapacityLimiter, to_thread

from app.core.clock import Clock
from app.core.errors import DomainError
from app.core.ids import InstanceId, LineId
from app.core.net import ApiSession, NetError, NetRejected
from app.operations.reconcile.front_watch import FrontView
from app.operations.reconcile.observation import Cure, Evidence, Observation, Subject, Verdict
from tenancy.line.record import SHARED_SET, LineRecord, ServedInstance
from tenancy.line_file import FRONT_SOCKET
from tenancy.runner.port import LineSeen, LineState

_READY_WITHIN: Final = timedelta(seconds=0.5)
"""The load balancers give a line 300 ms. Our own decision."""
_READ_ALL_EVERY: Final = timedelta(seconds=30)
"""As the keeper of lines does."""
_ALL_READY_WITHIN: Final = timedelta(seconds=1)
"""All that are asked. Our own decision: the healer must not be held up, and others have said enough of the rest."""
_AT_ONCE: Final = 64
"""Threads; 128 lines that hang are asked within that time."""
_PROCESS: Final = "process"
"""The line's own: what its runner and we ourselves hear from it has one cause, so that it counts once."""
_CURES: Final[tuple[Cure, ...]] = ("restart", "replace")
_HEALING: Final[frozenset[LineState]] = frozenset({"starting", "waiting", "absent"})
"""Its runner, or the keeper of lines, has it run again."""
_RUNNER_SAYS: Final[Mapping[LineState, Verdict]] = {
    "ready": "ok",
    "starting": "bad",
    "waiting": "bad",
    "absent": "bad",
    "frozen": "bad",
    "draining": "unknown",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LineWatchParts:
    """Where lines are known. All but `seen` block.

    Attributes:
        seen: how their runner sees them; None: they have no processes of their own.
        list_served: all instances with their lines.
        list_lines: all that is known of an instance's lines.
        last_change: grows with everything that is changed in the platform database.
        directory_of: of a line.
    """

    seen: Callable[[], Awaitable[Mapping[LineId, LineSeen] | None]]
    list_served: Callable[[], list[ServedInstance]]
    list_lines: Callable[[InstanceId], Sequence[LineRecord]]
    last_change: Callable[[], int]
    directory_of: Callable[[LineId], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLine:
    """A line as the platform database has it.

    Attributes:
        group: key of its set.
        takes_requests: it is in service and has weight.
        out_by: who has taken it out.
        is_stable: neither coming nor going.
    """

    line_id: LineId
    group: str
    number: int
    takes_requests: bool = True
    out_by: str | None = None
    is_stable: bool = True


class LineWatch:
    """Used from one event loop. While the platform database is away, lines are those that were known last.

    Args:
        all_within: how long lines are asked themselves, all together.
    """

    def __init__(
        self, parts: LineWatchParts, *, clock: Clock, all_within: timedelta = _ALL_READY_WITHIN
    ) -> None:
        self._parts = parts
        self._all_within = all_within
        self._clock = clock
        self._known: tuple[KnownLine, ...] = ()
        self._change: int | None = None
        self._read_at = 0.0
        self._threads = CapacityLimiter(_AT_ONCE)

    async def look(
        self, fronts: Sequence[FrontView], *, busy: Container[str] | None
    ) -> tuple[Observation, ...]:
        """Everything about lines with processes of their own.

        Args:
            busy: objects that an operation is changing; None: nobody knows.
        """
        seen = await self._parts.seen()
        if seen is None:
            return ()
        await to_thread.run_sync(self._follow)
        until = asyncio.get_running_loop().time() + self._all_within.total_seconds()
        asked = (self._observe(line, seen.get(line.line_id), fronts, until=until) for line in self._known)
        found = await asyncio.gather(*asked)
        busy_lines = {each.line_id for each in self._known if busy is None or _is_busy(each, busy)}
        return tuple(
            replace(each, is_changing=each.is_changing or each.subject.name in busy_lines) for each in found
        )

    async def _observe(
        self, line: KnownLine, seen: LineSeen | None, fronts: Sequence[FrontView], *, until: float
    ) -> Observation:
        state: LineState = "absent" if seen is None else seen.state
        evidence = [_runner_says(state, seen)]
        evidence += [each for front in fronts if (each := _front_says(front, line)) is not None]
        if any(each.verdict != "ok" for each in evidence):
            evidence.append(await self._ask(line, until))
        return Observation(
            subject=line_subject(line.line_id, line.group),
            evidence=tuple(evidence),
            witnesses=1 + len(fronts),
            in_service=line.takes_requests,
            may_leave=line.group != SHARED_SET,
            cures=_CURES,
            taken_out_by=line.out_by,
            is_healing=state in _HEALING,
            is_changing=not line.is_stable or state == "draining",
        )

    async def _ask(self, line: KnownLine, until: float) -> Evidence:
        directory = self._parts.directory_of(line.line_id)
        try:
            async with asyncio.timeout_at(until):
                return await to_thread.run_sync(
                    _ask_readiness, directory, limiter=self._threads, abandon_on_cancel=True
                )
        except TimeoutError:
            return Evidence(witness="readiness", verdict="unknown", detail="not_in_time", source=_PROCESS)

    def _follow(self) -> None:
        now = self._clock.monotonic()
        try:
            change = self._parts.last_change()
            if change == self._change and now - self._read_at < _READ_ALL_EVERY.total_seconds():
                return
            self._known = know_lines(self._parts.list_served(), self._parts.list_lines)
        except DomainError:
            return
        self._change, self._read_at = change, now


def line_subject(line_id: LineId, group: str) -> Subject:
    """A line as a part of the fleet.

    Args:
        group: key of its set.
    """
    return Subject(kind="line", name=line_id, group=group)


def know_lines(
    served: Sequence[ServedInstance], list_lines: Callable[[InstanceId], Sequence[LineRecord]]
) -> tuple[KnownLine, ...]:
    """All lines, each once. More is asked only about instances with a line that is not in service."""
    found: dict[LineId, KnownLine] = {}
    for instance in served:
        is_plain = all(each.in_service for each in instance.lines)
        records = {} if is_plain else {each.line_id: each for each in list_lines(instance.instance_id)}
        for line in instance.lines:
            record = records.get(line.line_id)
            found[line.line_id] = KnownLine(
                line_id=line.line_id,
                group=instance.line_set,
                number=line.number,
                takes_requests=line.in_service and line.weight > 0,
                out_by=None if record is None else record.out_by,
                is_stable=line.in_service or (record is not None and record.phase == "active"),
            )
    return tuple(each for _, each in sorted(found.items()))


def _is_busy(line: KnownLine, busy: Container[str]) -> bool:
    """What is done to one instance of the shared line is nothing to the line."""
    return line.line_id in busy or (line.group != SHARED_SET and line.group in busy)


def _runner_says(state: LineState, seen: LineSeen | None) -> Evidence:
    problem = None if seen is None else seen.problem
    detail = state if problem is None or state == "ready" else f"{state}: {problem}"
    return Evidence(witness="runner", verdict=_RUNNER_SAYS[state], detail=detail, source=_PROCESS)


def _front_says(front: FrontView, line: KnownLine) -> Evidence | None:
    """None: it has not heard of the line, or does not answer at all."""
    return None if front.lines is None else front.lines.get((line.group, line.number))


def _ask_readiness(directory: Path) -> Evidence:
    """What the line itself says at the socket where load balancers reach it."""
    within = _READY_WITHIN.total_seconds()
    try:
        with ApiSession("http://line", socket=directory / FRONT_SOCKET, timeout_seconds=within) as session:
            session.get("/readyz")
    except NetRejected as error:
        return Evidence(witness="readiness", verdict="bad", detail=str(error.status), source=_PROCESS)
    except (NetError, OSError) as error:
        code = error.code if isinstance(error, NetError) else "net_unavailable"
        return Evidence(witness="readiness", verdict="bad", detail=code, source=_PROCESS)
    return Evidence(witness="readiness", verdict="ok", source=_PROCESS)

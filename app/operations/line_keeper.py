"""Keeps the processes of lines as the platform database has them: observe, plan, act.

platform database ──► wanted lines ──► line.json, instances.json ──► runner
changes are followed by their events
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from anyio import to_thread

from app.core.clock import Clock
from app.core.errors import DomainError
from app.core.ids import InstanceId, LineId
from app.core.lock import make_private
from app.operations.guard import carry_on
from app.operations.line_directory import list_lines, remove_line
from app.operations.line_plan import LineAction, WantedLine, plan_lines, want_lines
from tenancy.database.home import DatabaseHome
from tenancy.errors import InstanceDatabaseMissing
from tenancy.line.record import ServedInstance
from tenancy.line_file import (
    LINES_DIRECTORY,
    LineFile,
    LineFileError,
    LineInstance,
    line_directory,
    read_instances,
    read_line,
    write_instances,
    write_line,
)
from tenancy.runner.port import LineSeen, LineSpec, Runner

_log = logging.getLogger(__name__)

DRAIN_WITHIN: Final = timedelta(seconds=40)
"""The longest answer takes 25 s (`Settings.program_wait_seconds`), and somewhat more. Our own decision."""
_READ_ALL_EVERY: Final = timedelta(seconds=30)
"""Whatever events say: what no event was written for is noticed as well. Our own decision."""
_FEWEST_CONNECTIONS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LineKeeperParts:
    """What lines are made of. All but the runner blocks.

    Attributes:
        list_served: all instances with their lines.
        last_change: grows with everything that is changed in the platform database.
        line_file: what a line is, its keys too.
        home_of: where an instance's database lies, with its password.
        connections: to one database server at most, of all lines that share it.
    """

    runner: Runner
    list_served: Callable[[], list[ServedInstance]]
    last_change: Callable[[], int]
    line_file: Callable[[LineId], LineFile]
    home_of: Callable[[InstanceId], DatabaseHome]
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """What a line has been told last.

    Attributes:
        wanted: of which it was made; None: something was not known for certain, so that it is looked at again.
        problem: what the line complained of then.
    """

    wanted: WantedLine | None
    instances: tuple[LineInstance, ...]
    version: int
    problem: str | None

    def is_enough(self, wanted: WantedLine, seen: LineSeen | None) -> bool:
        """Whether nothing speaks for other files than these, or for damaged ones."""
        if self.wanted is not wanted:
            return False
        # One that ends again and again may do so because of its files.
        is_well = seen is None or (seen.state != "waiting" and seen.problem == self.problem)
        return is_well and _applied(seen) <= self.version


class LineKeeper:
    """Used from one event loop.

    Args:
        data_dir: the lines' directories are below it.
    """

    def __init__(self, data_dir: Path, parts: LineKeeperParts, *, clock: Clock) -> None:
        self._data_dir = data_dir
        self._parts = parts
        self._clock = clock
        self._wanted: dict[LineId, WantedLine] = {}
        self._change: int | None = None
        self._read_at = 0.0
        self._told: dict[tuple[str, InstanceId | LineId], str] = {}
        self._written: dict[LineId, _Written] = {}
        self._leaving: dict[LineId, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    async def look(self) -> None:
        """One turn: have the lines that are wanted, with what they serve, and no others.

        Raises:
            DomainError: the platform database is away; lines go on as they are.
        """
        async with self._turn:
            await to_thread.run_sync(self._follow)
            seen = await self._parts.runner.observe()
            await to_thread.run_sync(self._write_all, seen)
            for action in plan_lines(self._wanted, seen, leaving=self._leaving):
                with carry_on("line_not_kept", line=action.line_id, verb=action.verb):
                    await self._act(action)
            await to_thread.run_sync(self._clear, frozenset(seen))

    async def plan(self) -> tuple[LineAction, ...]:
        """What the next turn would do; empty once everything is as it should be."""
        await to_thread.run_sync(self._follow)
        return plan_lines(self._wanted, await self._parts.runner.observe(), leaving=self._leaving)

    async def seen(self) -> Mapping[LineId, LineSeen]:
        """How lines are."""
        return await self._parts.runner.observe()

    async def restart(self, line_id: LineId) -> None:
        """End a line's process, however it is, and start it anew."""
        await self._parts.runner.restart(line_id)

    async def replace(self, line_id: LineId, permission: Callable[[], Awaitable[None]]) -> None:
        """End a line's process and remove everything it has; the next turn makes it anew.

        Args:
            permission: asked for when it is this one's turn, which may be long after the call; refuses by an error.
        """
        async with self._turn:
            if line_id in self._leaving:
                return
            await permission()
            await self._parts.runner.stop(line_id)
            await to_thread.run_sync(self._remove, line_id)

    async def close(self) -> None:
        """Look after lines no longer; they go on serving."""
        for task in self._leaving.values():
            task.cancel()
        await asyncio.gather(*self._leaving.values(), return_exceptions=True)
        await self._parts.runner.close()

    def _follow(self) -> None:
        """Know which lines are wanted; a small read while nothing has changed."""
        now = self._clock.monotonic()
        # First: what changes while the instances are read is read again.
        change = self._parts.last_change()
        is_old = now - self._read_at >= _READ_ALL_EVERY.total_seconds()
        if change != self._change or is_old:
            # New values, the same or not: each line's files are compared with them.
            self._wanted = want_lines(self._parts.list_served())
            self._change, self._read_at = change, now

    def _write_all(self, seen: Mapping[LineId, LineSeen]) -> None:
        for line_id, wanted in self._wanted.items():
            one, written = seen.get(line_id), self._written.get(line_id)
            if written is not None and written.is_enough(wanted, one):
                continue
            try:
                self._write(wanted, one)
                self._told.pop(("line_not_told", line_id), None)
            except (DomainError, OSError) as error:
                # The others are told; this one in the next turn again.
                self._written.pop(line_id, None)
                self._complain("line_not_told", error, line_id)

    def _write(self, wanted: WantedLine, seen: LineSeen | None) -> None:
        homes, is_certain = self._find_homes(wanted)
        instances = tuple(
            LineInstance(instance_id=owner, name=name, home=homes[owner])
            for owner, name in wanted.instances
            if owner in homes
        )
        connections = max(self._parts.connections // wanted.share, _FEWEST_CONNECTIONS)
        written = self._written.get(wanted.line_id)
        # The file may be lost before the line has said what it has of it.
        known = max(_applied(seen), 0 if written is None else written.version)
        directory = line_directory(self._data_dir, wanted.line_id)
        make_private(self._data_dir / LINES_DIRECTORY)
        make_private(directory)
        self._write_line(directory, wanted.line_id)
        self._written[wanted.line_id] = _Written(
            wanted=wanted if is_certain else None,
            instances=instances,
            version=write_instances(directory, instances, connections=connections, newer_than=known),
            problem=None if seen is None else seen.problem,
        )

    def _write_line(self, directory: Path, line_id: LineId) -> None:
        """In force from the line's next start on."""
        line = self._parts.line_file(line_id)
        try:
            is_same = read_line(directory) == line
        except LineFileError:
            is_same = False
        if not is_same:
            write_line(directory, line)

    def _find_homes(self, wanted: WantedLine) -> tuple[dict[InstanceId, DatabaseHome], bool]:
        """Where the instances' databases lie, and whether that is certain.

        Nobody can say where one is at the moment: it stays where the line has it. There is none: the line serves the
        others, and answers 404 for it.
        """
        homes: dict[InstanceId, DatabaseHome] = {}
        known: Mapping[InstanceId, DatabaseHome] | None = None
        for owner, _ in wanted.instances:
            try:
                homes[owner] = self._parts.home_of(owner)
                for event in ("line_without_database", "line_database_unknown"):
                    self._told.pop((event, owner), None)
            except InstanceDatabaseMissing as error:
                self._complain("line_without_database", error, owner)
            except DomainError as error:
                known = self._known_homes(wanted.line_id) if known is None else known
                self._complain("line_database_unknown", error, owner)
                if owner in known:
                    homes[owner] = known[owner]
        return homes, known is None

    def _known_homes(self, line_id: LineId) -> Mapping[InstanceId, DatabaseHome]:
        """As a line was told last, by this control or the one before."""
        try:
            found = read_instances(line_directory(self._data_dir, line_id)).instances
        except LineFileError:
            written = self._written.get(line_id)
            found = () if written is None else written.instances
        return {each.instance_id: each.home for each in found}

    def _complain(self, event: str, error: DomainError | OSError, whose: InstanceId | LineId) -> None:
        """Once until it is another trouble, or none: each turn tries again."""
        code = error.code if isinstance(error, DomainError) else type(error).__name__
        if self._told.get((event, whose)) != code:
            self._told[event, whose] = code
            _log.critical(event, extra={"whose": whose, "code": code, "cause": str(error)})

    async def _act(self, action: LineAction) -> None:
        line_id = action.line_id
        if action.verb == "ensure":
            if await to_thread.run_sync(self._knows_itself, line_id):
                directory = line_directory(self._data_dir, line_id)
                await self._parts.runner.ensure(LineSpec(line_id=line_id, directory=directory))
            return
        # Beside the turns: it takes as long as its requests.
        self._leaving[line_id] = asyncio.create_task(self._end(action))

    def _knows_itself(self, line_id: LineId) -> bool:
        """Whether a process of the line would find what it is, and whom it serves; otherwise it would end at once.

        Older files are better than no line: the disk may be full. Broken ones are written again in the next turn.
        """
        directory = line_directory(self._data_dir, line_id)
        try:
            read_line(directory)
            read_instances(directory)
        except LineFileError as error:
            self._written.pop(line_id, None)
            self._complain("line_knows_nothing", error, line_id)
            return False
        self._told.pop(("line_knows_nothing", line_id), None)
        return True

    async def _end(self, action: LineAction) -> None:
        try:
            with carry_on("line_not_ended", line=action.line_id):
                if action.verb == "drain":
                    await self._parts.runner.drain(action.line_id, within=DRAIN_WITHIN)
                else:
                    await self._parts.runner.stop(action.line_id)
        finally:
            del self._leaving[action.line_id]

    def _clear(self, seen: frozenset[LineId]) -> None:
        """Remove what lines leave that are wanted no more; what has a process is found, or ends: a later turn does."""
        for directory in list_lines(self._data_dir):
            line_id = LineId(directory.name)
            if line_id in self._wanted or line_id in seen or line_id in self._leaving:
                continue
            with carry_on("line_directory_not_removed", line=line_id):
                self._remove(line_id)

    def _remove(self, line_id: LineId) -> None:
        self._written.pop(line_id, None)
        remove_line(line_directory(self._data_dir, line_id))


def _applied(seen: LineSeen | None) -> int:
    """The version of what a line serves, as far as it has said so."""
    return 0 if seen is None or seen.applied is None else seen.applied

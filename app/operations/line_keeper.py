"""Keeps the processes of lines as the platform database has them: observe, plan, act.

platform database ──► wanted lines ──► line.json, instances.json ──► runner
changes are followed by their events
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from anyio import to_thread

from app.core.clock import Clock
from app.core.errors import DomainError
from app.core.ids import InstanceId, LineId
from app.core.lock import locked, make_private
from app.operations.guard import carry_on
from app.operations.line_plan import LineAction, WantedLine, plan_lines, want_lines
from tenancy.database.home import DatabaseHome
from tenancy.line.record import ServedInstance
from tenancy.line_file import (
    LINES_DIRECTORY,
    LineFile,
    LineFileError,
    LineInstance,
    line_directory,
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
    """What a line has been told last."""

    instances: tuple[LineInstance, ...]
    connections: int
    version: int

    def says(self, instances: tuple[LineInstance, ...], connections: int) -> bool:
        return (self.instances, self.connections) == (instances, connections)


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
        self._unknown: set[InstanceId] = set()
        self._written: dict[LineId, _Written] = {}
        self._leaving: dict[LineId, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    async def look(self) -> None:
        """One turn: have the lines that are wanted, with what they serve, and no others.

        Raises:
            DomainError: the platform database is away; lines go on as they are.
        """
        async with self._turn:
            is_new = await to_thread.run_sync(self._follow)
            seen = await self._parts.runner.observe()
            await to_thread.run_sync(lambda: self._write_all(seen, is_new=is_new))
            for action in plan_lines(self._wanted, seen, leaving=self._leaving):
                if action.verb == "ensure" and action.line_id not in self._written:
                    # It would end at once: it does not know who it is.
                    continue
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

    async def replace(self, line_id: LineId) -> None:
        """End a line's process and remove everything it has; the next turn makes it anew."""
        async with self._turn:
            if line_id in self._leaving:
                return
            await self._parts.runner.stop(line_id)
            await to_thread.run_sync(self._remove, line_id)

    async def close(self) -> None:
        """Look after lines no longer; they go on serving."""
        for task in self._leaving.values():
            task.cancel()
        await asyncio.gather(*self._leaving.values(), return_exceptions=True)
        await self._parts.runner.close()

    def _follow(self) -> bool:
        """Know which lines are wanted; a small read while nothing has changed. Whether something may have."""
        now = self._clock.monotonic()
        # First: what changes while the instances are read is read again.
        change = self._parts.last_change()
        is_old = now - self._read_at >= _READ_ALL_EVERY.total_seconds()
        if change == self._change and not is_old:
            return False
        self._wanted = want_lines(self._parts.list_served())
        self._change, self._read_at = change, now
        self._unknown &= {owner for each in self._wanted.values() for owner, _ in each.instances}
        return True

    def _write_all(self, seen: Mapping[LineId, LineSeen], *, is_new: bool) -> None:
        for line_id, wanted in self._wanted.items():
            applied = seen[line_id].applied if line_id in seen else None
            written = self._written.get(line_id)
            if not is_new and written is not None and (applied or 0) <= written.version:
                continue
            try:
                self._write(wanted, applied or 0)
            except (DomainError, OSError):
                # The others are told; this one in the next turn again.
                self._written.pop(line_id, None)
                _log.exception("line_not_told", extra={"line": line_id})

    def _write(self, wanted: WantedLine, applied: int) -> None:
        instances = tuple(
            LineInstance(instance_id=owner, name=name, home=home)
            for owner, name in wanted.instances
            if (home := self._find_home(owner)) is not None
        )
        directory = line_directory(self._data_dir, wanted.line_id)
        connections = max(self._parts.connections // wanted.share, _FEWEST_CONNECTIONS)
        written = self._written.get(wanted.line_id)
        if written is not None and written.says(instances, connections) and applied <= written.version:
            return
        make_private(self._data_dir / LINES_DIRECTORY)
        make_private(directory)
        self._write_line(directory, wanted.line_id)
        version = write_instances(directory, instances, connections=connections, newer_than=applied)
        self._written[wanted.line_id] = _Written(
            instances=instances, connections=connections, version=version
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

    def _find_home(self, owner: InstanceId) -> DatabaseHome | None:
        """Where an instance's database lies. Without one, its lines serve the others, and answer 404 for it."""
        try:
            home = self._parts.home_of(owner)
        except DomainError as error:
            if owner not in self._unknown:
                self._unknown.add(owner)
                _log.critical("line_without_database", extra={"instance": owner, "code": error.code})
            return None
        self._unknown.discard(owner)
        return home

    async def _act(self, action: LineAction) -> None:
        line_id = action.line_id
        if action.verb == "ensure":
            line = await to_thread.run_sync(self._parts.line_file, line_id)
            directory = line_directory(self._data_dir, line_id)
            spec = LineSpec(line_id=line_id, directory=directory, gateway=line.gateway, limits=line.limits)
            await self._parts.runner.ensure(spec)
            return
        # Beside the turns: it takes as long as its requests.
        self._leaving[line_id] = asyncio.create_task(self._end(action))

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
        """Remove what lines leave that are wanted no more: it names databases and their passwords."""
        root = self._data_dir / LINES_DIRECTORY
        for directory in sorted(root.iterdir()) if root.is_dir() else ():
            line_id = LineId(directory.name)
            is_needed = line_id in self._wanted or line_id in seen or line_id in self._leaving
            if is_needed or not directory.is_dir():
                continue
            with carry_on("line_directory_not_removed", line=line_id):
                self._remove(line_id)

    def _remove(self, line_id: LineId) -> None:
        self._written.pop(line_id, None)
        _remove(line_directory(self._data_dir, line_id))


def _remove(directory: Path) -> None:
    # A process that holds it and that nobody sees is found, or ends: a later turn removes it then.
    with suppress(BlockingIOError), locked(directory):
        shutil.rmtree(directory)

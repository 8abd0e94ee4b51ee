"""Takes up transfers that nobody drives any more, at all instances of a process, several at a time.

    start ──► left-overs of a killed process ──failed──► again with a later sweep, ever more rarely
    sweep ──► instances that may have a transfer in the making; every five minutes all that are served

A process that has its instances to itself takes up left-overs at once. One that shares them with other lines waits
until their leases end, and looks every five minutes at instances that it does not serve, too: the line that did may be
gone.

A gateway that hangs costs an instance a few seconds: one after the other they would hold up the others' deadlines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from anyio import to_thread

from app.core.clock import Clock
from app.core.ids import InstanceId
from app.core.logging import bind, clear
from app.licensing import has_open_transfers
from app.operations.guard import carry_on
from app.operations.line import InstanceRuntime
from tenancy.database.port import ServedDatabases

FULL_SWEEP_EVERY: Final = timedelta(minutes=5)
"""How often every instance is swept, not only those that sent a job: for transfers of dead lines. Our own decision."""
AT_ONCE: Final = 8
"""Instances driven at the same time: a hundred with a gateway that hangs take a minute, and threads are left for
requests. Our own decision."""
_AGAIN_AFTER: Final = timedelta(seconds=1)
"""First pause before left-overs are tried again; it doubles up to `FULL_SWEEP_EVERY`. Our own decision."""


class KnownInstances(Protocol):
    """The instances that a process serves."""

    def knows(self, instance_id: InstanceId) -> bool:
        """Whether an instance is served here."""
        ...

    def name_of(self, instance_id: InstanceId) -> str:
        """Its name, for logs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepParts:
    """What a sweep goes through.

    Attributes:
        directory: knows which instances are there.
        databases: opens theirs.
        runtimes: what lines are serving now.
        open_runtime: an instance that is known as one of its lines serves it; blocks.
        shared: all instances of this process, if other lines serve them as well; None: they do not.
    """

    directory: KnownInstances
    databases: ServedDatabases
    runtimes: Callable[[], Iterable[InstanceRuntime]]
    open_runtime: Callable[[InstanceId], InstanceRuntime]
    shared: Callable[[], Iterable[InstanceId]] | None = None


class FleetSweep:
    """Sweeps until told to stop. For one event loop.

    Args:
        stop: once it is set, no further instance is begun with.
        started_at: what was reserved before was left by a process that is no more.
    """

    def __init__(self, parts: SweepParts, *, clock: Clock, stop: asyncio.Event, started_at: datetime) -> None:
        self._parts = parts
        self._clock = clock
        self._stop = stop
        self._started_at = started_at
        self._next_full = clock.monotonic() + FULL_SWEEP_EVERY.total_seconds()
        self._left_over: dict[InstanceId, None] = {}
        self._again_at = 0.0
        self._pause = timedelta(0)
        self._taking_up: asyncio.Task[None] | None = None

    def take_up(self, instance_ids: Sequence[InstanceId]) -> None:
        """Begin to finish what a killed process left reserved; leases or not if this process is the only driver."""
        self._left_over = dict.fromkeys(instance_ids)
        self._taking_up = asyncio.create_task(self._take_up_all())

    async def close(self) -> None:
        """End what `take_up` began."""
        if self._taking_up is not None:
            self._taking_up.cancel()
            await asyncio.gather(self._taking_up, return_exceptions=True)

    async def sweep(self) -> None:
        """Go through all instances where there may be something; now and then through all that are served."""
        is_full = self._clock.monotonic() >= self._next_full
        if is_full:
            self._next_full = self._clock.monotonic() + FULL_SWEEP_EVERY.total_seconds()
            if self._parts.shared is not None:
                self._left_over.update(dict.fromkeys(self._parts.shared()))
        self._try_again()
        served: dict[InstanceId, list[InstanceRuntime]] = {}
        for runtime in self._parts.runtimes():
            served.setdefault(runtime.instance_id, []).append(runtime)
        await self._each(partial(self._sweep_one, runtimes, is_full=is_full) for runtimes in served.values())

    async def _sweep_one(self, runtimes: Sequence[InstanceRuntime], *, is_full: bool) -> None:
        """One instance, line by line: they have one database, and one finds what another has sent again."""
        for runtime in runtimes:
            bind(instance=runtime.name, line=runtime.line_id)
            with carry_on("sweep_failed"):
                if runtime.access.flush_due():
                    await to_thread.run_sync(runtime.access.flush_use)
            with carry_on("sweep_failed"):
                if is_full or runtime.may_have_open_transfers:
                    # Its database is asked for, so that the one used longest ago is closed: open files stay bounded.
                    await to_thread.run_sync(self._parts.databases.open, runtime.instance_id)
                    await runtime.drive_transfers()

    def _try_again(self) -> None:
        """Take up what could not be before: beside the sweep, for a database that is away takes its time."""
        is_busy = self._taking_up is not None and not self._taking_up.done()
        if self._left_over and not is_busy and self._clock.monotonic() >= self._again_at:
            self._taking_up = asyncio.create_task(self._take_up_all())

    async def _take_up_all(self) -> None:
        # Whoever succeeds takes himself off it; nothing is left over at an instance that is no more.
        self._left_over = dict.fromkeys(filter(self._parts.directory.knows, self._left_over))
        await self._each(partial(self._take_up, each) for each in list(self._left_over))
        self._pause = min(max(2 * self._pause, _AGAIN_AFTER), FULL_SWEEP_EVERY)
        self._again_at = self._clock.monotonic() + self._pause.total_seconds()

    async def _take_up(self, instance_id: InstanceId) -> None:
        """Look whether anything is left over there, and let a line look after it."""
        bind(instance=self._parts.directory.name_of(instance_id))
        with carry_on("left_over_not_finished"):
            db = await to_thread.run_sync(self._parts.databases.open, instance_id)
            if await to_thread.run_sync(has_open_transfers, db):
                runtime = await to_thread.run_sync(self._parts.open_runtime, instance_id)
                if self._parts.shared is None:
                    await runtime.drive_left_over(before=self._started_at)
                else:
                    await runtime.look_after_transfers()
            self._left_over.pop(instance_id, None)

    async def _each(self, works: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Do all of it, some at a time; none outlives this call, however it ends."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def do(work: Callable[[], Awaitable[None]]) -> None:
            async with turns:
                if not self._stop.is_set():
                    # Of this task alone: what is bound here names one instance.
                    clear()
                    await work()

        tasks = [asyncio.ensure_future(do(work)) for work in works]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

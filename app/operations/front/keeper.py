"""Keeps load balancers as the platform wants them: finds out what that is, and brings each of them there.

turn ─► what are they to be? ─► for each that is behind, or not looked at for a while: a thread of its own
    └─► who may call which instance? what control has changed at once, all others by turns

One that hangs or refuses does not hold up the other, and is not brought to what has been overtaken meanwhile. While
control or the platform database is down, load balancers go on with what they have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from anyio import to_thread

from app.core.errors import DomainError
from app.core.ids import InstanceId
from app.operations.front.access_book import AccessBook
from app.operations.front.default_certificate import UNREADABLE
from app.operations.front.desired import Desired, DesiredFront
from app.operations.front.kept_front import DISK_FAILED, FrontReport, KeptFront, plan_lines

_log = logging.getLogger(__name__)

MOST_READING: Final = 4
"""Databases of instances that are asked at once because control has changed something there. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontsReport:
    """How all of them are.

    Attributes:
        desired: what they are to be; None: not known yet.
        problem: code of why that is not known, or not anew; None: nothing.
    """

    desired: Desired | None
    problem: str | None
    fronts: tuple[FrontReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPlan:
    """What would change at a load balancer now.

    Attributes:
        reload: why everything would be read again; None: it would not.
        problem: code of why nobody can say.
    """

    name: str
    steps: tuple[str, ...] = ()
    reload: str | None = None
    problem: str | None = None
    message: str | None = None


class FrontKeeper:
    """Keeps them. For one event loop.

    Args:
        desired: finds out what they are to be.
        access: what it knows of who may call.
        fronts: by name; none: there is nothing to do.
    """

    def __init__(self, desired: DesiredFront, access: AccessBook, fronts: Mapping[str, KeptFront]) -> None:
        self._desired = desired
        self._access = access
        self._fronts = fronts
        self._known: Desired | None = None
        self._problem: str | None = None
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self._reading: set[asyncio.Task[None]] = set()
        self._turning: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()

    async def turn(self) -> None:
        """Look once, and have done what is due. A loop calls it; whoever cannot wait for the loop may, too.

        Raises:
            DomainError, OSError: nobody can say what they are to be; what they have goes on.
        """
        if not self._fronts:
            return
        try:
            async with self._looking:
                self._known = await to_thread.run_sync(self._desired.look)
            self._problem = None
        except DomainError as error:
            self._problem = error.code
            raise
        except OSError:
            self._problem = UNREADABLE
            raise
        finally:
            self._start_due()
            self._read_access()

    def _read_access(self) -> None:
        """A database that hangs holds up one thread and no change of anybody else's."""
        for each in self._access.take_noted(MOST_READING - len(self._reading)):
            task = asyncio.create_task(to_thread.run_sync(self._access.read, [each]))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)
        if self._turning is None or self._turning.done():
            due = self._access.take_turn(self._desired.served)
            self._turning = asyncio.create_task(to_thread.run_sync(self._access.read, due))

    def _start_due(self) -> None:
        for name, front in self._fronts.items():
            task = self._at_work.get(name)
            is_busy = task is not None and not task.done()
            if self._known is not None and not is_busy and front.is_due(self._known):
                self._at_work[name] = asyncio.create_task(self._keep(name, front, self._known))

    async def _keep(self, name: str, front: KeptFront, desired: Desired) -> None:
        before = front.report.problem
        try:
            await to_thread.run_sync(front.keep, desired)
        except Exception as error:
            _log.exception("front_not_kept", extra={"front": name})
            front.note_crash(desired, error)
            return
        report = front.report
        if report.problem != before:
            told = {"front": name, "code": report.problem, "cause": report.message}
            _log.log(logging.INFO if report.problem is None else logging.WARNING, "front_kept", extra=told)

    async def close(self) -> None:
        """Let what is under way come to its end; load balancers go on."""
        turning = [] if self._turning is None else [self._turning]
        await asyncio.gather(*self._at_work.values(), *self._reading, *turning, return_exceptions=True)

    def note_access(self, instance_id: InstanceId) -> None:
        """Somebody has changed who may call an instance. From any thread; never blocks for long."""
        if self._fronts:
            self._access.note(instance_id)

    def report(self) -> FrontsReport:
        """How they are, from memory."""
        return FrontsReport(
            desired=self._known,
            problem=self._problem,
            fronts=tuple(each.report for each in self._fronts.values()),
        )

    async def plan(self) -> Sequence[FrontPlan]:
        """What would change at each of them now; nothing is touched."""
        known = self._known
        if known is None:
            return []
        return [
            await to_thread.run_sync(_plan_one, name, front, known) for name, front in self._fronts.items()
        ]


def _plan_one(name: str, front: KeptFront, desired: Desired) -> FrontPlan:
    try:
        plan = front.plan(desired)
    except DomainError as error:
        return FrontPlan(name=name, problem=error.code, message=error.message)
    except OSError as error:
        return FrontPlan(name=name, problem=DISK_FAILED, message=error.strerror)
    steps = () if plan.is_empty or plan.reload is not None else plan_lines(plan)
    return FrontPlan(name=name, steps=steps, reload=plan.reload)

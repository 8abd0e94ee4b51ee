"""One line that is looked after: its process kept running, and asked again and again how it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from app.core.clock import Clock
from app.core.complaint import Complaints
from app.core.ids import LineId
from app.core.net import NetError
from app.core.process import Process, Supervised
from tenancy.line_call import LineCaller
from tenancy.line_status import LineStatus
from tenancy.runner.line_link import LineLink
from tenancy.runner.port import LineSeen, LineState

_log = logging.getLogger(__name__)

_AT_ONCE = timedelta(0)
_LOOK_EVERY_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long lines may take for what. Defaults are our own decisions.

    Attributes:
        ask_every: how often a line is asked how it is.
        answer: for such an answer.
        starting: from the start of the process to the first answer.
        silent: without an answer, until the line counts as frozen.
        look_again: how often lines are looked for that somebody else has started.
    """

    ask_every: timedelta = timedelta(seconds=0.5)
    answer: timedelta = timedelta(seconds=1)
    starting: timedelta = timedelta(seconds=30)
    silent: timedelta = timedelta(seconds=3)
    look_again: timedelta = timedelta(seconds=5)


class KeptLine:
    """From `keep` to `end`, or `release`. For one event loop."""

    def __init__(
        self,
        line_id: LineId,
        directory: Path,
        *,
        program: Sequence[str],
        clock: Clock,
        patience: Patience,
    ) -> None:
        self.line_id = line_id
        self._directory = directory
        self._clock = clock
        self._patience = patience
        self._link = LineLink(directory, patience=patience.answer)
        self._supervised = Supervised(
            f"line {line_id}", (*program, str(directory)), clock=clock, adopt=self._adopt
        )
        self._watch: asyncio.Task[None] | None = None
        self._status: LineStatus | None = None
        self._pid: int | None = None
        self._asked_at = 0.0
        self._silent_since: float | None = None
        self._complaints = Complaints(clock=clock)
        self._has_answered = False
        self._draining = False
        self.gone = asyncio.Event()

    @property
    def is_draining(self) -> bool:
        """Whether it is on its way out."""
        return self._draining

    @property
    def was_not_found(self) -> bool:
        """Whether it was only to be looked after, and had no process any more."""
        return self._supervised.was_not_found

    def keep(self, *, only_found: bool = False) -> None:
        """Have it run from now on; the process that is there already, or a new one. Safe to repeat.

        Args:
            only_found: none is started for one that has no process: nobody has said that it is wanted.
        """
        self._supervised.start(only_found=only_found)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._look_again_and_again())

    def restart(self) -> None:
        """End its process, however it is; it is started anew at once."""
        self._supervised.restart()

    async def end(self, within: timedelta) -> None:
        """Have it finish what runs, and end; killed if it is not done in time."""
        self._draining = True
        try:
            if within:
                await self._find_process()
            listens = self._has_answered and self._pid is not None and self._pid == self._supervised.pid
            if within and listens and await self._is_told_to_drain(within):
                await self._supervised.finish(within)
                within = _AT_ONCE
            await self._supervised.stop(within)
            await self._stop_watching()
        finally:
            # Whoever waits to have it anew must not wait for ever.
            self.gone.set()

    async def _find_process(self) -> None:
        """Wait until it is known whether there is a process: one that is told to end before has the time of a box."""
        end = self._clock.monotonic() + 2 * self._patience.answer.total_seconds()
        # Nobody tells of it, and it is a matter of milliseconds.
        while self._is_unknown() and self._clock.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    def _is_unknown(self) -> bool:
        supervised = self._supervised
        if supervised.was_not_found:
            return False
        return supervised.pid is None and supervised.retry_at is None and supervised.ended_with is None

    async def _is_told_to_drain(self, within: timedelta) -> bool:
        caller = LineCaller(self._directory)
        try:
            await asyncio.to_thread(lambda: caller.drain(within=within, answers_within=self._patience.answer))
        except NetError:
            # It does not listen yet, or hears nothing: then it is asked by signal.
            return False
        return True

    async def release(self) -> None:
        """Look after it no longer; it goes on."""
        await self._stop_watching()
        await self._supervised.release()

    def seen(self) -> LineSeen:
        """How it was a moment ago."""
        supervised, state = self._supervised, self._state()
        # What the process before said is nothing to this one.
        is_known = supervised.pid is not None and supervised.pid == self._pid
        status = self._status if is_known and state != "frozen" else None
        return LineSeen(
            line_id=self.line_id,
            state=state,
            process_id=supervised.pid,
            restarts=supervised.restarts,
            next_start_at=supervised.retry_at,
            running=None if status is None else status.running,
            applied=None if status is None else status.applied,
            problem=self._problem(),
        )

    def _state(self) -> LineState:
        if self._supervised.pid is None:
            if self._draining:
                return "absent"
            return "starting" if self._supervised.retry_at is None else "waiting"
        if self._supervised.pid != self._pid:
            return "draining" if self._draining else "starting"
        if self._is_frozen():
            return "frozen"
        if self._draining or (self._status is not None and self._status.state == "draining"):
            return "draining"
        return "ready" if self._status is not None and self._status.state == "ready" else "starting"

    def _is_frozen(self) -> bool:
        """From question to question: whoever has stood still himself has not asked, and has heard nothing of it."""
        if self._silent_since is None:
            return False
        bound = self._patience.silent if self._has_answered else self._patience.starting
        return self._asked_at - self._silent_since > bound.total_seconds()

    def _problem(self) -> str | None:
        said = None if self._status is None else self._status.problem
        return self._supervised.problem if said is None else said

    async def _adopt(self) -> Process | None:
        """The process that is there already: another control has started it."""
        found = await self._link.find_listener(self.line_id)
        if found is None:
            return None
        # One that was there before has had its time to start.
        self._note(found.process.pid, found.status, has_answered=True)
        _log.info("line_adopted", extra={"line": self.line_id, "process_id": found.process.pid})
        return found.process

    async def _look_again_and_again(self) -> None:
        while True:
            pid = self._supervised.pid
            if pid is None:
                self._pid, self._status = None, None
            elif pid != self._pid:
                self._note(pid, None, has_answered=False)
            if pid is not None:
                await self._ask_or_complain(pid)
            await asyncio.sleep(self._patience.ask_every.total_seconds())

    async def _ask_or_complain(self, pid: int) -> None:
        """A defect of ours must not let the line look frozen for ever."""
        try:
            await self._ask(pid)
        except Exception as error:
            if self._complaints.note(repr(error)) is not None:
                _log.exception("line_not_asked", extra={"line": self.line_id})

    async def _ask(self, pid: int) -> None:
        asked_at = self._clock.monotonic()
        status = await self._link.status()
        if status is not None and status.process_id == pid:
            self._note(pid, status, has_answered=True)
            return
        self._asked_at = asked_at
        if self._silent_since is None:
            self._silent_since = asked_at

    def _note(self, pid: int, status: LineStatus | None, *, has_answered: bool) -> None:
        self._pid, self._status, self._has_answered = pid, status, has_answered
        self._silent_since = None

    async def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        await self._link.close()

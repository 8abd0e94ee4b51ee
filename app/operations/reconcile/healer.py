"""The healer's turn: look, decide, write it down, act.

look ─► lease ─► what came of what was begun? ─► plan ─► journal ─► act
          └─ nobody's, or the platform database is away: look only

Who was held up himself, by a pause of the process or a clock that jumped, warms up again before he judges anybody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from anyio import to_thread

from app.core.clock import Clock
from app.core.errors import DomainError
from app.operations.guard import carry_on
from app.operations.reconcile.box_watch import observe_boxes
from app.operations.reconcile.flood import observe_kinds
from app.operations.reconcile.front_watch import FrontWatch
from app.operations.reconcile.journal import Journal, OpenAction, Told
from app.operations.reconcile.lease import HealerLease
from app.operations.reconcile.line_watch import LineWatch
from app.operations.reconcile.observation import Observation
from app.operations.reconcile.past import NO_PAST, Outcome, Past, Rails, judge, look
from app.operations.reconcile.plan import Decision, make_plan
from app.operations.reconcile.record import Pause
from app.operations.reconcile.remedy import Remedy
from app.operations.reconcile.report import HealerReport, PartReport
from app.operations.reconcile.situation import Situation
from tenancy.box.control import BoxView

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

LONGEST_PAUSE: Final = timedelta(seconds=5)
"""Between two looks. **Source:** high availability reference §4, rule 3."""
ASK_WITHIN: Final = timedelta(seconds=2)
"""A source that needs longer is not heard. After load balancers (`front_watch`) lines are asked: both take less than
`LONGEST_PAUSE`. Our own decision."""
_CLEAR_EVERY: Final = timedelta(hours=1)
_MOST_NOTES: Final = 200
"""Lines of the journal in one turn; further ones follow. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealerParts:
    """With what it looks and acts.

    Attributes:
        boxes: every box, wanted and reported.
        busy: objects that an operation is changing. Blocking, as the next two.
        pauses: in force.
        alarms: parts about which a person was called who has not released them.
        is_watching: there are line processes or load balancers.
    """

    lines: LineWatch
    fronts: FrontWatch
    boxes: Callable[[], Awaitable[Sequence[BoxView]]]
    busy: Callable[[], frozenset[str]]
    pauses: Callable[[], Sequence[Pause]]
    alarms: Callable[[], frozenset[str]]
    lease: HealerLease
    journal: Journal
    remedy: Remedy
    is_watching: bool


class Healer:
    """Used from one event loop.

    Args:
        ask_within: how long a source may take for its answer.
    """

    def __init__(
        self,
        parts: HealerParts,
        *,
        clock: Clock,
        rails: Rails | None = None,
        ask_within: timedelta = ASK_WITHIN,
    ) -> None:
        self._parts = parts
        self._clock = clock
        self._rails = rails or Rails()
        self._ask_within = ask_within
        self._past: dict[str, Past] = {}
        self._told: dict[str, Told] = {}
        self._begun: dict[str, OpenAction] = {}
        self._out: set[str] = set()
        self._acted: tuple[datetime, ...] = ()
        self._pauses: Mapping[str, datetime | None] = {}
        self._token: int | None = None
        self._watching_since: datetime | None = None
        self._looked: tuple[datetime, float] | None = None
        self._cleared_at: float | None = None
        self._problem: str | None = None
        self.report = HealerReport(is_watching=parts.is_watching)

    async def turn(self) -> None:
        """Look once, and do what is due. A loop calls it."""
        if not self._parts.is_watching:
            return
        asked_at = self._clock.monotonic()
        observations = await self._observe()
        now = self._note_look(asked_at)
        has_lease = await self._keep_lease(now)
        self._remember(observations, now)
        by_key = {each.subject.key: each for each in observations}
        if has_lease:
            await self._settle(by_key, now)
        self._note_overruled(observations, now)
        plan = make_plan(self._situation(observations, now, has_lease=has_lease))
        if has_lease:
            await self._carry_out(plan, by_key, now)
        self.report = self._describe(plan, by_key, now, has_lease=has_lease)

    async def _carry_out(
        self, plan: Sequence[Decision], by_key: Mapping[str, Observation], now: datetime
    ) -> None:
        if not self._is_warming_up(now):
            await self._note(plan, by_key)
        for decision in plan:
            if decision.action == "none":
                continue
            if self._is_outdated():
                # What was seen before something took long is no reason to act; the next turn looks again.
                break
            await self._act(decision, by_key[decision.subject.key])
        await self._clear()

    async def close(self) -> None:
        """Act no more; the next healer may at once."""
        with carry_on("lease_not_given_up"):
            await to_thread.run_sync(self._parts.lease.give_up)

    async def _observe(self) -> tuple[Observation, ...]:
        """Ask everybody side by side: who does not answer keeps nobody else from being looked at."""
        busy = asyncio.ensure_future(self._find_busy())
        views, found = await asyncio.gather(
            self._ask("boxes_not_seen", self._parts.boxes()), self._observe_lines(busy)
        )
        with carry_on("boxes_not_seen"):
            found += observe_boxes(views or (), busy=await busy)
        return (*found, *observe_kinds(found, self._rails))

    async def _observe_lines(self, busy: Awaitable[frozenset[str] | None]) -> list[Observation]:
        """And load balancers, which are asked about lines first."""
        fronts = await self._parts.fronts.look()
        found = [each for front in fronts for each in (front.observation, *front.others)]
        looking = self._parts.lines.look(fronts, busy=await busy)
        found += await self._ask("lines_not_seen", looking) or ()
        return found

    async def _find_busy(self) -> frozenset[str] | None:
        return await self._ask("busy_not_known", to_thread.run_sync(self._parts.busy, abandon_on_cancel=True))

    async def _ask(self, event: str, answer: Awaitable[_T]) -> _T | None:
        """What a source says; None if it cannot, or not in time: then nobody knows.

        Args:
            event: that it does not, for the log.
        """
        with carry_on(event):
            try:
                async with asyncio.timeout(self._ask_within.total_seconds()):
                    return await answer
            except TimeoutError:
                _log.warning(event, extra={"code": "not_in_time"})
        return None

    def _note_look(self, asked_at: float) -> datetime:
        """Asking may take a while, and is part of looking; longer than it may, and this process was held up in it."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        if self._looked is not None:
            jumped = abs((now - self._looked[0]).total_seconds() - (monotonic - self._looked[1]))
            paused = max(asked_at - self._looked[1], monotonic - asked_at)
            if max(paused, jumped) > LONGEST_PAUSE.total_seconds():
                _log.warning("healer_held_up", extra={"seconds": round(paused, 1), "jump": round(jumped, 1)})
                self._start_watching(None)
        self._looked = (now, monotonic)
        if self._watching_since is None:
            self._start_watching(now)
        return now

    def _start_watching(self, since: datetime | None) -> None:
        self._watching_since = since
        now = self._clock.now()
        self._past = {key: each.unwatched(now) for key, each in self._past.items()}

    async def _keep_lease(self, now: datetime) -> bool:
        try:
            token = await to_thread.run_sync(self._parts.lease.keep)
            pauses = await to_thread.run_sync(self._parts.pauses)
            if token is not None and token != self._token:
                await self._take_over(now)
            await self._hear_releases()
        except DomainError as error:
            self._problem = error.code
            return False
        self._token, self._problem = token, None
        self._pauses = {each.scope: each.until for each in pauses}
        return token is not None

    async def _take_over(self, now: datetime) -> None:
        """Begin to act: with what was tried before, and after a time of looking."""
        history = await to_thread.run_sync(self._parts.journal.load)
        self._past, self._told = dict(history.past), dict(history.told)
        self._begun, self._out = dict(history.begun), set(history.out)
        self._acted = history.acted
        self._start_watching(now)
        _log.info("healer_acts", extra={"token": self._parts.lease.token})

    async def _hear_releases(self) -> None:
        """Whichever control process was told of them."""
        frozen = {key for key, each in self._past.items() if each.is_frozen}
        if frozen:
            for key in frozen - await to_thread.run_sync(self._parts.alarms):
                self._past[key] = self._past[key].released()

    def _remember(self, observations: Sequence[Observation], now: datetime) -> None:
        seen = {each.subject.key for each in observations}
        for key in self._past.keys() - seen:
            past = self._past.pop(key).unwatched(now)
            if past != NO_PAST:
                self._past[key] = past
        for each in observations:
            key = each.subject.key
            self._past[key] = look(self._past.get(key, NO_PAST), each, now=now)

    def _note_overruled(self, observations: Sequence[Observation], now: datetime) -> None:
        """What somebody else has put back is his. What the healer itself is putting back is in `_begun` until then."""
        for each in observations:
            key = each.subject.key
            begun = self._begun.get(key)
            if each.taken_out_by is not None:
                self._out.add(key)
            elif key in self._out and (begun is None or begun.action not in ("take_out", "put_back")):
                self._out.discard(key)
                self._past[key] = self._past[key].overruled(now)

    async def _settle(self, by_key: Mapping[str, Observation], now: datetime) -> None:
        """Write down what has come of what was begun."""
        for key, begun in list(self._begun.items()):
            observation = by_key.get(key)
            if observation is not None:
                outcome = judge(begun.action, begun.at, observation, now=now, rails=self._rails)
            else:
                outcome = "open" if now - begun.at < self._rails.recovery else "not_met"
            if outcome != "open":
                await self._end(key, outcome)

    def _situation(self, observations: Sequence[Observation], now: datetime, *, has_lease: bool) -> Situation:
        return Situation(
            now=now,
            observations=observations,
            past=self._past,
            pauses=self._pauses,
            acted=self._acted,
            watching_since=self._watching_since,
            has_lease=has_lease,
            rails=self._rails,
        )

    def _is_outdated(self) -> bool:
        looked = self._looked
        return looked is None or self._clock.monotonic() - looked[1] > LONGEST_PAUSE.total_seconds()

    def _is_warming_up(self, now: datetime) -> bool:
        return self._watching_since is None or now - self._watching_since < self._rails.warm_up

    async def _note(self, plan: Sequence[Decision], by_key: Mapping[str, Observation]) -> None:
        """Write down every decision to do nothing that is another than before."""
        news = [each for each in plan if each.action == "none" and self._is_news(each)][:_MOST_NOTES]
        if not news:
            return
        changed = [(each, by_key[each.subject.key]) for each in news]
        try:
            await to_thread.run_sync(self._parts.journal.note, changed)
        except DomainError as error:
            self._problem = error.code
            return
        for each in news:
            self._told[each.subject.key] = _tell(each)

    def _is_news(self, decision: Decision) -> bool:
        before = self._told.get(decision.subject.key)
        if before is None:
            return decision.reason != "healthy"
        return before != _tell(decision)

    async def _act(self, decision: Decision, observation: Observation) -> None:
        """Write it down, and do it; what is not written is not done."""
        key = decision.subject.key
        try:
            entry = await to_thread.run_sync(self._parts.journal.begin, decision, observation)
        except DomainError as error:
            self._problem = error.code
            _log.warning("healer_not_acting", extra={"part": key, "code": error.code})
            return
        self._told[key] = _tell(decision)
        self._past[key] = self._past.get(key, NO_PAST).after(decision.action, now=entry.decided_at)
        if decision.action == "call_human":
            return
        since = entry.decided_at - self._rails.at_once
        self._acted = (*(each for each in self._acted if each > since), entry.decided_at)
        if key in self._begun:
            await self._end(key, "not_met")
        _log.warning("healer_acts_on", extra={"part": key, "verb": decision.action, "code": decision.reason})
        self._begun[key] = OpenAction(entry_id=entry.entry_id, action=decision.action, at=entry.decided_at)
        await self._apply(decision)

    async def _apply(self, decision: Decision) -> None:
        key = decision.subject.key
        try:
            await self._parts.remedy.apply(decision)
        except DomainError as error:
            await self._end(key, "failed", code=error.code)
        except Exception:
            _log.exception("healer_failed", extra={"part": key})
            await self._end(key, "failed", code="internal_error")

    async def _end(self, key: str, outcome: Outcome, *, code: str | None = None) -> None:
        begun = self._begun.pop(key)
        self._past[key] = self._past.get(key, NO_PAST).ended(begun.at, outcome)
        never_left = begun.action == "take_out" and outcome != "met"
        if never_left or (begun.action == "put_back" and outcome != "failed"):
            self._out.discard(key)
        with carry_on("outcome_not_written", part=key):
            await to_thread.run_sync(lambda: self._parts.journal.end(begun.entry_id, key, outcome, code=code))

    async def _clear(self) -> None:
        now = self._clock.monotonic()
        if self._cleared_at is None or now - self._cleared_at >= _CLEAR_EVERY.total_seconds():
            self._cleared_at = now
            with carry_on("journal_not_cleared"):
                await to_thread.run_sync(self._parts.journal.clear)

    def _describe(
        self, plan: Sequence[Decision], by_key: Mapping[str, Observation], now: datetime, *, has_lease: bool
    ) -> HealerReport:
        since = self._watching_since
        parts = tuple(
            PartReport(
                observation=by_key[each.subject.key],
                decision=each,
                bad_since=self._past[each.subject.key].bad_since,
                tried=len(self._past[each.subject.key].tried),
            )
            for each in plan
        )
        return HealerReport(
            is_watching=True,
            has_lease=has_lease,
            token=self._token if has_lease else None,
            watching_since=since,
            warm_until=None if since is None else since + self._rails.warm_up,
            looked_at=now,
            problem=self._problem,
            parts=parts,
        )


def _tell(decision: Decision) -> Told:
    return decision.action, decision.reason, decision.wanted, decision.scope, decision.until

"""The healer's turn: look, decide, write it down, act.

look ─► lease ─► what came of what was begun? ─► plan ─► journal ─► act
          └─ nobody's, or the platform database is away: look only

Who was held up himself, by a pause of the process or a clock that jumped, warms up again before he judges anybody.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

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
from app.operations.reconcile.plan import Decision, Situation, make_plan
from app.operations.reconcile.record import Pause
from app.operations.reconcile.remedy import Remedy
from app.operations.reconcile.report import HealerReport, PartReport
from tenancy.box.control import BoxView

_log = logging.getLogger(__name__)

LONGEST_PAUSE: Final = timedelta(seconds=5)
"""Between two looks. **Source:** high availability reference §4, rule 3."""
_CLEAR_EVERY: Final = timedelta(hours=1)
_MOST_NOTES: Final = 200
"""Lines of the journal in one turn; further ones follow. Our own decision."""
_BOX: Final = "box:"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealerParts:
    """With what it looks and acts.

    Attributes:
        boxes: every box, wanted and reported.
        pauses: in force. Blocking.
        is_watching: there are line processes or load balancers.
    """

    lines: LineWatch
    fronts: FrontWatch
    boxes: Callable[[], Awaitable[Sequence[BoxView]]]
    pauses: Callable[[], Sequence[Pause]]
    lease: HealerLease
    journal: Journal
    remedy: Remedy
    is_watching: bool


class Healer:
    """Used from one event loop; `note_released` from any thread."""

    def __init__(self, parts: HealerParts, *, clock: Clock, rails: Rails | None = None) -> None:
        self._parts = parts
        self._clock = clock
        self._rails = rails or Rails()
        self._past: dict[str, Past] = {}
        self._told: dict[str, Told] = {}
        self._begun: dict[str, OpenAction] = {}
        self._taken_out: set[str] = set()
        self._paused: frozenset[str] = frozenset()
        self._token: int | None = None
        self._watching_since: datetime | None = None
        self._looked: tuple[datetime, float] | None = None
        self._cleared_at: float | None = None
        self._problem: str | None = None
        self._released: deque[str] = deque()
        self.report = HealerReport(is_watching=parts.is_watching)

    def note_released(self, part: str) -> None:
        """A person has released a part."""
        self._released.append(part)

    async def turn(self) -> None:
        """Look once, and do what is due. A loop calls it."""
        if not self._parts.is_watching:
            return
        observations = await self._observe()
        now = self._note_look()
        has_lease = await self._keep_lease(now)
        self._remember(observations, now)
        by_key = {each.subject.key: each for each in observations}
        if has_lease:
            await self._settle(by_key, now)
        plan = make_plan(self._situation(observations, now, has_lease=has_lease))
        if has_lease and not self._is_warming_up(now):
            await self._note(plan, by_key)
            for decision in plan:
                if decision.action != "none":
                    await self._act(decision, by_key[decision.subject.key])
            await self._clear()
        self.report = self._describe(plan, by_key, now, has_lease=has_lease)

    async def close(self) -> None:
        """Act no more; the next healer may at once."""
        with carry_on("lease_not_given_up"):
            await to_thread.run_sync(self._parts.lease.give_up)

    async def _observe(self) -> tuple[Observation, ...]:
        fronts = await self._parts.fronts.look()
        found = [each for front in fronts for each in (front.observation, *front.others)]
        with carry_on("lines_not_seen"):
            found += await self._parts.lines.look(fronts)
        with carry_on("boxes_not_seen"):
            found += self._observe_boxes(await self._parts.boxes())
        return (*found, *observe_kinds(found, self._rails))

    def _observe_boxes(self, views: Sequence[BoxView]) -> tuple[Observation, ...]:
        working = {f"{_BOX}{each.name}" for each in views if each.record and not each.record.spec.drained}
        # What staff have let work again is theirs from then on.
        self._taken_out -= working - self._begun.keys()
        ours = frozenset(each.removeprefix(_BOX) for each in self._taken_out)
        return observe_boxes(views, drained_by_us=ours)

    def _note_look(self) -> datetime:
        now, monotonic = self._clock.now(), self._clock.monotonic()
        if self._looked is not None:
            passed = monotonic - self._looked[1]
            jumped = abs((now - self._looked[0]).total_seconds() - passed)
            if max(passed, jumped) > LONGEST_PAUSE.total_seconds():
                _log.warning("healer_held_up", extra={"seconds": round(passed, 1), "jump": round(jumped, 1)})
                self._start_watching(None)
        self._looked = (now, monotonic)
        if self._watching_since is None:
            self._start_watching(now)
        return now

    def _start_watching(self, since: datetime | None) -> None:
        self._watching_since = since
        self._past = {key: replace(each, bad_since=None, ok_since=None) for key, each in self._past.items()}

    async def _keep_lease(self, now: datetime) -> bool:
        try:
            token = await to_thread.run_sync(self._parts.lease.keep)
            pauses = await to_thread.run_sync(self._parts.pauses)
            if token is not None and token != self._token:
                await self._take_over(now)
        except DomainError as error:
            self._problem = error.code
            return False
        self._token, self._problem = token, None
        self._paused = frozenset(each.scope for each in pauses)
        return token is not None

    async def _take_over(self, now: datetime) -> None:
        """Begin to act: with what was tried before, and after a time of looking."""
        history = await to_thread.run_sync(self._parts.journal.load)
        self._past, self._told = dict(history.past), dict(history.told)
        self._begun, self._taken_out = dict(history.begun), set(history.taken_out)
        self._start_watching(now)
        _log.info("healer_acts", extra={"token": self._parts.lease.token})

    def _remember(self, observations: Sequence[Observation], now: datetime) -> None:
        while self._released:
            part = self._released.popleft()
            self._past[part] = self._past.get(part, NO_PAST).released()
        seen = {each.subject.key for each in observations}
        for key in self._past.keys() - seen:
            self._past[key] = replace(self._past[key], bad_since=None, ok_since=None)
        for each in observations:
            key = each.subject.key
            self._past[key] = look(self._past.get(key, NO_PAST), each, now=now)

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
            paused=self._paused,
            watching_since=self._watching_since,
            has_lease=has_lease,
            rails=self._rails,
        )

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
            self._told[each.subject.key] = (each.action, each.reason, each.wanted)

    def _is_news(self, decision: Decision) -> bool:
        before = self._told.get(decision.subject.key)
        if before is None:
            return decision.reason != "healthy"
        return before != (decision.action, decision.reason, decision.wanted)

    async def _act(self, decision: Decision, observation: Observation) -> None:
        """Write it down, and do it; what is not written is not done."""
        key = decision.subject.key
        try:
            entry = await to_thread.run_sync(self._parts.journal.begin, decision, observation)
        except DomainError as error:
            self._problem = error.code
            _log.warning("healer_not_acting", extra={"part": key, "code": error.code})
            return
        self._told[key] = (decision.action, decision.reason, decision.wanted)
        self._past[key] = self._past.get(key, NO_PAST).after(decision.action, now=entry.decided_at)
        if decision.action == "call_human":
            return
        if key in self._begun:
            await self._end(key, "not_met")
        _log.warning("healer_acts_on", extra={"part": key, "verb": decision.action, "code": decision.reason})
        self._begun[key] = OpenAction(entry_id=entry.entry_id, action=decision.action, at=entry.decided_at)
        if decision.action == "take_out":
            self._taken_out.add(key)
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
        never_left = begun.action == "take_out" and outcome == "failed"
        if never_left or (begun.action == "put_back" and outcome != "failed"):
            self._taken_out.discard(key)
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

"""What is to be expected of a pool: who can do a job, why nobody does, how long it takes. Reads, changes nothing.

A forecast rests on the boxes that can do the job: they work for its pool now, hold its key, and can pay. Another box
neither shortens nor lengthens it, nor do jobs that only another box can do. On the event loop's thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import takewhile

from app.core.clock import Clock
from fsb_gateway.error import (
    BoxDisconnected,
    BoxJournalDamaged,
    BoxJournalUnwritable,
    FirmKeyMissing,
    PoolDrained,
    PoolWithoutBox,
    TokenAbsent,
    TokenPinWrong,
    TransactionsExhausted,
)
from fsb_gateway.gateway.box_set import BoxSet
from fsb_gateway.gateway.pool import Entry, Pool
from fsb_gateway.gateway.seat import Seat, loan_end
from fsb_gateway.gateway.upkeep import REOPEN_SECONDS
from fsb_gateway.job import ProgrammingJob
from fsb_gateway.report import BoxCondition
from fsb_gateway.scheduler import Ahead
from fsb_gateway.scheduling.backlog import CanServe
from fsb_gateway.scheduling.expectation import Expected

# Until somebody has come to a box that needs somebody. Nobody knows; it is meant as "at least".
_STAFF_SECONDS = 3600.0
NO_WAIT = Expected(p50=0.0, p95=0.0)
UNKNOWN_WAIT = Expected(p50=_STAFF_SECONDS, p95=_STAFF_SECONDS)
# Jobs say their time in microseconds; whoever compares a new one's with theirs sees no other difference.
_DIGITS = 6
# Nobody's id: of an instance that has nothing waiting.
_STRANGER = ""
# No key has this firm code.
_NO_FIRM_CODE = 0
NOTHING_AHEAD = Ahead(jobs=0, own_operations=0, other_operations=0)
# The most hopeful first: what mends itself, what somebody has to mend, what somebody wants.
_REASONS: dict[BoxCondition, str] = {
    "starting": PoolWithoutBox.code,
    "disconnected": BoxDisconnected.code,
    "token_absent": TokenAbsent.code,
    "journal_unwritable": BoxJournalUnwritable.code,
    "journal_damaged": BoxJournalDamaged.code,
    "token_pin_wrong": TokenPinWrong.code,
    "transactions_exhausted": TransactionsExhausted.code,
    "drained": PoolDrained.code,
}
# These look again by themselves, about as often; for the others somebody has to do something.
_MENDING: tuple[BoxCondition, ...] = ("starting", "disconnected", "token_absent", "journal_unwritable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is expected of one job.

    Attributes:
        reason: code of what it waits for besides its turn.
        before: served before it, by the boxes that can do it.
        expected: seconds until its result.
    """

    reason: str | None
    before: Ahead
    expected: Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What boxes are wanted for.

    Attributes:
        firm_code: None for a newcomer's, whose key every box would be given.
        job: None for one of one operation, in a new container.
    """

    instance_id: str
    firm_code: int | None
    job: ProgrammingJob | None = None

    def has_key_in(self, seat: Seat) -> bool:
        return self.firm_code is None or seat.holds_key(self.firm_code, self.instance_id)

    def may_have_key_in(self, seat: Seat) -> bool:
        return not seat.was_seen or self.has_key_in(seat) or self.firm_code in seat.box.unreadable

    def can_be_paid_by(self, seat: Seat) -> bool:
        if self.job is not None:
            return seat.can_pay(self.job)
        return seat.condition == "ready" and seat.can_pay_for_more()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Team:
    """The boxes of a pool that matter to some work.

    Attributes:
        holders: that have its key, or are still to be heard.
        workers: those of them that can do it now.
    """

    holders: tuple[Seat, ...]
    workers: tuple[Seat, ...]

    @property
    def seats(self) -> tuple[Seat, ...]:
        """Whose other work is in its way."""
        return self.workers or self.holders

    @property
    def can_serve(self) -> CanServe | None:
        """Whether one of them has the key of another job; everything counts if nobody has the work's own."""
        seats = self.seats
        return (lambda job: any(seat.holds(job) for seat in seats)) if seats else None


class Outlook:
    """Forecasts for all pools of a gateway.

    Attributes:
        boxes: what they rest on.
    """

    def __init__(self, boxes: BoxSet, *, clock: Clock, owners: Mapping[int, str], retired: Set[int]) -> None:
        """Look at a gateway's boxes.

        Args:
            owners: whose the firm codes are whose key signs, as far as is known; as it is at any moment.
            retired: firm codes whose key signs no more, whatever a box still holds.
        """
        self.boxes = boxes
        self.clock = clock
        self._owners = owners
        self._retired = retired

    def job(self, entry: Entry) -> Forecast:
        """Of a job that is not finished."""
        pool, job = entry.pool, entry.job
        if entry.seat is not None:
            before = _before_in_box(entry, entry.seat)
            return _forecast(pool.service.wait(before.operations, own=job.cost), before=before)
        if entry.is_queued:
            return self._queued(pool, job)
        work = _work_of(job)
        team = self._team(pool, work)
        if entry.held_until is not None:
            reason, idle = entry.reason, max(0.0, entry.held_until - self.clock.monotonic())
        else:
            reason = BoxDisconnected.code if entry.doubt else self._reason(pool, work, team)
            idle = self._idle_seconds(pool, work, team)
        wait = pool.service.wait(0, own=job.cost)
        return _forecast(wait, reason=reason, idle=min(idle, self._seconds_left(job)))

    def new(self, pool: Pool, instance_id: str) -> Forecast:
        """Of a job of one operation that came now, for the firm code of its instance that is served soonest."""
        codes = self._firm_codes(pool, instance_id) or [_NO_FIRM_CODE]
        works = (_Work(instance_id=instance_id, firm_code=code) for code in codes)
        return min((self._new(pool, work) for work in works), key=_hope)

    def next_in(self, pool: Pool) -> Forecast:
        """Of the next job of a pool: its owner's, or in a shared pool a newcomer's, whose key every box would have."""
        if pool.owner is not None and self._firm_codes(pool, pool.owner):
            return self.new(pool, pool.owner)
        return self._new(pool, _Work(instance_id=_STRANGER, firm_code=None))

    def without_key(self, pool: Pool) -> tuple[str, ...]:
        """Boxes that work for a pool and lack a key that another of its boxes has, as far as they were heard."""
        keys = {
            (firm_code, instance_id)
            for seat in self.boxes.seats.values()
            if seat.spec.pool == pool.name
            for firm_code, instance_id in _keys_in(seat)
            if firm_code not in self._retired and self._is_at_home(pool, instance_id)
        }
        crew = self.boxes.crew(pool.name, self.clock.now())
        return tuple(
            seat.name for seat in crew if seat.was_seen and not all(seat.holds_key(*key) for key in keys)
        )

    def _is_at_home(self, pool: Pool, instance_id: str) -> bool:
        return pool.owner == instance_id or (pool.owner is None and self.boxes.pool_of(instance_id) is None)

    def _firm_codes(self, pool: Pool, instance_id: str) -> list[int]:
        """Of an instance, as far as boxes of the pool or the registry know."""
        members = self.boxes.members(pool.name, self.clock.now())
        held = {code for seat in members for code, owner in _keys_in(seat) if owner == instance_id}
        known = {code for code, owner in self._owners.items() if owner == instance_id}
        return sorted((held | known) - self._retired)

    def _new(self, pool: Pool, work: _Work) -> Forecast:
        team = self._team(pool, work)
        ahead = pool.queue.ahead_of_new(work.instance_id, can_serve=team.can_serve)
        before = _with_running(ahead, pool, work, team)
        idle = self._idle_seconds(pool, work, team)
        found = _forecast(
            pool.service.wait(before.operations, boxes=len(team.workers), own=1),
            before=before,
            reason=self._reason(pool, work, team),
            idle=idle if idle < math.inf else _STAFF_SECONDS,
        )
        last = self._last_of_its_kind(pool, work)
        return found if last is None or last.reason not in (None, found.reason) else _not_before(found, last)

    def _last_of_its_kind(self, pool: Pool, work: _Work) -> Forecast | None:
        """The last waiting job that a new one does not overtake, unless that one waits for something of its own."""
        for job in pool.queue.jobs_of(work.instance_id):
            if (job.priority, job.firm_code) == ("interactive", work.firm_code):
                return self._queued(pool, job)
        return None

    def _queued(self, pool: Pool, job: ProgrammingJob) -> Forecast:
        work = _work_of(job)
        team = self._team(pool, work)
        before = _with_running(pool.queue.ahead(job.job_id, can_serve=team.can_serve), pool, work, team)
        return _forecast(
            pool.service.wait(before.operations, boxes=len(team.workers), own=job.cost),
            before=before,
            reason=self._reason(pool, work, team),
            idle=min(self._idle_seconds(pool, work, team), self._seconds_left(job)),
        )

    def _team(self, pool: Pool, work: _Work) -> _Team:
        crew = self.boxes.crew(pool.name, self.clock.now())
        holders = tuple(seat for seat in crew if work.has_key_in(seat) or not seat.was_seen)
        workers = tuple(seat for seat in holders if seat.works and work.can_be_paid_by(seat))
        return _Team(holders=holders, workers=workers)

    def _reason(self, pool: Pool, work: _Work, team: _Team) -> str | None:
        """What keeps some work waiting besides its turn; the same that a new job would be refused for."""
        if team.workers:
            return None
        if any(seat.works for seat in team.holders):
            return TransactionsExhausted.code
        if team.holders:
            return _reason_of(team.holders)
        members = list(self.boxes.members(pool.name, self.clock.now()))
        if all(seat.spec.drained for seat in members):
            return PoolDrained.code
        is_somewhere = any(work.may_have_key_in(seat) for seat in members)
        return PoolWithoutBox.code if is_somewhere else FirmKeyMissing.code

    def _idle_seconds(self, pool: Pool, work: _Work, team: _Team) -> float:
        """How long nothing will be done about some work; infinite if somebody has to do something first."""
        if team.workers:
            return 0.0
        now, at = self.clock.now(), self.clock.monotonic()
        times: list[float] = []
        for seat in team.holders:
            condition = seat.condition
            if condition == "out":
                times.append(max(0.0, (seat.health.retry_at or at) - at))
            elif condition in _MENDING:
                times.append(REOPEN_SECONDS)
        for seat in self.boxes.seats.values():
            end = loan_end(seat.spec, now)
            if seat.spec.pool == pool.name and end is not None and work.may_have_key_in(seat):
                times.append((end - now).total_seconds())
        return min(times, default=math.inf)

    def _seconds_left(self, job: ProgrammingJob) -> float:
        """Until its deadline: no job waits longer."""
        return max(0.0, (job.deadline_at - self.clock.now()).total_seconds())


def _work_of(job: ProgrammingJob) -> _Work:
    return _Work(instance_id=job.instance_id, firm_code=job.firm_code, job=job)


def _keys_in(seat: Seat) -> list[tuple[int, str]]:
    """Firm codes, and the instances that their keys are bound to."""
    slots = [seat.box.slot(firm_code) for firm_code in seat.box.status().firm_codes]
    return [(slot.firm_code, slot.instance_id) for slot in slots if slot is not None]


def _forecast(
    wait: Expected, *, before: Ahead = NOTHING_AHEAD, reason: str | None = None, idle: float = 0.0
) -> Forecast:
    p50, p95 = (round(max(0.0, seconds) + idle, _DIGITS) for seconds in (wait.p50, wait.p95))
    expected = Expected(p50=p50, p95=p95)
    return Forecast(reason=reason, before=before, expected=expected)


def _not_before(found: Forecast, last: Forecast) -> Forecast:
    mine, other = found.expected, last.expected
    return replace(found, expected=Expected(p50=max(mine.p50, other.p50), p95=max(mine.p95, other.p95)))


def _hope(found: Forecast) -> tuple[bool, float]:
    return found.reason is not None, found.expected.p50


def _with_running(ahead: Ahead, pool: Pool, work: _Work, team: _Team) -> Ahead:
    """What its boxes work on is before everything that waits for them."""
    seats = team.seats
    running = [entry for entry in pool.running.values() if not seats or entry.seat in seats]
    own = sum(entry.job.cost for entry in running if entry.job.instance_id == work.instance_id)
    everything = sum(entry.job.cost for entry in running)
    return Ahead(
        jobs=ahead.jobs + len(running),
        own_operations=ahead.own_operations + own,
        other_operations=ahead.other_operations + everything - own,
    )


def _before_in_box(entry: Entry, seat: Seat) -> Ahead:
    """What the box has been given before the job."""
    before = list(takewhile(lambda other: other is not entry, seat.outstanding.values()))
    own = sum(other.job.cost for other in before if other.job.instance_id == entry.job.instance_id)
    everything = sum(other.job.cost for other in before)
    return Ahead(jobs=len(before), own_operations=own, other_operations=everything - own)


def _reason_of(idle: Sequence[Seat]) -> str:
    """Code of why none of these boxes works."""
    for seat in idle:
        if seat.health.reason is not None and seat.box.ready and not seat.spec.drained:
            return seat.health.reason
    conditions = {seat.condition for seat in idle}
    return next(
        (code for condition, code in _REASONS.items() if condition in conditions), PoolWithoutBox.code
    )

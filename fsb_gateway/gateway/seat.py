"""A box as the gateway sees it: the box itself, the jobs it has been given, and whether it may be given more."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.box_port import ABLE, Box, BoxState
from fsb_gateway.engine.account import cost_of
from fsb_gateway.job import ProgrammingJob
from fsb_gateway.report import BoxCondition
from fsb_gateway.scheduling.expectation import Utilisation
from fsb_gateway.scheduling.health import BoxHealth

if TYPE_CHECKING:
    from fsb_gateway.gateway.pool import Entry

_AWAY: frozenset[BoxState] = frozenset({"starting", "disconnected", "closed"})
# Without its journal a box cannot say what it has done.
_CANNOT_TELL: frozenset[BoxState] = _AWAY | {"journal_damaged", "journal_unwritable"}
# Less than any signature with its record takes [measured: 300 µs].
_MEASURABLE_SECONDS = 0.0002
# Two tell that the fault is hardly one job's.
_SUSPECTS_MAX = 2
# A day of hourly readings.
_READINGS = 25
_READING_SECONDS = 3600.0
_LOW_SHARE = 10
_LOW_DAYS = 7


class Seat:
    """One box's place in the gateway. Lives on the event loop's thread; `at` is the monotonic time everywhere.

    Attributes:
        spec: as last put; the box takes it over when it can be reached.
        outstanding: jobs that the box has been given, or is being asked about, in order.
        unknown: jobs that it had when it went away.
        suspects: ids of jobs that failed here since the last success.
        failures: by code.
        error: code of the last failure, until a job succeeds.
        was_seen: whether it was ever connected, so that its keys are known.
        away_since: None while it is connected.
    """

    def __init__(self, box: Box, spec: BoxSpec, *, at: float) -> None:
        self.box = box
        self.spec = spec
        self.outstanding: dict[str, Entry] = {}
        self.unknown: dict[str, Entry] = {}
        self.suspects: set[str] = set()
        self.failures: Counter[str] = Counter()
        self.health = BoxHealth()
        self.utilisation = Utilisation()
        self.transactions = TransactionPace()
        self.error: str | None = None
        self.was_seen = False
        self.away_since: float | None = at
        self.given_at = at
        self.left_at = at
        self.reloaded_at: float | None = None
        self._succeeded_at = at
        self._has_lost = False
        self._measured_at = at
        self._measured_operations = 0
        self.look(at)

    @property
    def name(self) -> str:
        """The box's name."""
        return self.spec.name

    @property
    def connected(self) -> bool:
        """Whether the box answers, be it able to work or not."""
        return self.box.status().state not in _AWAY

    @property
    def can_tell(self) -> bool:
        """Whether the box can say what it has done."""
        return self.box.status().state not in _CANNOT_TELL

    @property
    def works(self) -> bool:
        """Whether it takes work; without transactions, such as costs none."""
        return self.health.is_in and not self.spec.drained and self.box.ready

    @property
    def may_be_tried(self) -> bool:
        """Whether it is out, and free for a job that tries whether it works again."""
        is_waiting = not (self.health.is_in or self.health.is_probing or self.outstanding)
        return is_waiting and not self.spec.drained and self.box.ready

    @property
    def condition(self) -> BoxCondition:
        """Whether it takes work, and if not, why."""
        state = self.box.status().state
        if state == "closed":
            return "disconnected"
        if state in ABLE and self.spec.drained:
            return "drained"
        if state in ABLE and not self.health.is_in:
            return "out"
        return state

    def look(self, at: float) -> None:
        """Take note of whether the box is there."""
        if self.connected:
            self.was_seen = True
            self.away_since = None
            self._has_lost = False
        elif self.away_since is None:
            self.away_since = at

    def holds(self, job: ProgrammingJob) -> bool:
        """Whether the box has the job's firm key, bound to the job's instance."""
        return self.holds_key(job.firm_code, job.instance_id)

    def holds_key(self, firm_code: int, instance_id: str) -> bool:
        """Whether the box has a firm key, bound to this instance."""
        slot = self.box.slot(firm_code)
        return slot is not None and slot.instance_id == instance_id

    def can_pay(self, job: ProgrammingJob) -> bool:
        """Whether the box has the transactions that the job costs, after the jobs that it has been given."""
        return self._can_spend(cost_of(self.spec, job))

    def can_pay_for_more(self) -> bool:
        """Whether the box has the transactions for one operation in a new container, after what it has been given."""
        return self._can_spend(0 if self.spec.transactions == "unlimited" else 1)

    def _can_spend(self, cost: int) -> bool:
        left = self.box.status().transactions_left if cost else None
        if left is None:
            return True
        return cost + sum(cost_of(self.spec, entry.job) for entry in self.outstanding.values()) <= left

    def can_be_cleared_by(self, job: ProgrammingJob) -> bool:
        """Whether a job may try a box that is out before its time.

        When one job alone has put the box out, the fault may be the job's: any other job tells.
        """
        return len(self.suspects) == 1 and job.job_id not in self.suspects

    def expected_seconds(self, pace: float, at: float) -> float:
        """How long it still works for the jobs that it has been given.

        Args:
            pace: seconds per operation, measured; a box that is set to be slower takes what it is set to.
        """
        if not self.outstanding:
            return 0.0
        pace = max(pace, self.spec.operation_time.total_seconds())
        first, *others = self.outstanding.values()
        begun = max(first.given_at, self.left_at)
        left = max(0.0, first.job.cost * pace - (at - begun))
        return left + sum(entry.job.cost for entry in others) * pace

    def succeed(self, at: float) -> None:
        """The box has done a job."""
        self.health.succeed(at)
        self.suspects.clear()
        self.error = None
        self._succeeded_at = at
        self._has_lost = False

    def fail(self, entry: Entry, code: str, at: float) -> None:
        """The box has not done a job. It is held against it unless it has done others since that job first failed."""
        is_cleared = entry.failures > 0 and self._succeeded_at > entry.failed_at
        if self.health.is_probing or not is_cleared:
            self.health.fail(code, at)
        if len(self.suspects) < _SUSPECTS_MAX:
            self.suspects.add(entry.job.job_id)

    def lose(self, entry: Entry, code: str, at: float) -> bool:
        """The box went away while it had a job; whether it was this job that it worked on."""
        self.look(at)
        is_first, self._has_lost = not self._has_lost, True
        if is_first:
            self.fail(entry, code, at)
        return is_first

    def measure(self, entry: Entry, at: float) -> tuple[int, float] | None:
        """How many operations took the box how many seconds, once that can be told.

        A box that records several jobs at once gives their results at once: their operations count with the next
        time that can be measured.
        """
        self._measured_operations += entry.job.cost
        seconds = at - max(self._measured_at, entry.given_at)
        if seconds < _MEASURABLE_SECONDS:
            return None
        operations, self._measured_operations, self._measured_at = self._measured_operations, 0, at
        return operations, seconds

    def transactions_low(self, at: float) -> bool:
        """Whether the box's transactions run out soon."""
        left, loaded = self.box.status().transactions_left, self.spec.transactions_loaded
        if left is None:
            return False
        self.transactions.read(at=at, spent=loaded - left)
        return self.transactions.is_low(left=left, loaded=loaded)


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    spent: int


class TransactionPace:
    """How fast a box spends its transactions, from what is read now and then. Pure."""

    def __init__(self) -> None:
        self._readings: deque[_Reading] = deque(maxlen=_READINGS)

    def read(self, *, at: float, spent: int) -> None:
        """Note how many have been spent; one reading per hour is kept."""
        if not self._readings or at - self._readings[-1].at >= _READING_SECONDS:
            self._readings.append(_Reading(at, spent))

    def is_low(self, *, left: int, loaded: int) -> bool:
        """Whether less than a tenth is left, or a week at the pace of the last day."""
        spent_in_a_day = loaded - left - self._readings[0].spent if self._readings else 0
        return left * _LOW_SHARE < loaded or left < _LOW_DAYS * spent_in_a_day


def loan_end(spec: BoxSpec, now: datetime) -> datetime | None:
    """When the box goes back to its own pool, if it is lent now."""
    return spec.lent_until if spec.pool_at(now) != spec.pool else None

"""What the gateway says of itself: values made by the gateway, sent as JSON, read by its client.

Durations are seconds, as the names say; they are the same on both sides of the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fsb_gateway.box_driver import DriverName, TransactionModel
from fsb_gateway.job import Algorithm, JobState

BoxCondition = Literal[
    "starting",
    "ready",
    "drained",
    "out",
    "disconnected",
    "journal_damaged",
    "journal_unwritable",
    "token_absent",
    "token_pin_wrong",
    "transactions_exhausted",
]
"""Whether a box takes work, and if not, why. `out`: taken out after repeated failures, tried again at `retry_at`."""
Temperature = Literal["cold", "warm", "hot"]
"""How near its limit a box is: less than half busy over the last minute; more; nearly always, with jobs waiting."""
KeyState = Literal["active", "retired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """50th, 95th and 99th percentile."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceShare:
    """One instance in one pool.

    Attributes:
        waiting, running, unknown: jobs now.
        operations_done: since the gateway started.
        share: of the pool's operations of the last five minutes (0–1).
        waited_seconds: all its finished jobs together, from their arrival to their start.
        caused_by_others_seconds: the part of it during which boxes worked for other instances.
    """

    instance_id: str
    waiting: int
    running: int
    jobs_done: int
    operations_done: int
    share: float
    waited_seconds: float
    caused_by_others_seconds: float
    unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """A pool at this moment.

    Attributes:
        owner: the instance whose own it is; None for a shared one.
        boxes: that work for it now, lent ones included.
        ready_boxes: of them that take work, whichever keys they hold.
        without_key: boxes that work for it and lack a key that another of its boxes has: they do less than the others.
        reason: code of why no box takes every kind of work (without transactions, some is done), in an instance's own
            pool of why none does its owner's; None while one does.
        expected_wait_seconds: p50 for a job of one operation that came now; `_p95` in 19 of 20 cases. In an instance's
            own pool a job of its owner, as `InstanceQueueReport` has it; in a shared one a newcomer's: of an instance
            that has nothing waiting, and whose key all boxes hold. With a reason, see `InstanceQueueReport`.
        running, unknown: jobs with boxes, and jobs whose box went away with them; none is both.
        oldest_seconds: how long the oldest waiting job has waited.
        utilisation: share of the last minute that its boxes spent programming (0–1).
        operation_seconds: measured time per operation, over the last jobs; None before the first.
    """

    name: str
    owner: str | None
    boxes: tuple[str, ...]
    ready_boxes: int
    reason: str | None
    waiting: int
    waiting_operations: int
    running: int
    unknown: int
    oldest_seconds: float
    expected_wait_seconds: float
    expected_wait_p95_seconds: float
    utilisation: float
    jobs_done: int
    jobs_failed: int
    operations_done: int
    operation_seconds: Quantiles | None
    instances: tuple[InstanceShare, ...]
    without_key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxReport:
    """A box at this moment; counts since its process started.

    Attributes:
        pool: where it belongs.
        works_for: the pool whose jobs it takes now; another one while it is lent.
        failures: jobs that it could not do, by code.
        error: code of the last failure, until a job succeeds.
        retry_at: when a box that is out is tried again, or a process that has ended is started again.
        transactions_left: None where nothing is deducted, and while the journal cannot be read.
        transactions_low: they run out soon: at less than a tenth of what was loaded, or within a week at the pace of
            the last day (**Source:** reference/domain.md §7, wish 8; the numbers are our own decision).
        version: of the specification that was put last.
    """

    name: str
    pool: str
    works_for: str
    owner: str | None
    driver: DriverName
    condition: BoxCondition
    temperature: Temperature
    utilisation: float
    running: int
    jobs_done: int
    operations_done: int
    busy_seconds: float
    failures: dict[str, int]
    consecutive_failures: int
    error: str | None
    retry_at: datetime | None
    lent_until: datetime | None
    transactions: TransactionModel
    transactions_left: int | None
    transactions_low: bool
    firm_codes: tuple[int, ...]
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerKey:
    """A key that signed once. What it signed still verifies: its certificates are in every update."""

    key_id: str
    fingerprint: str
    retired_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmKeyReport:
    """A firm key and where it is.

    Attributes:
        fingerprint: SHA-256 of the public key (SPKI DER), 64 hex digits.
        boxes: that hold it and sign with it, by name.
        owed: boxes that get it when they are back.
        certificate: PEM of the firm key's certificate, then of the instance CA's.
        former: keys that were rotated away, the newest first.
    """

    firm_code: int
    instance_id: str
    algorithm: Algorithm
    state: KeyState
    key_id: str
    fingerprint: str
    made_at: datetime
    expires_at: datetime
    boxes: tuple[str, ...]
    certificate: str
    former: tuple[FormerKey, ...]
    owed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """A job that is not finished; `JobPending` says what the fields mean."""

    job_id: str
    state: JobState
    position: int
    operations: int
    expected_wait_seconds: float
    expected_wait_p95_seconds: float
    others_share: float
    reason: str | None
    waited_seconds: float
    caused_by_others_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceQueueReport:
    """Where an instance stands, for a job of one operation that came now, of its firm code that is served soonest.

    All forecasts rest on the boxes that can do the job: they work for the pool, hold its key, and can pay.

    Attributes:
        reason: code of why no box works for the instance; None while one does.
        position: jobs that would be served before one that came now.
        expected_wait_seconds: p50, and never less than for the last waiting job of its kind; `_p95` in 19 of 20 cases.
            With a reason, from when a box is tried again, or a loan ends; an hour and more where somebody has to do
            something first: at least that, nobody knows. Of a job that was sent, its deadline is the limit.
        others_share: of the operations before such a job, how much is other instances' work (0–1).
        waited_seconds, caused_by_others_seconds: of all its finished jobs, since the gateway started.
        jobs: waiting and running, in the order in which they are served; the first 100.
    """

    instance_id: str
    pool: str | None
    reason: str | None
    waiting: int
    running: int
    unknown: int
    position: int
    expected_wait_seconds: float
    expected_wait_p95_seconds: float
    others_share: float
    jobs_done: int
    operations_done: int
    waited_seconds: float
    caused_by_others_seconds: float
    jobs: tuple[JobReport, ...]

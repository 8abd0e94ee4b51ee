"""What is asked of a box and what it answers. Pure values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from app.core.json import JsonValue
from fsb_gateway.error import JobMalformed

Priority = Literal["interactive", "batch"]
OperationName = Literal["add_product_item", "delete_product_item"]
Algorithm = Literal["ES256", "Ed25519"]
JobState = Literal["waiting", "running", "unknown"]

# Long enough for every prefixed id of the platform, short enough for a file name; ASCII that needs no escaping.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
# Firm codes are unsigned 32-bit numbers. **Source:** reference/domain.md §1.2.
FIRM_CODE_MAX = 2**32 - 1
# Keeps the shares of a pool within two orders of magnitude: nobody is starved by a typing error. Our own decision.
WEIGHT_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammingOperation:
    """One change of one product item.

    Attributes:
        generation: how often the licence was newly issued; 1 at first.
        product: the product item options, carried into the update as they are.
    """

    op: OperationName
    license_id: str
    generation: int
    product: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammingStep:
    """What raises the Firm Update Counter to `fuc`."""

    fuc: int
    operations: tuple[ProgrammingOperation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammingJob:
    """One update to be made for one container.

    Attributes:
        job_id: the same id gives the same update, byte for byte; use the transfer's id.
        container_key: the container's public P-256 encryption key as a JWK.
        base_fuc: the counter of the context; the steps follow it without a gap.
        context_digest: `Context.digest`, 64 hex digits.
        deadline_at: after this moment a waiting job is dropped, and nothing is programmed.
        priority: batch lets the same instance's interactive jobs pass, within limits.
        weight: the instance's share of a shared pool, relative to others' (1–100).
    """

    job_id: str
    instance_id: str
    pool: str
    firm_code: int
    container_serial: str
    container_key: Mapping[str, str]
    base_fuc: int
    context_digest: str
    steps: tuple[ProgrammingStep, ...]
    deadline_at: datetime
    priority: Priority = "interactive"
    weight: int = 1

    @property
    def cost(self) -> int:
        """Number of programming operations, at least 1."""
        return max(1, sum(len(step.operations) for step in self.steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammingResult:
    """A finished job: the armoured update and who made it, when, at what cost."""

    job_id: str
    update: str
    box: str
    operations: int
    programmed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPending:
    """A job that is not finished yet.

    Attributes:
        state: `unknown` when its box went away while it worked on it: the box is asked when it is back.
        position: jobs served before it, in its pool; 0 while a box is working on it.
        expected_wait: until its result, in half of all cases (p50), from measured service times.
        expected_wait_p95: the same in 19 of 20 cases.
        others_share: of the operations that are served before it, how much is other instances' work (0–1).
        reason: code of what keeps it waiting besides its turn, e.g. `pool_without_box`.
        waited: since its arrival, without the time in which a box worked on it.
        caused_by_others: the part of it during which boxes worked for other instances.
    """

    job_id: str
    state: JobState = "waiting"
    position: int
    expected_wait: timedelta
    expected_wait_p95: timedelta = timedelta(0)
    others_share: float = 0.0
    reason: str | None = None
    waited: timedelta = timedelta(0)
    caused_by_others: timedelta = timedelta(0)


def is_name(text: str) -> bool:
    """Whether the text may name an instance, pool, box or job: it becomes file names and URL segments."""
    return _NAME.match(text) is not None


def check_name(field: str, text: str) -> None:
    """Refuse a name that could not be one.

    Raises:
        JobMalformed: empty, too long, or other characters than letters, digits, dot, hyphen and underscore.
    """
    if not is_name(text):
        raise JobMalformed(
            f"{field} is empty, too long or holds characters that are not allowed", field=field
        )


def check_firm_code(firm_code: int) -> None:
    """Refuse a number that cannot be a firm code.

    Raises:
        JobMalformed: not an unsigned 32-bit number above 0.
    """
    if not 1 <= firm_code <= FIRM_CODE_MAX:
        raise JobMalformed("the firm code is not an unsigned 32-bit number", field="firm_code")


def check_job(job: ProgrammingJob) -> None:
    """Refuse a job that contradicts itself, before it costs anything.

    Raises:
        JobMalformed: a name, number or digest is out of range, or the steps do not follow `base_fuc` one by one.
    """
    named = {
        "job_id": job.job_id,
        "instance_id": job.instance_id,
        "pool": job.pool,
        "serial": job.container_serial,
    }
    for field, text in named.items():
        check_name(field, text)
    check_firm_code(job.firm_code)
    if not _DIGEST.match(job.context_digest):
        raise JobMalformed("the context digest is not 64 hexadecimal digits", field="context_digest")
    if not 1 <= job.weight <= WEIGHT_MAX:
        raise JobMalformed(f"the weight is not within 1 and {WEIGHT_MAX}", field="weight")
    if job.deadline_at.tzinfo is None:
        raise JobMalformed("the deadline has no time zone", field="deadline_at")
    _check_steps(job)


def _check_steps(job: ProgrammingJob) -> None:
    if job.base_fuc < 0 or not job.steps:
        raise JobMalformed("a job needs a base counter and at least one step", field="steps")
    for number, step in enumerate(job.steps, start=job.base_fuc + 1):
        if step.fuc != number:
            raise JobMalformed(
                f"the steps leave counter {number} out", field="steps", expected=number, found=step.fuc
            )

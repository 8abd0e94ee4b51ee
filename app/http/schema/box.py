"""Boxes as the admin API shows and takes them. No answer holds a PIN."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictInt

from app.http.schema import box_example as show
from app.http.schema.model import AnswerModel, RequestModel
from fsb_gateway.box_driver import BoxSpec, Faults, TokenSpec
from fsb_gateway.report import BoxReport
from tenancy.box.control import BoxView
from tenancy.box.record import LONGEST_LOAN, MOST_LOADED, BoxChange, BoxRecord

Share = Annotated[float, Field(ge=0, le=1)]
OperationMillis = Annotated[StrictInt, Field(ge=0, le=60_000)]
TransactionsName = Literal["unlimited", "standard", "pay_per_use"]
BoxName = Annotated[str, Field(min_length=3, max_length=60)]
Why = Annotated[
    str,
    Field(
        min_length=1,
        max_length=500,
        description="Why; others read it.",
        examples=["Ticket 4711: December needs a second box."],
    ),
]
_LOAN_HOURS = LONGEST_LOAN // timedelta(hours=1)


class FaultsBody(RequestModel):
    """How often a software box fails on purpose, in shares of all jobs; together at most 1."""

    busy: Share = Field(default=0.0, description="The box is busy with something else.")
    timeout: Share = Field(default=0.0, description="It does not answer in time.")
    wrong_answer: Share = Field(default=0.0, description="What it signs does not verify.")
    lost_power: Share = Field(default=0.0, description="It goes away while it works.")

    def asked(self) -> Faults:
        """As the domain takes it."""
        return Faults(
            busy=self.busy, timeout=self.timeout, wrong_answer=self.wrong_answer, lost_power=self.lost_power
        )


class TokenBody(RequestModel):
    """Where a PKCS#11 box keeps its keys, on the machine of the box."""

    module: str = Field(max_length=255, description="Path of the PKCS#11 library.")
    label: str = Field(min_length=1, max_length=64, description="Of the token.")
    pin_file: str = Field(
        max_length=255, description="Path of the file with the user PIN, mode 0600; the PIN is never sent."
    )

    def asked(self) -> TokenSpec:
        """As the domain takes it."""
        return TokenSpec(module=self.module, label=self.label, pin_file=self.pin_file)


class BoxCreateBody(RequestModel):
    """A box that shall join a pool."""

    model_config = ConfigDict(json_schema_extra={"examples": [show.BOX_CREATE, show.BOX_CREATE_PKCS11]})

    name: BoxName = Field(description="Small letters, digits and hyphens.", examples=["shared-box-2"])
    pool: str = Field(
        min_length=1,
        max_length=128,
        description="`shared`, or the name of an instance's own pool.",
        examples=["shared"],
    )
    driver: Literal["software", "pkcs11"] = Field(default="software", description="What holds its keys.")
    operation_time_ms: OperationMillis = Field(
        default=0, description="Milliseconds per programming operation."
    )
    jitter: Share = Field(default=0.0, description="By which share the time per operation varies, 0–1.")
    faults: FaultsBody = Field(default=FaultsBody(), description="Software boxes only.")
    token: TokenBody | None = Field(default=None, description="PKCS#11 boxes only.")
    transactions: TransactionsName = Field(
        default="unlimited", description="What is deducted: nothing, one per container, one per operation."
    )
    transactions_loaded: Annotated[StrictInt, Field(ge=0, le=MOST_LOADED)] = Field(
        default=0, description="Transactions that it comes with; `:load` notes further ones."
    )
    reason: Why

    def asked(self) -> BoxSpec:
        """As the domain takes it; whose it is follows from the pool."""
        return BoxSpec(
            name=self.name,
            pool=self.pool,
            driver=self.driver,
            operation_time=timedelta(milliseconds=self.operation_time_ms),
            jitter=self.jitter,
            faults=self.faults.asked(),
            token=None if self.token is None else self.token.asked(),
            transactions=self.transactions,
            transactions_loaded=self.transactions_loaded,
        )


class BoxChangeBody(RequestModel):
    """What changes; what is left out stays. Name, pool and driver never change."""

    model_config = ConfigDict(json_schema_extra={"examples": [show.BOX_CHANGE]})

    operation_time_ms: OperationMillis | None = Field(
        default=None, description="Milliseconds per programming operation."
    )
    jitter: Share | None = Field(
        default=None, description="By which share the time per operation varies, 0–1."
    )
    faults: FaultsBody | None = Field(default=None, description="All of them; software boxes only.")
    token: TokenBody | None = Field(default=None, description="PKCS#11 boxes only; for admins.")
    transactions: TransactionsName | None = Field(
        default=None, description="What is deducted: nothing, one per container, one per operation."
    )

    def asked(self) -> BoxChange:
        """As the domain takes it."""
        millis = self.operation_time_ms
        return BoxChange(
            operation_time=None if millis is None else timedelta(milliseconds=millis),
            jitter=self.jitter,
            faults=None if self.faults is None else self.faults.asked(),
            token=None if self.token is None else self.token.asked(),
            transactions=self.transactions,
        )


class BoxLoanBody(RequestModel):
    """To whom a box is lent, and for how long."""

    model_config = ConfigDict(json_schema_extra={"examples": [show.BOX_LOAN]})

    to: str = Field(min_length=1, max_length=128, description="The pool that it works for.")
    hours: Annotated[StrictInt, Field(ge=1, le=_LOAN_HOURS)] = Field(
        description="Hours from the handing over on; then it works for its own pool again by itself."
    )
    force: StrictBool = Field(default=False, description="Even if its own pool is left without a box.")
    reason: Why


class TransactionLoadBody(RequestModel):
    """Transactions that were loaded."""

    number: Annotated[StrictInt, Field(ge=1, le=MOST_LOADED)] = Field(
        description="How many came on top.", examples=[5000]
    )


class FaultsRead(AnswerModel):
    """How often a software box fails on purpose, in shares of all jobs."""

    busy: float = Field(description="0–1: it is busy with something else.")
    timeout: float = Field(description="0–1: it does not answer in time.")
    wrong_answer: float = Field(description="0–1: what it signs does not verify.")
    lost_power: float = Field(description="0–1: it goes away while it works.")


class TokenRead(AnswerModel):
    """Where a PKCS#11 box keeps its keys."""

    module: str = Field(description="Path of the PKCS#11 library, on the machine of the box.")
    label: str = Field(description="Of the token.")
    pin_file: str = Field(description="Path of the file with the PIN there; the PIN itself is never sent.")


class BoxRead(AnswerModel):
    """A box: what staff want, and what its gateway reports, which is null while it does not answer."""

    name: str = Field(description="Of the box; never changes.")
    pool: str = Field(description="The pool that it belongs to; never changes.")
    works_for: str = Field(description="The pool whose jobs it takes now; another one while it is lent.")
    owner: str | None = Field(description="The instance whose own it is; null in a shared pool.")
    driver: str = Field(description="What holds its keys: software or pkcs11.")
    state: str | None = Field(
        description="joining, active or leaving; null: the gateway has it, and nobody ordered it."
    )
    drained: bool = Field(description="It finishes what it has and takes no more.")
    drained_by: Literal["staff", "reconciler"] | None = Field(
        description="Who has drained it; null: nobody, or an older version, which did not say."
    )
    lent_to: str | None = Field(description="The pool that borrows it; null while it is not lent.")
    lent_until: datetime | None = Field(description="When it is back by itself.")
    operation_time_ms: int | None = Field(description="Milliseconds per programming operation.")
    jitter: float | None = Field(description="By which share that varies, 0–1.")
    faults: FaultsRead | None = Field(description="Of a software box, on purpose.")
    token: TokenRead | None = Field(description="Of a PKCS#11 box; null for others.")
    transactions: str = Field(
        description="What is deducted: unlimited (nothing), standard (one per container) or pay_per_use (one per "
        "operation)."
    )
    transactions_loaded: int | None = Field(description="All that were ever loaded, as a number.")
    transactions_left: int | None = Field(description="Null where nothing is deducted, or nobody knows.")
    transactions_low: bool | None = Field(description="They run out soon.")
    condition: str = Field(
        description="ready, drained, starting, out, or why it takes no work; `unknown`: no report."
    )
    condition_since: datetime | None = Field(description="Since when, once it was noticed.")
    temperature: str | None = Field(description="cold, warm or hot: how near its limit it is.")
    utilisation: float | None = Field(description="Share of the last minute spent programming, 0–1.")
    running: int | None = Field(description="Jobs that it has been given and has not finished.")
    jobs_done: int | None = Field(
        description="Jobs, since the box's process started; a pool's count goes on."
    )
    operations_done: int | None = Field(description="Programming operations, since the same moment.")
    busy_seconds: float | None = Field(description="Seconds spent programming, since the same moment.")
    failures: dict[str, int] = Field(description="Jobs it could not do, by code.")
    consecutive_failures: int | None = Field(description="Jobs it could not do since the last success.")
    error: str | None = Field(description="Code of the last failure, until a job succeeds.")
    retry_at: datetime | None = Field(
        description="When a box that was taken out is tried again, or one that ended is started again."
    )
    firm_codes: list[int] = Field(description="Whose keys it holds and signs with.")
    version: int | None = Field(description="For If-Match.")
    created_at: datetime | None = Field(description="When it was ordered.")

    @classmethod
    def of(cls, view: BoxView) -> BoxRead:
        """From the domain's value."""
        record, report = view.record, view.report
        wanted = {} if record is None else _wanted(record)
        found = _UNREPORTED if report is None else _reported(report)
        return cls.model_validate(
            {
                **_UNORDERED,
                **({} if report is None else _shown_by_stray(report)),
                **wanted,
                **found,
                "name": view.name,
                "works_for": wanted.get("pool") if report is None else report.works_for,
                "condition_since": None if view.seen is None else view.seen.since,
            }
        )


def _wanted(record: BoxRecord) -> dict[str, object]:
    spec = record.spec
    token = spec.token
    return {
        "pool": spec.pool,
        "owner": spec.owner,
        "driver": spec.driver,
        "state": record.state,
        "drained": spec.drained,
        "drained_by": record.drained_by,
        "lent_to": spec.lent_to,
        "lent_until": spec.lent_until,
        "operation_time_ms": round(spec.operation_time / timedelta(milliseconds=1)),
        "jitter": spec.jitter,
        "faults": {
            "busy": spec.faults.busy,
            "timeout": spec.faults.timeout,
            "wrong_answer": spec.faults.wrong_answer,
            "lost_power": spec.faults.lost_power,
        },
        "token": None
        if token is None
        else {"module": token.module, "label": token.label, "pin_file": token.pin_file},
        "transactions": spec.transactions,
        "transactions_loaded": spec.transactions_loaded,
        "version": record.version,
        "created_at": record.created_at,
    }


_UNORDERED: dict[str, object] = {
    "state": None,
    "drained": False,
    "drained_by": None,
    "lent_to": None,
    "lent_until": None,
    "operation_time_ms": None,
    "jitter": None,
    "faults": None,
    "token": None,
    "transactions_loaded": None,
    "version": None,
    "created_at": None,
}


def _shown_by_stray(report: BoxReport) -> dict[str, object]:
    return {
        "pool": report.pool,
        "owner": report.owner,
        "driver": report.driver,
        "transactions": report.transactions,
    }


def _reported(report: BoxReport) -> dict[str, object]:
    return {
        "condition": report.condition,
        "transactions_left": report.transactions_left,
        "transactions_low": report.transactions_low,
        "temperature": report.temperature,
        "utilisation": round(report.utilisation, 4),
        "running": report.running,
        "jobs_done": report.jobs_done,
        "operations_done": report.operations_done,
        "busy_seconds": round(report.busy_seconds, 3),
        "failures": report.failures,
        "consecutive_failures": report.consecutive_failures,
        "error": report.error,
        "retry_at": report.retry_at,
        "firm_codes": list(report.firm_codes),
    }


_UNREPORTED: dict[str, object] = {
    "condition": "unknown",
    "transactions_left": None,
    "transactions_low": None,
    "temperature": None,
    "utilisation": None,
    "running": None,
    "jobs_done": None,
    "operations_done": None,
    "busy_seconds": None,
    "failures": {},
    "consecutive_failures": None,
    "error": None,
    "retry_at": None,
    "firm_codes": [],
}

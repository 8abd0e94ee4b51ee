"""Jobs, results and box specifications as JSON, the same on the socket, in the journal and in files."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime, timedelta
from typing import Any

import msgspec

from fsb_gateway.box_driver import BoxSpec, DriverName, Faults, TokenSpec, TransactionModel, check_spec
from fsb_gateway.error import BoxSpecInvalid, JobMalformed
from fsb_gateway.job import (
    JobPending,
    OperationName,
    Priority,
    ProgrammingJob,
    ProgrammingOperation,
    ProgrammingResult,
    ProgrammingStep,
)


class _Operation(msgspec.Struct, forbid_unknown_fields=True):
    op: OperationName
    license_id: str
    generation: int
    product: dict[str, Any]


class _Step(msgspec.Struct, forbid_unknown_fields=True):
    fuc: int
    operations: list[_Operation]


class _Job(msgspec.Struct, forbid_unknown_fields=True):
    job_id: str
    instance_id: str
    pool: str
    firm_code: int
    container_serial: str
    container_key: dict[str, str]
    base_fuc: int
    context_digest: str
    steps: list[_Step]
    deadline_at: datetime
    priority: Priority = "interactive"
    weight: int = 1


class _Spec(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    pool: str
    name: str | None = None
    owner: str | None = None
    driver: DriverName = "software"
    operation_time_seconds: float = 0.0
    jitter: float = 0.0
    faults: Faults | None = None
    token: TokenSpec | None = None
    drained: bool = False
    lent_to: str | None = None
    lent_until: datetime | None = None
    transactions: TransactionModel = "unlimited"
    transactions_loaded: int = 0
    version: int = 0


class _Result(msgspec.Struct):
    job_id: str
    update: str
    box: str
    operations: int
    programmed_at: datetime


_encoder = msgspec.json.Encoder()
_canonical_encoder = msgspec.json.Encoder(order="deterministic")
_job_decoder = msgspec.json.Decoder(_Job)
_result_decoder = msgspec.json.Decoder(_Result)
_spec_decoder = msgspec.json.Decoder(_Spec)
# Far beyond what any box may take (`check_spec` says it), and far from what a timedelta cannot hold.
_SECONDS_MAX = 86_400.0


def encode_job(job: ProgrammingJob) -> bytes:
    """Write a job."""
    return _encoder.encode(job)


def decode_job(body: bytes) -> ProgrammingJob:
    """Read a job.

    Raises:
        JobMalformed: not JSON, not a job, or with fields that are not known.
    """
    try:
        job = _job_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise JobMalformed(f"the job cannot be read: {error}") from error
    return ProgrammingJob(
        job_id=job.job_id,
        instance_id=job.instance_id,
        pool=job.pool,
        firm_code=job.firm_code,
        container_serial=job.container_serial,
        container_key=job.container_key,
        base_fuc=job.base_fuc,
        context_digest=job.context_digest,
        steps=tuple(_build_step(step) for step in job.steps),
        deadline_at=job.deadline_at,
        priority=job.priority,
        weight=job.weight,
    )


def request_digest(job: ProgrammingJob) -> str:
    """SHA-256 over what the job programs, 64 hex digits: the same job sent again has the same digest."""
    content = (
        job.instance_id,
        job.firm_code,
        job.container_serial,
        job.container_key,
        job.base_fuc,
        job.context_digest,
        job.steps,
    )
    return hashlib.sha256(_canonical_encoder.encode(content)).hexdigest()


def encode_result(result: ProgrammingResult) -> bytes:
    """Write a result."""
    return _encoder.encode(result)


def encode_pending(pending: JobPending) -> bytes:
    """Write where a job stands; durations get their unit into the name, as everywhere at the edges."""
    return _encoder.encode(
        {
            "job_id": pending.job_id,
            "state": pending.state,
            "position": pending.position,
            "expected_wait_seconds": pending.expected_wait.total_seconds(),
            "expected_wait_p95_seconds": pending.expected_wait_p95.total_seconds(),
            "others_share": pending.others_share,
            "reason": pending.reason,
            "waited_seconds": pending.waited.total_seconds(),
            "caused_by_others_seconds": pending.caused_by_others.total_seconds(),
        }
    )


def decode_result(body: bytes) -> ProgrammingResult:
    """Read a result.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    result = _result_decoder.decode(body)
    return ProgrammingResult(
        job_id=result.job_id,
        update=result.update,
        box=result.box,
        operations=result.operations,
        programmed_at=result.programmed_at,
    )


def encode_spec(spec: BoxSpec) -> bytes:
    """Write what a box is: the body that sets it up, and the file that the gateway and its process read."""
    return _encoder.encode(
        _Spec(
            name=spec.name,
            pool=spec.pool,
            owner=spec.owner,
            driver=spec.driver,
            operation_time_seconds=spec.operation_time.total_seconds(),
            jitter=spec.jitter,
            faults=spec.faults if spec.faults.total else None,
            token=spec.token,
            drained=spec.drained,
            lent_to=spec.lent_to,
            lent_until=spec.lent_until,
            transactions=spec.transactions,
            transactions_loaded=spec.transactions_loaded,
            version=spec.version,
        )
    )


def decode_spec(body: bytes, *, name: str | None = None) -> BoxSpec:
    """Read what a box is.

    Args:
        name: of the box, where it stands elsewhere, e.g. in the path; a name in the body has to be the same.

    Raises:
        JobMalformed: not JSON, not a specification, or with fields that are not known.
        BoxSpecInvalid: a box cannot be set up so.
    """
    try:
        wanted = _spec_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise JobMalformed(f"the box cannot be read: {error}") from error
    if name is not None and wanted.name not in (None, name):
        raise BoxSpecInvalid("the box has two names", field="name")
    if not math.isfinite(wanted.operation_time_seconds) or abs(wanted.operation_time_seconds) > _SECONDS_MAX:
        raise BoxSpecInvalid("the time per operation is out of range", field="operation_time_seconds")
    spec = _build_spec(name or wanted.name or "", wanted)
    check_spec(spec)
    return spec


def _build_spec(name: str, wanted: _Spec) -> BoxSpec:
    return BoxSpec(
        name=name,
        pool=wanted.pool,
        owner=wanted.owner,
        driver=wanted.driver,
        operation_time=timedelta(seconds=wanted.operation_time_seconds),
        jitter=wanted.jitter,
        faults=wanted.faults or Faults(),
        token=wanted.token,
        drained=wanted.drained,
        lent_to=wanted.lent_to,
        lent_until=wanted.lent_until,
        transactions=wanted.transactions,
        transactions_loaded=wanted.transactions_loaded,
        version=wanted.version,
    )


def _build_step(step: _Step) -> ProgrammingStep:
    operations = tuple(
        ProgrammingOperation(
            op=item.op, license_id=item.license_id, generation=item.generation, product=item.product
        )
        for item in step.operations
    )
    return ProgrammingStep(fuc=step.fuc, operations=operations)

"""Jobs, results and box specifications as JSON, the same on the socket and in the journal."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from fsb_gateway.error import JobMalformed
from fsb_gateway.job import (
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


def _build_step(step: _Step) -> ProgrammingStep:
    operations = tuple(
        ProgrammingOperation(
            op=item.op, license_id=item.license_id, generation=item.generation, product=item.product
        )
        for item in step.operations
    )
    return ProgrammingStep(fuc=step.fuc, operations=operations)

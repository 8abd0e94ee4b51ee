"""Where an instance stands at the Firm Security Boxes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.http.schema.model import AnswerModel
from fsb_gateway import InstanceQueueReport, JobReport


class QueuedJobRead(AnswerModel):
    """A job that is not finished. Its id is that of its transfer."""

    transfer_id: str = Field(description="Id of its transfer.")
    state: Literal["waiting", "running", "unknown"] = Field(
        description="`unknown`: its box went away while it worked on it."
    )
    position: int = Field(description="Jobs served before it; 0 while a box works on it.")
    operations: int = Field(description="Programming operations that it needs.")
    expected_wait_seconds: float = Field(description="Seconds until its update, in half of all cases.")
    expected_wait_p95_seconds: float = Field(description="The same in 19 of 20 cases.")
    others_share: float = Field(
        description="Of the operations served before it, how much is others' work, 0–1."
    )
    reason: str | None = Field(description="Code of what it waits for besides its turn.")
    waited_seconds: float = Field(
        description="Seconds until now, without the time in which a box worked on it."
    )
    caused_by_others_seconds: float = Field(
        description="The part of it during which boxes worked for other customers."
    )

    @classmethod
    def of(cls, job: JobReport) -> QueuedJobRead:
        """From the gateway's value."""
        return cls(
            transfer_id=job.job_id,
            state=job.state,
            position=job.position,
            operations=job.operations,
            expected_wait_seconds=job.expected_wait_seconds,
            expected_wait_p95_seconds=job.expected_wait_p95_seconds,
            others_share=job.others_share,
            reason=job.reason,
            waited_seconds=round(job.waited_seconds, 6),
            caused_by_others_seconds=round(job.caused_by_others_seconds, 6),
        )


class FinishedJobsRead(AnswerModel):
    """All jobs of the instance that the gateway has finished since it started, and why they waited."""

    jobs: int = Field(description="How many.")
    operations: int = Field(description="Their programming operations.")
    waited_seconds: float = Field(description="Seconds from their arrival to their start, all together.")
    caused_by_others_seconds: float = Field(
        description="The part of it during which boxes worked for other customers."
    )
    caused_by_others_share: float = Field(description="The same as a share of the waiting, 0–1.")

    @classmethod
    def of(cls, report: InstanceQueueReport) -> FinishedJobsRead:
        """From the gateway's value."""
        waited, by_others = report.waited_seconds, report.caused_by_others_seconds
        return cls(
            jobs=report.jobs_done,
            operations=report.operations_done,
            waited_seconds=round(waited, 6),
            caused_by_others_seconds=round(by_others, 6),
            caused_by_others_share=round(by_others / waited, 4) if waited > 0 else 0.0,
        )


class InstanceQueueRead(AnswerModel):
    """Where an instance stands, and where a job would that came now."""

    reason: str | None = Field(
        description="Code of why no box works for the instance at this moment; null while one does."
    )
    waiting: int = Field(description="Jobs of the instance that wait.")
    running: int = Field(description="Jobs of the instance that boxes have been given.")
    unknown: int = Field(description="Jobs whose box does not answer; they resolve by themselves.")
    position: int = Field(description="Jobs that would be served before one that came now.")
    expected_wait_seconds: float = Field(
        description="Seconds until the update of a job of one operation that came now, in half of all cases. "
        "An hour and more, with a reason: at least that; somebody has to do something first."
    )
    expected_wait_p95_seconds: float = Field(description="The same in 19 of 20 cases.")
    others_share: float = Field(
        description="Of the operations before such a job, how much is other customers' work, 0–1."
    )
    finished: FinishedJobsRead = Field(description="What has been done, and why it waited.")
    jobs: list[QueuedJobRead] = Field(
        description="Waiting and running, in the order in which they are served; the first 100."
    )

    @classmethod
    def of(cls, report: InstanceQueueReport) -> InstanceQueueRead:
        """From the gateway's value."""
        return cls(
            reason=report.reason,
            waiting=report.waiting,
            running=report.running,
            unknown=report.unknown,
            position=report.position,
            expected_wait_seconds=report.expected_wait_seconds,
            expected_wait_p95_seconds=report.expected_wait_p95_seconds,
            others_share=report.others_share,
            finished=FinishedJobsRead.of(report),
            jobs=[QueuedJobRead.of(each) for each in report.jobs],
        )

"""How load balancers are, as the admin API shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import Field

from app.http.schema.model import AnswerModel
from app.operations.front.default_certificate import DefaultPem
from app.operations.front.keeper import FrontPlan, FrontsReport
from app.operations.front.kept_front import FrontReport
from app.operations.front.state import LeftOut
from tenancy.front.host import HostRecord

_DAY_SECONDS: Final = 86_400


class LeftOutRead(AnswerModel):
    """Something that somebody wants and no load balancer has."""

    kind: str
    name: str
    why: str = Field(description="Code.")

    @classmethod
    def of(cls, left_out: LeftOut) -> LeftOutRead:
        """From the keeper's value."""
        return cls(kind=left_out.kind, name=left_out.name, why=left_out.why)


class ExpiryRead(AnswerModel):
    """Until when a certificate lasts."""

    host: str | None = Field(description="Null: of whoever names no host that is known.")
    not_after: datetime
    expires_in_days: int
    self_made: bool = Field(description="Made by the platform: clients have to be told to trust it.")
    problem: str | None = Field(description="Code of why a newer one is not in use.")


class LoadBalancerRead(AnswerModel):
    """How a load balancer is."""

    name: str
    running: bool | None = Field(description="Its HAProxy answers; null: nobody has asked yet.")
    in_step: bool = Field(description="It is what it is to be, and was when it was last read back.")
    wanted: int = Field(description="Number of what it is to be.")
    applied: int = Field(description="Number of what it is; 0: nothing yet.")
    release: int | None
    problem: str | None = Field(description="Code of what keeps it behind.")
    message: str | None
    last_plan: list[str] = Field(description="Of the last change, step by step.")
    changed_at: datetime | None
    seconds: float | None = Field(description="How long that took.")
    reloaded_at: datetime | None
    reload_reason: str | None
    left_out: list[LeftOutRead]
    lines_up: dict[str, str] = Field(description="By backend, lines that can be given requests, of how many.")

    @classmethod
    def of(cls, report: FrontReport) -> LoadBalancerRead:
        """From the keeper's report."""
        return cls(
            name=report.name,
            running=report.running,
            in_step=report.in_step,
            wanted=report.wanted,
            applied=report.applied,
            release=report.release,
            problem=report.problem,
            message=report.message,
            last_plan=list(report.plan),
            changed_at=report.changed_at,
            seconds=report.seconds,
            reloaded_at=report.reloaded_at,
            reload_reason=report.reload_reason,
            left_out=[LeftOutRead.of(each) for each in report.left_out],
            lines_up={name: f"{up}/{all_}" for name, up, all_ in report.lines},
        )


class FrontRead(AnswerModel):
    """What load balancers are to be, and how each of them is."""

    wanted: int = Field(description="Number of what they are to be; grows with every change.")
    wanted_since: datetime | None
    problem: str | None = Field(description="Code of why nobody can say anew what they are to be.")
    left_out: list[LeftOutRead]
    certificates: list[ExpiryRead] = Field(description="The first to run out comes first.")
    load_balancers: list[LoadBalancerRead]

    @classmethod
    def of(cls, report: FrontsReport, *, now: datetime) -> FrontRead:
        """From the keeper's report."""
        desired = report.desired
        expiries = []
        if desired is not None:
            expiries = [_default(desired.certificate, now=now)]
            expiries += [_host(each, now=now) for each in desired.hosts]
        return cls(
            wanted=0 if desired is None else desired.number,
            wanted_since=None if desired is None else desired.built_at,
            problem=report.problem,
            left_out=[] if desired is None else [LeftOutRead.of(each) for each in desired.left_out],
            certificates=sorted(expiries, key=lambda each: each.not_after),
            load_balancers=[LoadBalancerRead.of(each) for each in report.fronts],
        )


class FrontPlanRead(AnswerModel):
    """What would change at a load balancer now."""

    name: str
    steps: list[str]
    reload: str | None = Field(description="Why everything would be read again; null: it would not.")
    problem: str | None = Field(description="Code of why nobody can say.")
    message: str | None

    @classmethod
    def of(cls, plan: FrontPlan) -> FrontPlanRead:
        """From the keeper's value."""
        return cls(
            name=plan.name,
            steps=list(plan.steps),
            reload=plan.reload,
            problem=plan.problem,
            message=plan.message,
        )


def _default(found: DefaultPem, *, now: datetime) -> ExpiryRead:
    return ExpiryRead(
        host=None,
        not_after=found.certificate.not_after,
        expires_in_days=_days(found.certificate.not_after, now),
        self_made=found.self_made,
        problem=found.problem,
    )


def _host(host: HostRecord, *, now: datetime) -> ExpiryRead:
    return ExpiryRead(
        host=host.host,
        not_after=host.not_after,
        expires_in_days=_days(host.not_after, now),
        self_made=False,
        problem=None,
    )


def _days(moment: datetime, now: datetime) -> int:
    return int((moment - now).total_seconds() // _DAY_SECONDS)


FRONT_EXAMPLE: Final[dict[str, Any]] = {
    "wanted": 17,
    "wanted_since": "2026-11-21T10:15:00Z",
    "problem": None,
    "left_out": [],
    "certificates": [
        {
            "host": "licenses.acme.example",
            "not_after": "2027-01-30T00:00:00Z",
            "expires_in_days": 69,
            "self_made": False,
            "problem": None,
        }
    ],
    "load_balancers": [
        {
            "name": "lb1",
            "running": True,
            "in_step": True,
            "wanted": 17,
            "applied": 17,
            "release": 23,
            "problem": None,
            "message": None,
            "last_plan": ["weight of ins_019b0a3c/l2: 50"],
            "changed_at": "2026-11-21T10:15:00Z",
            "seconds": 0.021,
            "reloaded_at": "2026-11-21T08:00:00Z",
            "reload_reason": "backends change (new: ins_019b0a3c)",
            "left_out": [],
            "lines_up": {"shared": "1/1"},
        }
    ],
}
FRONT_PLAN_EXAMPLE: Final[dict[str, Any]] = {
    "name": "lb1",
    "steps": ["weight of ins_019b0a3c/l2: 50"],
    "reload": None,
    "problem": None,
    "message": None,
}

"""One load balancer that control looks after: brought to what it is to be, looked at now and then, and what came of it.

in step ──desired changed, or it is otherwise than its files say──► behind ──apply──► in step
                                                                      ▲ │ failed
                                                                      └─┘ again, ever more rarely
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from app.core.clock import Clock
from app.core.errors import DomainError
from app.operations.front.desired import Desired
from app.operations.front.state import LeftOut
from lb.errors import HaproxyUnavailable
from lb.front.certificate_file import certificate_name
from lb.front.error import FrontCertificateUnfit, FrontNotReloaded
from lb.front.front import Applied, FrontStatus
from lb.front.plan import Plan
from lb.front.state import FrontState

_LOOK_EVERY: Final = timedelta(seconds=5)
"""How often a load balancer in step is read back. Our own decision."""
_AGAIN_FIRST: Final = timedelta(seconds=0.5)
_AGAIN_MOST: Final = timedelta(seconds=10)
"""Pause after a failure; it doubles."""
_SILENT_AGAIN_MOST: Final = timedelta(seconds=1)
"""The same where nobody answers: asking costs nothing, and who goes on after a while serves by old rules until then."""
_RELOAD_AGAIN_MOST: Final = timedelta(minutes=5)
"""The same where each attempt costs two reloads, the second of which takes the first one back. Our own decision."""
_LONGEST_PAUSES: Final = {
    FrontNotReloaded.code: _RELOAD_AGAIN_MOST,
    HaproxyUnavailable.code: _SILENT_AGAIN_MOST,
}
DISK_FAILED: Final = "front_disk_failed"
_CRASHED: Final = "front_not_kept"
_MOST_STEPS: Final = 200
"""Of the last plan, kept for people to read."""


class FrontPort(Protocol):
    """A load balancer; `lb.front.front.Front` is one. Blocking."""

    def prepare(self) -> None:
        """Make its directory."""
        ...

    def plan(self, state: FrontState) -> Plan:
        """What `apply` would do."""
        ...

    def apply(self, state: FrontState) -> Applied:
        """Bring it to a state."""
        ...

    def status(self) -> FrontStatus:
        """How it is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontReport:
    """How a load balancer is.

    Attributes:
        running: its HAProxy answers; None: nobody has asked yet.
        in_step: it is what it is to be.
        wanted, applied: numbers of what it is to be, and of what it is; 0: nothing yet.
        problem: code of what keeps it behind; None: nothing, or it has just begun.
        message: about that, for people.
        plan: of the last change, for people.
        seconds: how long that took.
        reload_reason: of the last reload.
        left_out: what HAProxy would not take, besides what was left out for all.
        lines: by backend, how many lines can be given requests, and how many there are.
    """

    name: str
    running: bool | None = None
    in_step: bool = False
    wanted: int = 0
    applied: int = 0
    release: int | None = None
    problem: str | None = None
    message: str | None = None
    plan: tuple[str, ...] = ()
    changed_at: datetime | None = None
    seconds: float | None = None
    reloaded_at: datetime | None = None
    reload_reason: str | None = None
    left_out: tuple[LeftOut, ...] = ()
    lines: tuple[tuple[str, int, int], ...] = ()


class KeptFront:
    """Keeps one load balancer. Blocking; one thread at a time, `report` from any."""

    def __init__(self, name: str, front: FrontPort, *, clock: Clock) -> None:
        self._front = front
        self._clock = clock
        self._look_at = 0.0
        self._again_at = 0.0
        self._pause = _AGAIN_FIRST
        self.report = FrontReport(name=name)

    def is_due(self, desired: Desired) -> bool:
        """Whether `keep` has something to do."""
        now = self._clock.monotonic()
        is_behind = self.report.applied != desired.number or not self.report.in_step
        if is_behind and self.report.problem is not None:
            return now >= self._again_at or self.report.wanted != desired.number
        return is_behind or now >= self._look_at

    def keep(self, desired: Desired) -> None:
        """Bring it to what it is to be, or read back whether it is; whatever goes wrong stands in the report."""
        try:
            if self.report.in_step and self.report.applied == desired.number and self._agrees():
                return
            self._apply(desired)
        except DomainError as error:
            self._note_failure(desired, error.code, error.message)
        except OSError as error:
            self._note_failure(desired, DISK_FAILED, error.strerror or "The files cannot be written.")

    def note_crash(self, desired: Desired, error: Exception) -> None:
        """Say that `keep` has failed in a way that nobody foresaw; it is tried again, ever more rarely."""
        self._note_failure(desired, _CRASHED, f"{type(error).__name__}; see the log of control.")

    def plan(self, desired: Desired) -> Plan:
        """What would change now.

        Raises:
            DomainError: it cannot be planned.
        """
        return self._front.plan(desired.state)

    def _agrees(self) -> bool:
        status = self._front.status()
        self._look_at = self._clock.monotonic() + _LOOK_EVERY.total_seconds()
        self.report = replace(
            self.report,
            running=status.running,
            release=status.release,
            lines=tuple((name, up, all_) for name, (up, all_) in sorted(status.lines.items())),
        )
        return status.running and status.agrees

    def _apply(self, desired: Desired) -> None:
        self.report = replace(self.report, wanted=desired.number)
        self._front.prepare()
        applied, left_out = self._apply_without_unfit(desired.state)
        self._pause = _AGAIN_FIRST
        self._look_at = self._clock.monotonic() + _LOOK_EVERY.total_seconds()
        report = replace(
            self.report,
            running=True,
            in_step=True,
            applied=desired.number,
            release=applied.release,
            problem=None,
            message=None,
            left_out=left_out,
        )
        self.report = _with_change(report, applied, self._clock.now()) if applied.changed else report

    def _apply_without_unfit(self, state: FrontState) -> tuple[Applied, tuple[LeftOut, ...]]:
        """Apply; a certificate or an authority that HAProxy would not take must not hold up everybody else.

        Raises:
            DomainError: something else is wrong.
        """
        left_out: list[LeftOut] = []
        while True:
            try:
                return self._front.apply(state), tuple(left_out)
            except FrontCertificateUnfit as error:
                smaller, unfit = _without(state, str(error.detail.get("name", "")), error.code)
                if not unfit:
                    raise
                state = smaller
                left_out += unfit

    def _note_failure(self, desired: Desired, code: str, message: str) -> None:
        self._again_at = self._clock.monotonic() + self._pause.total_seconds()
        self._pause = min(2 * self._pause, _LONGEST_PAUSES.get(code, _AGAIN_MOST))
        self.report = replace(
            self.report,
            in_step=False,
            wanted=desired.number,
            problem=code,
            message=message,
            running=False if code == HaproxyUnavailable.code else self.report.running,
        )


def _without(state: FrontState, name: str, why: str) -> tuple[FrontState, list[LeftOut]]:
    """The state without the host or the authority of that name; lines check callers of an authority by themselves."""
    unfit = [each for each in state.hosts.values() if name in (each.host_id, certificate_name(each))]
    left_out = [LeftOut(kind="host", name=each.host, why=why) for each in unfit]
    if name in state.authorities:
        left_out.append(LeftOut(kind="authority", name=name, why=why))
    return replace(
        state,
        hosts={host: each for host, each in state.hosts.items() if each not in unfit},
        authorities={key: pem for key, pem in state.authorities.items() if key != name},
        revocation_lists={key: pem for key, pem in state.revocation_lists.items() if key != name},
    ), left_out


def _with_change(report: FrontReport, applied: Applied, now: datetime) -> FrontReport:
    report = replace(report, plan=plan_lines(applied.plan), changed_at=now, seconds=round(applied.seconds, 3))
    if not applied.reloaded:
        return report
    return replace(report, reloaded_at=now, reload_reason=applied.escalated or applied.plan.reload)


def plan_lines(plan: Plan) -> tuple[str, ...]:
    """A plan for people, one step a line; long ones are cut."""
    lines: Sequence[str] = str(plan).splitlines()
    more = len(lines) - _MOST_STEPS
    return (*lines[:_MOST_STEPS], *([f"and {more} more"] if more > 0 else []))

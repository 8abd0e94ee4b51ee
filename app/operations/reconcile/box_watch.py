"""What the gateway reports of boxes, as observations."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Final

from app.operations.reconcile.observation import Evidence, Observation, Subject, Verdict
from fsb_gateway.report import BoxCondition, BoxReport
from tenancy.box.control import BoxView
from tenancy.box.record import BoxRecord

_SAYS: Final[Mapping[BoxCondition, Verdict]] = {"ready": "ok", "drained": "ok", "starting": "unknown"}
"""A drained box could work; everything else is sick."""
_HEALED_BY_GATEWAY: Final[frozenset[BoxCondition]] = frozenset({"out", "disconnected"})
"""It tries them again, or starts their process again, after a pause."""
_LEAVES: Final[frozenset[BoxCondition]] = frozenset({"journal_damaged", "journal_unwritable", "token_absent"})
"""What a box that comes and goes would suffer from. Not a wrong PIN: whoever tells the box anything makes it try again,
and a token locks itself; not one whose transactions are used up: it gets no such work anyway."""


def box_subject(record: BoxRecord) -> Subject:
    """A box as a part of the fleet."""
    return Subject(kind="box", name=record.name, group=f"pool-{record.spec.pool}")


def observe_boxes(views: Sequence[BoxView], *, busy: Container[str] | None) -> tuple[Observation, ...]:
    """Every box that was ordered.

    Args:
        views: what staff want of boxes beside what the gateway reports.
        busy: objects that an operation is changing; None: nobody knows.
    """
    return tuple(
        _observe(view.record, view.report, is_busy=busy is None or view.name in busy)
        for view in views
        if view.record is not None
    )


def _observe(record: BoxRecord, report: BoxReport | None, *, is_busy: bool) -> Observation:
    condition = None if report is None else report.condition
    verdict: Verdict = "unknown" if condition is None else _SAYS.get(condition, "bad")
    return Observation(
        subject=box_subject(record),
        evidence=(Evidence(witness="gateway", verdict=verdict, detail=condition or "no report"),),
        witnesses=1,
        in_service=not record.spec.drained and record.state == "active",
        may_leave=condition in _LEAVES,
        # One that an older wops has drained is taken for the staff's.
        taken_out_by=(record.drained_by or "staff") if record.spec.drained else None,
        is_healing=condition in _HEALED_BY_GATEWAY,
        is_changing=is_busy or record.state != "active" or record.spec.lent_to is not None,
    )

"""What the gateway has to be told about boxes. Pure.

observe: its report ──► plan: what differs from what staff want ──► act: put ──► planning again gives nothing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.report import BoxReport


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxPlan:
    """What is to be done.

    Attributes:
        put: specifications that the gateway lacks, or has otherwise.
        strays: boxes that the gateway has and nobody ordered. They may hold keys: a human has to look.
    """

    put: tuple[BoxSpec, ...]
    strays: tuple[str, ...]


def plan_boxes(
    wanted: Sequence[BoxSpec], found: Sequence[BoxReport], told: Mapping[str, BoxSpec], *, now: datetime
) -> BoxPlan:
    """Compare what staff want with what the gateway reports.

    Args:
        wanted: all boxes of the platform database.
        found: all boxes of the gateway.
        told: what this process has told the gateway last, by name. A report does not show everything, so that a box
            this process has not spoken of is told once; telling is safe to repeat.
        now: for loans.
    """
    by_name = {each.name: each for each in found}
    put = tuple(
        spec
        for spec in wanted
        if told.get(spec.name) != spec
        or (report := by_name.get(spec.name)) is None
        or _differs(spec, report, now)
    )
    known = {spec.name for spec in wanted}
    return BoxPlan(put=put, strays=tuple(sorted(by_name.keys() - known)))


def _differs(spec: BoxSpec, report: BoxReport, now: datetime) -> bool:
    # The version shows what another process has put late, which read it before the last change.
    shown = (report.version, report.pool, report.owner, report.works_for, report.transactions)
    return shown != (spec.version, spec.pool, spec.owner, spec.pool_at(now), spec.transactions)

"""How self-healing is, as it was at its last look. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.operations.reconcile.observation import Observation
from app.operations.reconcile.plan import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """A part, and what is done about it or why nothing is.

    Attributes:
        bad_since: None: it is not bad for certain.
        tried: how much was done about it within an hour and since it was released.
    """

    observation: Observation
    decision: Decision
    bad_since: datetime | None
    tried: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealerReport:
    """The healer.

    Attributes:
        is_watching: there is something that it could do anything about.
        has_lease: this one acts.
        token: of its lease; None: it has none.
        watching_since: without a break; None: it has not looked yet.
        warm_until: before that it only looks.
        problem: code of why it only looks although it would act.
    """

    is_watching: bool
    has_lease: bool = False
    token: int | None = None
    watching_since: datetime | None = None
    warm_until: datetime | None = None
    looked_at: datetime | None = None
    problem: str | None = None
    parts: tuple[PartReport, ...] = ()

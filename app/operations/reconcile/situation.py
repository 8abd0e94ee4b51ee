"""Everything that a plan is made from. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.operations.reconcile.observation import Observation
from app.operations.reconcile.past import NO_PAST, Past, Rails


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """How everything is, and what has been.

    Attributes:
        past: by key of the part.
        pauses: what is left alone, by scope, and until when; None: until somebody ends it.
        acted: when something was done about any part.
        watching_since: without a break; None: not at all, or the healer itself was held up.
        has_lease: this healer is the one that acts.
    """

    now: datetime
    observations: Sequence[Observation]
    past: Mapping[str, Past] = field(default_factory=dict)
    pauses: Mapping[str, datetime | None] = field(default_factory=dict)
    acted: Sequence[datetime] = ()
    watching_since: datetime | None = None
    has_lease: bool = True
    rails: Rails = field(default_factory=Rails)

    def past_of(self, observation: Observation) -> Past:
        """What has been with a part."""
        return self.past.get(observation.subject.key, NO_PAST)

    def others_serve(self, observation: Observation) -> bool:
        """Whether another part of its group is well and in service, and stays so, as far as anybody knows."""
        return any(
            each.subject.group == observation.subject.group
            and each.subject != observation.subject
            and each.in_service
            and not each.is_changing
            and each.verdict == "ok"
            for each in self.observations
        )

"""What came of a run over all instances, as values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.core.ids import InstanceId
from app.core.json import JsonObject

OutcomeState = Literal["migrated", "current", "behind", "failed"]
"""Changed by this run · was at the newest schema · is to be changed (dry run) · not at the newest schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An instance that has a database."""

    instance_id: InstanceId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one instance.

    Attributes:
        before, after: revisions; None: unknown, or there was no schema.
        code, message: why it failed.
        seconds: that it took.
    """

    candidate: Candidate
    state: OutcomeState
    before: str | None = None
    after: str | None = None
    code: str | None = None
    message: str | None = None
    seconds: float = 0.0

    def to_json(self) -> JsonObject:
        """As a script reads it."""
        return {
            "instance_id": self.candidate.instance_id,
            "name": self.candidate.name,
            "state": self.state,
            "from_revision": self.before,
            "to_revision": self.after,
            "error_code": self.code,
            "error_message": self.message,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What came of a run.

    Attributes:
        platform_changed: the platform's own database was not at the newest schema.
        platform_revision: that it is at; newer than the newest known, if a newer wops has been here.
        candidates: how many instances there were to look at.
        left_out: of these, because the run was stopped, or because they went while it ran.
        is_stopped: somebody stopped the run, and there was more to do.
        target: the newest revision of the instances' tree.
        seconds: from the first instance to the last.
    """

    platform_changed: bool
    platform_revision: str | None
    target: str
    candidates: int
    left_out: int
    outcomes: Sequence[Outcome]
    is_stopped: bool
    seconds: float
    is_dry: bool = False

    def of(self, state: OutcomeState) -> list[Outcome]:
        """The outcomes of one kind, by name."""
        return sorted(
            (each for each in self.outcomes if each.state == state), key=lambda each: each.candidate.name
        )

    @property
    def newer(self) -> list[Outcome]:
        """Instances whose schema a newer wops has made: left as they are, for old code runs on it."""
        return [each for each in self.of("current") if each.after is not None and each.after > self.target]

    @property
    def is_complete(self) -> bool:
        """Whether every instance asked for is at the newest schema now."""
        return not self.is_stopped and not self.of("failed") and not self.of("behind")

    @property
    def rate(self) -> float:
        """Instances per second."""
        return len(self.outcomes) / self.seconds if self.seconds > 0 else 0.0

    def to_json(self) -> JsonObject:
        """As a script reads it."""
        counts: JsonObject = {
            state: len(self.of(state)) for state in ("migrated", "current", "behind", "failed")
        }
        return {
            **counts,
            "target": self.target,
            "newer": len(self.newer),
            "platform_changed": self.platform_changed,
            "platform_revision": self.platform_revision,
            "instances": self.candidates,
            "dry_run": self.is_dry,
            "left_out": self.left_out,
            "stopped": self.is_stopped,
            "seconds": round(self.seconds, 3),
            "instances_per_second": round(self.rate, 2),
            "outcomes": [each.to_json() for each in self.outcomes],
        }

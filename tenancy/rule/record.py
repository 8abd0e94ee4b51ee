"""Rule sets as they were made, one after the other. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.core.origin import ActorKind
from lb.routing import Line
from lb.rule.check import Finding
from lb.rule.decide import Choice, RuleDecision
from lb.rule.rule import NO_RULES, RuleSet

FIRST_VERSION: Final = 1
"""What every instance begins with: no rules, and no row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVersion:
    """One version of an instance's rules; it never changes.

    Attributes:
        version: 1, 2, 3 … without gaps; the highest is in force.
        restored: the version that this one has put back.
        actor_id: of whoever made it; names no person.
        reason: what he gave; empty if nothing.
    """

    version: int
    rules: RuleSet
    actor_kind: ActorKind
    actor_id: str
    reason: str
    created_at: datetime
    restored: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRules:
    """A version, and what is to be said of it as lines and API clients are now.

    Attributes:
        findings: warnings; also what would be refused by now, like a line that is gone.
    """

    version: RuleVersion
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTrial:
    """What would become of a request.

    Attributes:
        version: of the rules that were asked; None: they are stored nowhere.
        lines: of the instance, as they are now.
        choice: which line; one of its candidates, if it is not determined by the request.
    """

    version: int | None
    rules: RuleSet
    lines: tuple[Line, ...]
    decision: RuleDecision
    choice: Choice
    findings: tuple[Finding, ...]


def first_version(created_at: datetime) -> RuleVersion:
    """The version that an instance has without anybody having said anything.

    Args:
        created_at: since when there is the instance.
    """
    return RuleVersion(
        version=FIRST_VERSION,
        rules=NO_RULES,
        actor_kind="system",
        actor_id="wops",
        reason="",
        created_at=created_at,
    )

"""Parts of a fleet as values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from app.operations.reconcile.observation import Evidence, Observation, Subject, SubjectKind, Verdict
from app.operations.reconcile.past import Past, Rails
from app.operations.reconcile.plan import Decision, make_plan
from app.operations.reconcile.situation import Situation

NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)
RAILS = Rails()
SICK = Past(bad_since=NOW - timedelta(minutes=1))
WELL = Past(ok_since=NOW - timedelta(minutes=1))


def evidence(*verdicts: Verdict) -> tuple[Evidence, ...]:
    return tuple(Evidence(witness=f"w{number}", verdict=each) for number, each in enumerate(verdicts))


def part(
    name: str, *verdicts: Verdict, kind: SubjectKind = "line", group: str = "acme", **values: Any
) -> Observation:
    """A line that two places know, unless it is said otherwise."""
    if kind == "line":
        values = {"may_leave": True, "cures": ("restart", "replace"), **values}
    said = evidence(*(verdicts or ("ok", "ok")))
    return Observation(subject=Subject(kind=kind, name=name, group=group), evidence=said, **values)


def sick(name: str, **values: Any) -> Observation:
    return part(name, "bad", "bad", **values)


def situation(*observations: Observation, **values: Any) -> Situation:
    """In which everything that is sick has been so for a while, unless it is said otherwise."""
    past = {
        each.subject.key: SICK if each.verdict == "bad" else WELL if each.verdict == "ok" else Past()
        for each in observations
    }
    past.update(values.pop("past", {}))
    return Situation(
        **{"now": NOW, "observations": observations, "watching_since": LONG_AGO, "past": past, **values}
    )


def plan(*observations: Observation, **values: Any) -> dict[str, Decision]:
    decided = make_plan(situation(*observations, **values))
    return {each.subject.key: each for each in decided}


def decide(*observations: Observation, **values: Any) -> tuple[str, str]:
    """Action and reason for the first of them."""
    decision = plan(*observations, **values)[observations[0].subject.key]
    return decision.action, decision.reason

"""What is done about what is seen, and why something is not done. Pure.

Every part gets a decision each time, `none` with its reason, for what that holds and until when. Planning again after
acting gives nothing to do until new evidence comes: an action counts as tried, and its part has a time to get better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.operations.reconcile.choice import Choice, choose
from app.operations.reconcile.flood import flooded_kinds
from app.operations.reconcile.observation import ALL_PARTS, Observation, Subject
from app.operations.reconcile.past import DISRUPTIVE, Action, Reason
from app.operations.reconcile.situation import Situation


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is done about a part, or why nothing is.

    Attributes:
        wanted: what would be done if nothing held the healer back.
        scope: what the reason holds for: `all`, `line:*`, `group:…`, or the part alone.
        until: when it is looked at anew at the latest; None: when something changes, or somebody changes it.
    """

    subject: Subject
    action: Action
    reason: Reason
    wanted: Action
    scope: str
    until: datetime | None = None


def make_plan(situation: Situation) -> tuple[Decision, ...]:
    """One decision for every part that is observed, in the order of their keys."""
    ordered = sorted(situation.observations, key=lambda each: each.subject.key)
    flooded = flooded_kinds(situation.observations, situation.rails)
    bounds = _Bounds(situation, ordered)
    decisions: list[Decision] = []
    for observation in ordered:
        subject = observation.subject
        wanted = choose(situation, observation, is_flooded=subject.kind in flooded)
        held = None if wanted.action == "none" else bounds.hold(subject, wanted)
        choice = held or wanted
        if choice.action not in ("none", "call_human"):
            bounds.note(subject, choice.action)
        decisions.append(
            Decision(
                subject=subject,
                action=choice.action,
                reason=choice.reason,
                wanted=wanted.action,
                scope=choice.scope or subject.key,
                until=choice.until,
            )
        )
    return tuple(decisions)


class _Bounds:
    """What keeps the healer from doing what it wants to, while one plan is made."""

    def __init__(self, situation: Situation, ordered: Sequence[Observation]) -> None:
        self._situation = situation
        # By group, the part that is under treatment.
        self._treated = _treated(situation, ordered)
        since = situation.now - situation.rails.at_once
        self._acted = sorted(each for each in situation.acted if each > since)

    def note(self, subject: Subject, action: Action) -> None:
        """That is done."""
        self._acted.append(self._situation.now)
        if action in DISRUPTIVE:
            self._treated[subject.group] = subject.key

    def hold(self, subject: Subject, wanted: Choice) -> Choice | None:
        """Why it is not done; None: it is."""
        situation = self._situation
        if not situation.has_lease:
            return Choice(reason="no_lease", scope=ALL_PARTS)
        for scope in subject.scopes:
            if scope in situation.pauses:
                return Choice(reason="paused", scope=scope, until=situation.pauses[scope])
        return None if wanted.is_urgent else self._warm_up() or self._slow_down(subject, wanted.action)

    def _warm_up(self) -> Choice | None:
        since, rails = self._situation.watching_since, self._situation.rails
        if since is not None and self._situation.now - since >= rails.warm_up:
            return None
        return Choice(
            reason="warming_up", scope=ALL_PARTS, until=None if since is None else since + rails.warm_up
        )

    def _slow_down(self, subject: Subject, action: Action) -> Choice | None:
        if action == "call_human":
            return None
        if action in DISRUPTIVE and self._treated.get(subject.group, subject.key) != subject.key:
            return Choice(reason="one_at_a_time", scope=f"group:{subject.group}")
        rails = self._situation.rails
        if len(self._acted) >= rails.most_at_once:
            until = self._acted[-rails.most_at_once] + rails.at_once
            return Choice(reason="too_much_done", scope=ALL_PARTS, until=until)
        return None


def _treated(situation: Situation, ordered: Sequence[Observation]) -> dict[str, str]:
    """By group, the part that is under treatment: its turn ends when it is well and back, or a person was called."""
    found: dict[str, str] = {}
    for each in ordered:
        past = situation.past_of(each)
        is_out = each.taken_out_by == "reconciler"
        is_recovering = each.verdict != "ok" and past.is_recovering(situation.now, situation.rails)
        if not past.is_frozen and (is_out or is_recovering):
            found.setdefault(each.subject.group, each.subject.key)
    return found

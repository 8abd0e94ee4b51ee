"""What is to be done about what is seen, and why something is not done. Pure.

    bad for a while ──► take out of service ──► restart ──► replace ──► frozen: a person is called
                          (others are there)      │ no better in time   ▲
    ok for a while  ◄── put back ◄────────────────┴─────────────────────┘ too often

Every part gets a decision each time, `none` with its reason as well. Planning again after acting gives nothing to do
until new evidence comes: an action counts as tried, and its part has a time to get better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from app.operations.reconcile.flood import flooded_kinds
from app.operations.reconcile.observation import EVERY, Observation, Subject
from app.operations.reconcile.past import CURES, DISRUPTIVE, NO_PAST, Action, Past, Rails, Reason

_Choice = tuple[Action, Reason]
ALL_PARTS: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything a plan is made from.

    Attributes:
        past: by key of the part.
        paused: keys of parts, `group:<group>` of groups, or `all`.
        watching_since: without a break; None: not at all, or the healer itself was held up.
        has_lease: this healer is the one that acts.
    """

    now: datetime
    observations: Sequence[Observation]
    past: Mapping[str, Past] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    watching_since: datetime | None = None
    has_lease: bool = True
    rails: Rails = field(default_factory=Rails)

    def past_of(self, observation: Observation) -> Past:
        """What has been with a part."""
        return self.past.get(observation.subject.key, NO_PAST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is done about a part, or why nothing is.

    Attributes:
        wanted: what would be done if nothing held the healer back.
    """

    subject: Subject
    action: Action
    reason: Reason
    wanted: Action


def make_plan(situation: Situation) -> tuple[Decision, ...]:
    """One decision for every part that is observed, in the order of their keys."""
    ordered = sorted(situation.observations, key=lambda each: each.subject.key)
    flooded = flooded_kinds(situation.observations, situation.rails)
    treated = _treated(situation, ordered)
    decisions: list[Decision] = []
    for observation in ordered:
        subject = observation.subject
        wanted, reason = _want(situation, observation, is_flooded=subject.kind in flooded)
        action = wanted
        held = _held_back(situation, subject) if wanted != "none" else None
        if held is not None:
            action, reason = "none", held
        elif action in DISRUPTIVE and treated.setdefault(subject.group, subject.key) != subject.key:
            action, reason = "none", "one_at_a_time"
        decisions.append(Decision(subject=subject, action=action, reason=reason, wanted=wanted))
    return tuple(decisions)


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


def _held_back(situation: Situation, subject: Subject) -> Reason | None:
    """What keeps the healer from doing anything about a part, whatever is seen of it."""
    if not situation.has_lease:
        return "no_lease"
    since = situation.watching_since
    if since is None or situation.now - since < situation.rails.warm_up:
        return "warming_up"
    if situation.paused & {ALL_PARTS, subject.key, f"group:{subject.group}"}:
        return "paused"
    return None


def _want(situation: Situation, observation: Observation, *, is_flooded: bool) -> _Choice:
    verdict = observation.verdict
    if observation.is_changing and verdict != "ok":
        return "none", "change_under_way"
    if observation.taken_out_by not in (None, "reconciler"):
        return "none", "taken_out_by_others"
    if verdict == "unknown":
        return "none", "in_doubt"
    if verdict == "ok":
        return _welcome_back(situation, observation)
    if observation.subject.name == EVERY:
        return _tell_of_flood(situation, observation)
    return ("none", "too_many_sick") if is_flooded else _treat(situation, observation)


def _welcome_back(situation: Situation, observation: Observation) -> _Choice:
    past, rails = situation.past_of(observation), situation.rails
    if observation.taken_out_by is None:
        return "none", "healthy"
    if past.is_frozen:
        return "none", "frozen"
    outs = past.count("take_out")
    if outs > rails.most_an_hour:
        return "call_human", "too_often"
    # Twice as long each time: what comes and goes does not come back at every turn.
    settled = rails.settled * 2 ** max(outs - 1, 0)
    if past.ok_since is None or situation.now - past.ok_since < settled:
        return "none", "not_long_enough"
    return _unless_failed(situation, past, "put_back", "healthy_again")


def _tell_of_flood(situation: Situation, observation: Observation) -> _Choice:
    past, rails = situation.past_of(observation), situation.rails
    bad_for = past.bad_for(situation.now)
    if past.is_frozen:
        return "none", "frozen"
    if observation.is_healing and bad_for < rails.healing_most:
        return "none", "being_healed"
    if bad_for < rails.patience:
        return "none", "not_long_enough"
    return _call(situation, past, "too_many_sick")


def _treat(situation: Situation, observation: Observation) -> _Choice:
    """A part that is sick for certain, and that may be touched."""
    past, rails = situation.past_of(observation), situation.rails
    bad_for = past.bad_for(situation.now)
    if past.is_frozen:
        return "none", "frozen"
    if bad_for < rails.patience:
        return "none", "not_long_enough"
    leaves = observation.in_service and observation.may_leave and _others_serve(situation, observation)
    if leaves and (not observation.is_healing or bad_for >= rails.healing_patience):
        return _unless_failed(situation, past, "take_out", "sick")
    if observation.is_healing and bad_for < rails.healing_most:
        return "none", "being_healed"
    if observation.is_healing:
        return _call(situation, past, "healed_in_vain")
    return _cure(situation, observation, is_last=observation.in_service and observation.may_leave)


def _cure(situation: Situation, observation: Observation, *, is_last: bool) -> _Choice:
    past, rails, now = situation.past_of(observation), situation.rails, situation.now
    if not observation.cures:
        return _call(situation, past, "last_of_its_group" if is_last else "nothing_can_be_done")
    tried = [each for each in past.tried if each.action in CURES]
    if not tried:
        return observation.cures[0], "last_of_its_group" if is_last else "sick"
    last = tried[-1]
    if now - last.at < rails.recovery:
        return "none", "recovering"
    if len(tried) >= rails.most_an_hour:
        return _call(situation, past, "too_often")
    # The next cure may follow once the first has had its time; every further one waits twice as long as that before.
    times = len(tried) - 1 if last.has_helped else len(tried) - 2
    if times >= 0 and now - last.at < rails.pause_after * 2**times:
        return "none", "acted_lately"
    if last.has_helped:
        return observation.cures[0], "sick_again"
    return observation.cures[-1], "sick_after_restart"


def _unless_failed(situation: Situation, past: Past, action: Action, reason: Reason) -> _Choice:
    """An action that could not be carried out is not tried at every turn, and not for ever."""
    failed = [each for each in past.tried if each.action == action and each.outcome == "failed"]
    if len(failed) >= situation.rails.most_an_hour:
        return _call(situation, past, "nothing_can_be_done")
    if failed and situation.now - failed[-1].at < situation.rails.recovery:
        return "none", "acted_lately"
    return action, reason


def _call(situation: Situation, past: Past, reason: Reason) -> _Choice:
    """A person who has let a part go again is not called about the very same at once."""
    rails = situation.rails
    if past.called_at is not None and not past.tried and situation.now - past.called_at < rails.call_again:
        return "none", "acted_lately"
    return "call_human", reason


def _others_serve(situation: Situation, observation: Observation) -> bool:
    """Whether another part of its group is well and in service, so that this one can be done without."""
    return any(
        each.subject.group == observation.subject.group
        and each.subject != observation.subject
        and each.in_service
        and each.verdict == "ok"
        for each in situation.observations
    )

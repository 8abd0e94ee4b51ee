"""What is to be done about one part, whatever holds the healer back otherwise. Pure.

    bad for a while ──► take out of service ──► restart ──► replace ──► frozen: a person is called
                          (others are there)      │ no better in time   ▲
    ok for a while  ◄── put back ◄────────────────┴─────────────────────┘ too often

What an operation changes and what people took out or put back is theirs. A part that is well comes back at once if
nobody else serves: better one that has just recovered than none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.operations.reconcile.observation import EVERY, Observation
from app.operations.reconcile.past import Action, Past, Rails, Reason
from app.operations.reconcile.situation import Situation


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is to be done, or why nothing is.

    Attributes:
        scope: what the reason holds for, if not for this part alone.
        until: when it is looked at anew at the latest; None: nobody knows.
        is_urgent: neither rates nor a time of looking hold it back.
    """

    action: Action = "none"
    reason: Reason
    scope: str | None = None
    until: datetime | None = None
    is_urgent: bool = False


def choose(situation: Situation, observation: Observation, *, is_flooded: bool) -> Choice:
    """What to do about one part.

    Args:
        is_flooded: too many of its kind are sick.
    """
    is_theirs = _is_theirs(observation)
    if is_theirs is not None:
        return is_theirs
    if observation.verdict == "unknown":
        return _wait_for_certainty(situation, observation)
    if observation.verdict == "ok":
        return _welcome_back(situation, observation)
    if observation.subject.name == EVERY:
        return _tell_of_flood(situation, observation)
    if is_flooded:
        return Choice(reason="too_many_sick", scope=f"{observation.subject.kind}:{EVERY}")
    return _treat(situation, observation)


def _is_theirs(observation: Observation) -> Choice | None:
    is_plain = observation.verdict == "ok" and observation.taken_out_by is None
    if observation.is_changing and not is_plain:
        return Choice(reason="change_under_way")
    if observation.taken_out_by not in (None, "reconciler"):
        return Choice(reason="taken_out_by_others")
    return None


def _wait_for_certainty(situation: Situation, observation: Observation) -> Choice:
    """Doubt about a part that serves ends some day; one that the healer has taken out must not be forgotten."""
    past = situation.past_of(observation)
    if observation.taken_out_by is None or past.is_frozen or past.doubt_since is None:
        return Choice(reason="in_doubt")
    until = past.doubt_since + situation.rails.healing_most
    return (
        _call(situation, past, "in_doubt")
        if situation.now >= until
        else Choice(reason="in_doubt", until=until)
    )


def _welcome_back(situation: Situation, observation: Observation) -> Choice:
    past, rails = situation.past_of(observation), situation.rails
    if observation.taken_out_by is None:
        return Choice(reason="healthy")
    if not situation.others_serve(observation):
        return _rescue(situation, past)
    if past.is_frozen:
        return Choice(reason="frozen")
    outs = past.count("take_out")
    if outs > rails.most_an_hour:
        return _call(situation, past, "too_often")
    # Twice as long each time: what comes and goes does not come back at every turn.
    until = (past.ok_since or situation.now) + rails.settled * 2 ** max(outs - 1, 0)
    if situation.now < until:
        return Choice(reason="not_long_enough", until=until)
    return _unless_tried(situation, past, Choice(action="put_back", reason="healthy_again"))


def _rescue(situation: Situation, past: Past) -> Choice:
    """Put back at once, whatever was before; what cannot be carried out is tried again and again, and told once."""
    rails, backs = situation.rails, [each for each in past.tried if each.action == "put_back"]
    failed = sum(each.outcome == "failed" for each in backs)
    if failed >= rails.most_an_hour and not past.is_frozen:
        return _call(situation, past, "nothing_can_be_done")
    if backs and backs[-1].outcome in ("open", "failed"):
        until = backs[-1].at + min(rails.patience * 2**failed, rails.recovery)
        if situation.now < until:
            return Choice(reason="recovering", until=until)
    return Choice(action="put_back", reason="nobody_else_serves", is_urgent=True)


def _tell_of_flood(situation: Situation, observation: Observation) -> Choice:
    past, rails = situation.past_of(observation), situation.rails
    if past.is_frozen:
        return Choice(reason="frozen")
    since = past.bad_since or situation.now
    if observation.is_healing and situation.now < since + rails.healing_most:
        return Choice(reason="being_healed", until=since + rails.healing_most)
    if situation.now < since + rails.patience:
        return Choice(reason="not_long_enough", until=since + rails.patience)
    return _call(situation, past, "too_many_sick")


def _treat(situation: Situation, observation: Observation) -> Choice:
    """A part that is sick for certain, and that may be touched."""
    past, rails, now = situation.past_of(observation), situation.rails, situation.now
    since = past.bad_since or now
    if past.is_frozen:
        return Choice(reason="frozen")
    if past.overruled_since is not None and observation.in_service:
        return _leave_to_others(situation, past, max(since, past.overruled_since))
    if now < since + rails.patience:
        return Choice(reason="not_long_enough", until=since + rails.patience)
    leaves = observation.in_service and observation.may_leave and situation.others_serve(observation)
    if leaves and (not observation.is_healing or now >= since + rails.healing_patience):
        return _take_out(situation, past)
    if observation.is_healing:
        return _wait_for_healing(situation, past, since)
    return _cure(situation, observation, is_last=observation.in_service and observation.may_leave)


def _leave_to_others(situation: Situation, past: Past, since: datetime) -> Choice:
    """Whoever put it back knows why; a person is told if it does not get well."""
    until = since + situation.rails.healing_most
    if situation.now < until:
        return Choice(reason="overruled", until=until)
    return _call(situation, past, "overruled")


def _take_out(situation: Situation, past: Past) -> Choice:
    until, cures = past.cured_until(situation.rails), past.cures
    if until is not None and cures[-1].outcome == "open" and situation.now < until:
        return Choice(reason="recovering", until=until)
    if past.count("take_out") > situation.rails.most_an_hour:
        return _call(situation, past, "too_often")
    return _unless_tried(situation, past, Choice(action="take_out", reason="sick"))


def _wait_for_healing(situation: Situation, past: Past, since: datetime) -> Choice:
    """Its runner starts it; a cure that made him do so has its time from then on."""
    cures = past.cures
    until = max(since, cures[-1].at if cures else since) + situation.rails.healing_most
    if situation.now < until:
        return Choice(reason="being_healed", until=until)
    return _call(situation, past, "healed_in_vain")


def _cure(situation: Situation, observation: Observation, *, is_last: bool) -> Choice:
    past, rails, now = situation.past_of(observation), situation.rails, situation.now
    if not observation.cures:
        return _call(situation, past, "last_of_its_group" if is_last else "nothing_can_be_done")
    cures, until = past.cures, past.cured_until(rails)
    if until is not None and now < until:
        return Choice(reason="recovering", until=until)
    if len(cures) >= rails.most_an_hour:
        could_none = all(each.outcome == "failed" for each in cures)
        return _call(situation, past, "nothing_can_be_done" if could_none else "too_often")
    return _next_cure(observation, past, rails, now=now, reason="last_of_its_group" if is_last else "sick")


def _next_cure(
    observation: Observation, past: Past, rails: Rails, *, now: datetime, reason: Reason
) -> Choice:
    """The mildest first; the next one if it has not helped. What could not be carried out has not been tried."""
    done = [each for each in past.cures if each.outcome != "failed"]
    if not done:
        return Choice(action=observation.cures[0], reason=reason)
    last = done[-1]
    # The next cure may follow once the first has had its time; every further one waits twice as long as that before.
    times = len(done) - 1 if last.has_helped else len(done) - 2
    until = last.at + rails.pause_after * 2**times if times >= 0 else now
    if now < until:
        return Choice(reason="acted_lately", until=until)
    if last.has_helped:
        return Choice(action=observation.cures[0], reason="sick_again")
    return Choice(action=observation.cures[-1], reason="sick_after_restart")


def _unless_tried(situation: Situation, past: Past, wanted: Choice) -> Choice:
    """What is under way, or could not be carried out, is not done at every turn, and not for ever."""
    rails, tried = situation.rails, [each for each in past.tried if each.action == wanted.action]
    if sum(each.outcome == "failed" for each in tried) >= rails.most_an_hour:
        return _call(situation, past, "nothing_can_be_done")
    until = (
        tried[-1].at + rails.recovery if tried and tried[-1].outcome in ("open", "failed") else situation.now
    )
    if situation.now < until:
        is_open = tried[-1].outcome == "open"
        return Choice(reason="recovering" if is_open else "acted_lately", until=until)
    return wanted


def _call(situation: Situation, past: Past, reason: Reason) -> Choice:
    """A person who has let a part go again is not called about the very same at once."""
    again = None if past.called_at is None else past.called_at + situation.rails.call_again
    if again is not None and not past.tried and situation.now < again:
        return Choice(reason="acted_lately", until=again)
    return Choice(action="call_human", reason=reason)

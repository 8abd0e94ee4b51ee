"""What always holds of a plan, whatever is seen.

Situations are made by a plain generator from a number, so that thousands take a second; small numbers make small ones,
and the number of a failure makes it again.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from random import Random
from typing import Final, get_args

from app.operations.reconcile.flood import flooded_kinds, observe_kinds
from app.operations.reconcile.observation import Observation, Verdict
from app.operations.reconcile.past import (
    CURES,
    DISRUPTIVE,
    NO_PAST,
    Action,
    Outcome,
    Past,
    Reason,
    Tried,
    judge,
    look,
)
from app.operations.reconcile.plan import Decision, make_plan
from app.operations.reconcile.situation import Situation
from tests.unit.app.operations.reconcile.scene import LONG_AGO, NOW, RAILS, part

_SITUATIONS: Final = 2000
_STORIES: Final = 40
_VERDICTS: Final[tuple[Verdict, ...]] = ("ok", "bad", "unknown")
_ACTIONS: Final[tuple[Action, ...]] = ("take_out", "restart", "replace", "put_back")
_OUTCOMES: Final[tuple[Outcome, ...]] = ("open", "met", "not_met", "failed")


def _ago(random: Random) -> datetime:
    """Now and then at a bound, often lately, at most somewhat more than an hour."""
    return NOW - timedelta(seconds=random.randint(0, random.choice((5, 60, 400, 3700))))


def _maybe_ago(random: Random) -> datetime | None:
    return _ago(random) if random.random() < 0.9 else None


def _past(random: Random) -> Past:
    tried = [
        Tried(
            at=_ago(random),
            action=random.choice((*_ACTIONS, "restart")),
            outcome=random.choice((*_OUTCOMES, "not_met")),
        )
        for _ in range(random.choice((0, 1, 1, 3, 6)))
    ]
    return Past(
        bad_since=_maybe_ago(random),
        ok_since=_maybe_ago(random),
        doubt_since=_maybe_ago(random),
        overruled_since=_ago(random) if random.random() < 0.1 else None,
        tried=tuple(sorted(tried, key=lambda each: each.at)),
        is_frozen=random.random() < 0.1,
        called_at=_ago(random) if random.random() < 0.3 else None,
    )


def _observation(random: Random, group: str, number: int, *, calm: float) -> Observation:
    if random.random() < calm:
        return part(f"{group}-{number}", group=group)
    by = random.choice((None, None, None, "reconciler", "reconciler", "staff"))
    # Often of one mind: those who disagree lead to nothing.
    mostly: Verdict = random.choice(("ok", "bad", "bad", "bad", "unknown"))
    verdicts = [mostly] * random.randint(2, 3)
    if random.random() < 0.1:
        verdicts.append(random.choice(_VERDICTS))
    return part(
        f"{group}-{number}",
        *verdicts,
        group=group,
        in_service=by is None and random.random() < 0.8,
        taken_out_by=by,
        is_healing=random.random() < 0.3,
        is_changing=random.random() < 0.1,
        cures=() if random.random() < 0.1 else ("restart", "replace"),
    )


def _situation(number: int) -> Situation:
    random = Random(number)
    groups = [f"g{each}" for each in range(random.randint(1, 1 + number % 6))]
    calm = random.choice((0.2, 0.7, 0.8))
    seen = [
        _observation(random, group, each, calm=calm)
        for group in groups
        for each in range(random.randint(1, 4))
    ]
    keys = [each.subject.key for each in seen]
    scopes = sorted({scope for each in seen for scope in each.subject.scopes})
    return Situation(
        now=NOW,
        observations=[*seen, *observe_kinds(seen, RAILS)],
        past={key: _past(random) for key in keys if random.random() < 0.9},
        pauses=dict.fromkeys(random.sample(scopes, random.choice((0, 0, 0, 1)))),
        acted=[_ago(random) for _ in range(random.choice((0, 0, 0, 3, 20)))],
        watching_since=random.choice((*[LONG_AGO] * 8, NOW, None)),
        has_lease=random.random() < 0.9,
    )


@cache
def _plans() -> list[tuple[Situation, tuple[Decision, ...]]]:
    found = [_situation(number) for number in range(_SITUATIONS)]
    return [(each, make_plan(each)) for each in found]


def _hold(check: Callable[[Situation, tuple[Decision, ...]], None]) -> None:
    """In every situation."""
    for number, (situation, decisions) in enumerate(_plans()):
        try:
            check(situation, decisions)
        except AssertionError as error:
            raise AssertionError(f"situation {number}: {error}") from error


def _is_urgent(decision: Decision) -> bool:
    return decision.reason == "nobody_else_serves"


def _check_whole(situation: Situation, decisions: Sequence[Decision]) -> None:
    assert [each.subject.key for each in decisions] == sorted(
        each.subject.key for each in situation.observations
    )
    disruptive = [each for each in decisions if each.action in DISRUPTIVE]
    assert max(Counter(each.subject.group for each in disruptive).values(), default=0) <= 1
    acting = [each for each in decisions if each.action != "none"]
    if not situation.has_lease:
        assert acting == []
    if situation.watching_since != LONG_AGO:
        assert all(_is_urgent(each) for each in acting)
    plain = [each for each in acting if each.action != "call_human" and not _is_urgent(each)]
    lately = [each for each in situation.acted if NOW - each < RAILS.at_once]
    assert not plain or len(plain) + len(lately) <= RAILS.most_at_once


def _check_acting(situation: Situation, decision: Decision, seen: Observation) -> None:
    past = situation.past_of(seen)
    assert seen.verdict != "unknown" or decision.action == "call_human"
    assert not set(situation.pauses) & set(seen.subject.scopes)
    assert seen.taken_out_by in (None, "reconciler")
    assert not past.is_frozen or _is_urgent(decision)
    assert not seen.is_changing
    if decision.action in DISRUPTIVE:
        assert seen.verdict == "bad"
        assert seen.subject.kind not in flooded_kinds(situation.observations, RAILS)
        assert past.bad_since is not None
        assert past.bad_since + RAILS.patience <= NOW
    if decision.action == "take_out":
        rest = [each for each in situation.observations if each.subject.group == seen.subject.group]
        assert any(each.in_service and each.verdict == "ok" for each in rest if each != seen)
        assert past.overruled_since is None
        assert past.count("take_out") <= RAILS.most_an_hour
    if decision.action in CURES:
        assert len(past.cures) < RAILS.most_an_hour
        assert all(NOW - each.at >= RAILS.recovery for each in past.cures)
    if decision.action == "put_back":
        assert (seen.verdict, seen.taken_out_by) == ("ok", "reconciler")


def _check_rails(situation: Situation, decisions: tuple[Decision, ...]) -> None:
    by_key = {each.subject.key: each for each in situation.observations}
    _check_whole(situation, decisions)
    for each in decisions:
        assert each.until is None or each.until > NOW
        assert each.scope in by_key[each.subject.key].subject.scopes
        if each.action != "none":
            _check_acting(situation, each, by_key[each.subject.key])


def _check_rescue(situation: Situation, decisions: tuple[Decision, ...]) -> None:
    by_key = {each.subject.key: each for each in decisions}
    for each in situation.observations:
        is_ours = each.verdict == "ok" and each.taken_out_by == "reconciler" and not each.is_changing
        is_held = not situation.has_lease or set(situation.pauses) & set(each.subject.scopes)
        if not is_ours or is_held or situation.others_serve(each):
            continue
        tried = [one for one in situation.past_of(each).tried if one.action == "put_back"]
        lately = any(NOW - one.at < RAILS.recovery for one in tried)
        failed = sum(one.outcome == "failed" for one in tried) >= RAILS.most_an_hour
        assert by_key[each.subject.key].action == "put_back" or lately or failed


def test_rails_hold() -> None:
    _hold(_check_rails)


def test_who_is_well_and_out_comes_back_if_nobody_else_serves() -> None:
    _hold(_check_rescue)


def test_what_these_rails_are_for_happens_often_enough() -> None:
    """What never happens is not proven by the others."""
    decisions = [each for _, plan in _plans() for each in plan]
    done = Counter(each.action for each in decisions)
    assert min(done[action] for action in ("none", "call_human", *_ACTIONS)) >= 5, done
    reasons = Counter(each.reason for each in decisions)
    assert min(reasons[each] for each in get_args(Reason)) > 0, reasons


def _after(situation: Situation, decisions: Sequence[Decision]) -> Situation:
    """The actions have been begun, and what they change at once is seen; the sick are still sick."""
    past, seen = dict(situation.past), {each.subject.key: each for each in situation.observations}
    for each in decisions:
        key = each.subject.key
        if each.action == "none":
            continue
        past[key] = past.get(key, NO_PAST).after(each.action, now=NOW)
        if each.action == "take_out":
            # What follows is the next step of the same part.
            past[key] = replace(past[key], bad_since=None)
            seen[key] = replace(seen[key], in_service=False, taken_out_by="reconciler")
        if each.action == "put_back":
            seen[key] = replace(seen[key], in_service=True, taken_out_by=None)
    return replace(situation, past=past, observations=list(seen.values()))


def _check_again(situation: Situation, decisions: tuple[Decision, ...]) -> None:
    again = make_plan(_after(situation, decisions))
    acted = {each.subject.key for each in decisions if each.action != "none"}
    assert [each for each in again if each.action != "none" and each.subject.key in acted] == []


def test_planning_again_after_acting_is_empty() -> None:
    _hold(_check_again)


class Fleet:
    """Three lines that are sick and well as a test says, and a healer that does what it plans."""

    def __init__(self) -> None:
        self.now: datetime = NOW
        self.past: dict[str, Past] = {}
        self.out: set[str] = set()
        self.begun: dict[str, tuple[Action, datetime]] = {}
        self.log: list[tuple[datetime, str, Action]] = []

    def turn(self, verdicts: Sequence[Verdict], seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        seen = [self._see(number, verdict) for number, verdict in enumerate(verdicts)]
        for each in seen:
            key = each.subject.key
            self.past[key] = look(self.past.get(key, NO_PAST), each, now=self.now)
            if key in self.begun:
                action, at = self.begun[key]
                outcome = judge(action, at, each, now=self.now, rails=RAILS)
                self.past[key] = self.past[key].ended(at, outcome)
        acted = [at for at, _, action in self.log if action != "call_human"]
        for decision in make_plan(
            Situation(now=self.now, observations=seen, past=self.past, acted=acted, watching_since=LONG_AGO)
        ):
            self._do(decision.subject.key, decision.action)

    def _see(self, number: int, verdict: Verdict) -> Observation:
        is_out = f"line:{number}" in self.out
        by = "reconciler" if is_out else None
        return part(str(number), verdict, verdict, in_service=not is_out, taken_out_by=by)

    def _do(self, key: str, action: Action) -> None:
        if action == "none":
            return
        self.past[key] = self.past[key].after(action, now=self.now)
        self.log.append((self.now, key, action))
        self.begun[key] = (action, self.now)
        if action == "take_out":
            self.out.add(key)
        if action == "put_back":
            self.out.discard(key)

    def times(self, key: str, *actions: Action) -> list[datetime]:
        return [at for at, part_, action in self.log if part_ == key and action in actions]


def _check_rates(fleet: Fleet) -> None:
    hour = timedelta(hours=1)
    for key in {key for _, key, _ in fleet.log}:
        cures = fleet.times(key, "restart", "replace")
        assert all(fourth - first > hour for first, fourth in zip(cures, cures[3:], strict=False))
        assert all(after - before >= RAILS.recovery for before, after in itertools.pairwise(cures))
        outs = fleet.times(key, "take_out")
        assert all(fifth - first >= hour for first, fifth in zip(outs, outs[4:], strict=False))


def test_over_time_rates_are_kept_and_somebody_stays_in_service() -> None:
    outs = 0
    for number in range(_STORIES):
        random, fleet = Random(number), Fleet()
        for _ in range(random.randint(10, 120)):
            # One that comes and goes, among others that are mostly well.
            verdicts = [random.choice(_VERDICTS[:2]), *random.choices(_VERDICTS, (8, 1, 1), k=2)]
            fleet.turn(verdicts, random.choice((1, 4, 40, 120)))
            assert len(fleet.out) < 3, number
        _check_rates(fleet)
        outs += len(fleet.times("line:0", "take_out"))
    assert outs > _STORIES
